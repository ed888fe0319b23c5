"""Several methods for one pair: a page, a figure, and a folder of numbers for each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import m2ib
import m2ib.registry.discovery
from installed import Plugins
from m2ib.cli import main
from m2ib.errors import InputError
from m2ib.page.explanation import write_comparison
from m2ib.registry.discovery import Registry
from toy import EXAMPLES, save_clip_with_words, toy_model

METHODS = ("m2ib", "gradcam", "uniform")
TEXT = "a photo of the dog"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("methods")
    clip = save_clip_with_words(folder / "clip")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "dog.png")
    words = [
        "explain",
        "--image",
        str(folder / "dog.png"),
        "--text",
        TEXT,
        "--model",
        "clip",
        "--device",
        "cpu",
    ]
    words += ["--checkpoint", str(clip), "--method", ",".join(METHODS), "--out", str(folder / "out")]
    assert main([*words, "steps=2", "samples=2", "layer.image=1"]) == 0
    return folder / "out"


def test_one_page_shows_all_maps(report: Path) -> None:
    page = (report / "index.html").read_text(encoding="utf-8")
    for name in METHODS:
        assert page.count(f"<h3>{name} ") == 2
    idents = re.findall(r'id="(e\d-\d)', page)
    assert {*idents} == {f"e{number}-{place}" for number in range(3) for place in range(2)}
    assert not re.search(r"https?://(?!www\.w3\.org/)", page)
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    with Image.open(report / "figure.png") as figure:
        assert min(figure.size) > 200


def test_the_numbers_of_each_come_back(report: Path) -> None:
    clip = m2ib.load_model("clip", checkpoint=report.parent / "clip", device="cpu")
    settings: dict[str, dict[str, Any]] = {
        "m2ib": {"steps": 2, "samples": 2, "layer": {"image": 1}},
        "gradcam": {"layer": {"image": 1}},
        "uniform": {"layer": {"image": 1}},
    }
    for name in METHODS:
        loaded = m2ib.load_explanation(report / name)
        made = m2ib.explain(
            clip,
            ("image", report.parent / "dog.png"),
            ("text", TEXT),
            method=name,
            settings=settings[name],
            show_progress=False,
        )
        assert loaded.similarity == made.similarity
        for one, other in zip(loaded, made, strict=True):
            assert one.method == other.method == name
            assert np.array_equal(one.grid, other.grid)
            assert one.grid.dtype == other.grid.dtype
            assert (one.unit, one.additive, one.curve) == (other.unit, other.additive, other.curve)
            assert (one.capacity is None) == (other.capacity is None) == (name != "m2ib")
            assert one.settings == other.settings
            assert one.words == other.words
    assert m2ib.load_explanation(report / "gradcam")["image"].settings["layer"] == 1


def test_words_of_what_does_not_add_up_are_means(report: Path) -> None:
    for name in METHODS:
        text = m2ib.load_explanation(report / name)["text"]
        assert text.additive == (name == "m2ib")
        for word, value in text.words:
            start = TEXT.index(word)
            own = [
                value
                for token, value in zip(text.layout.tokens, text.grid, strict=True)
                if not token.special and start < token.end and token.start < start + len(word)
            ]
            wanted = sum(own) if text.additive else sum(own) / len(own)
            assert value == pytest.approx(wanted), (name, word)
    assert {value for _, value in m2ib.load_explanation(report / "uniform")["text"].words} == {1.0}


def test_explanations_of_other_pairs_are_refused(tmp_path: Path) -> None:
    model = toy_model()
    image, text = EXAMPLES["image"][0], EXAMPLES["text"][0]
    one = m2ib.explain(model, ("image", image), ("text", text), method="uniform", show_progress=False)
    other = m2ib.explain(model, ("text", text), ("image", image), method="uniform", show_progress=False)
    with pytest.raises(InputError) as caught:
        write_comparison([one, other], tmp_path / "page.html")
    assert str(caught.value) == (
        "comparison: the explanations are of different pairs; give one pair by several methods"
    )


FLAT = """
    import numpy as np
    import m2ib

    def load():
        from m2ib.methods import Map, Method, PreparedBatch

        def prepare(batch, settings):
            shapes = batch.grids(batch.encoder.default_layer)
            return PreparedBatch(batch.embed(), lambda targets, advance: [Map(np.full(shape, {value})) for shape in shapes])

        return Method(prepare, additive=False)

    @m2ib.hookimpl
    def m2ib_register_methods(register):
        register(m2ib.MethodSpec("flat", "the same everywhere", load))
"""


def test_two_methods_with_one_name_have_a_folder_each(
    plugins: Plugins, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, report: Path
) -> None:
    plugins.add("slate", FLAT.format(value=2))
    plugins.add("plain-old", FLAT.format(value=3))
    monkeypatch.setattr(m2ib.registry.discovery, "_default", Registry.discover())
    words = ["explain", "--image", str(report.parent / "dog.png"), "--text", "a dog", "--model", "clip"]
    words += ["--checkpoint", str(report.parent / "clip"), "--device", "cpu", "--out", str(tmp_path / "out")]
    assert main([*words, "--method", "slate:flat,plain-old:flat,gradcam,m2ib:gradcam"]) == 0
    for name, value in (("slate", 2), ("plain-old", 3)):
        loaded = m2ib.load_explanation(tmp_path / "out" / f"{name}-flat")
        assert loaded["image"].method == f"{name}:flat"
        assert (loaded["image"].grid == value).all()
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert page.count("<h3>gradcam ") == 2  # asked for twice, shown once on each side
    assert page.count("<h3>slate:flat ") == page.count("<h3>plain-old:flat ") == 2
    assert "the same everywhere" in page
    assert {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()} == {
        "slate-flat",
        "plain-old-flat",
        "gradcam",
    }


def test_a_sweep_and_a_figure_in_other_formats(
    report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "explain",
        "--image",
        str(report.parent / "dog.png"),
        "--text",
        "a dog",
        "--model",
        "clip",
        "--device",
        "cpu",
    ]
    words += ["--checkpoint", str(report.parent / "clip"), "steps=2", "samples=2"]
    out = tmp_path / "out"
    assert (
        main(
            [*words, "--out", str(out), "--sweep", "layer=0,1", "--figure", "svg,pdf", "figure.scale=shared"]
        )
        == 0
    )
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"layer-0", "layer-1"}
    assert m2ib.load_explanation(out / "layer-1")["text"].settings["layer"] == 1
    assert (out / "figure.pdf").read_bytes().startswith(b"%PDF")
    assert ">layer 0</text>" in (out / "figure.svg").read_text(encoding="utf-8")
    assert not (out / "figure.png").exists()
    page = (out / "index.html").read_text(encoding="utf-8")
    assert page.count("<h3>layer 0 ") == page.count("<h3>layer 1 ") == 2
    capsys.readouterr()
    for more, message in (
        (["--sweep", "layr=0,1"], "settings: 'layr' is none of m2ib; did you mean 'layer'?"),
        (["--sweep", "beta"], "sweep: beta has no values; give some, as in beta=[...]"),
        (
            ["--sweep", "layer=0,1", "--method", "m2ib,rise"],
            "sweep: takes one method, not m2ib, rise; sweep once for each of them",
        ),
        (
            ["--sweep", "layer=0,1", "layer=1"],
            "sweep: 'layer' is given a value of its own as well; leave that out",
        ),
        (["--sweep", "sweep: 3"], "settings: 'sweep: 3' is none of m2ib"),
        (
            ["--figure", "gif"],
            "figure: 'gif' is no format; give png, pdf or svg, or several with commas between",
        ),
        (["figure.colour=red"], "figure: 'colour' is unknown. There is format, cmap, scale"),
        (["figure.cmap=jett"], "figure: the colour map 'jett' is unknown; did you mean 'jet'?"),
    ):
        assert main([*words, "--out", str(tmp_path / "none"), *more]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
