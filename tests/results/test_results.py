"""Attributions, explanations, files, pages and figures."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file

import m2ib
from m2ib.cli.explain import write_report
from m2ib.contract.attribution import Attribution
from m2ib.contract.curve import Curve
from m2ib.contract.layout import Token
from m2ib.folders import open_folder
from m2ib.page.explanation import render_page
from m2ib.renderers import ImageRenderer, TextRenderer, ValuesRenderer, renderer_named, scale
from m2ib.renderers.interpolation import upsample
from tiny_clip import END, START

IDS = torch.tensor([START, 5, 60, 7, END])


@pytest.fixture(scope="module")
def explanation(clip64: m2ib.Model) -> m2ib.Explanation:
    photo = np.random.default_rng(0).integers(0, 255, (48, 96, 3), dtype=np.uint8)
    other = torch.tensor([START, 61, END])
    return m2ib.explain(clip64, image=photo, text=m2ib.contrast(IDS, other), layer=1)


def same(a: Attribution, b: Attribution) -> None:
    for name in ("grid", "capacity", "scores"):
        x, y = getattr(a, name), getattr(b, name)
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)
    assert (a.against is None) == (b.against is None)
    if a.against is not None:
        np.testing.assert_array_equal(a.against, b.against)
    assert (a.modality, a.method, a.curve, a.layout, a.words) == (
        b.modality,
        b.method,
        b.curve,
        b.layout,
        b.words,
    )
    assert dict(a.settings) == dict(b.settings)
    assert dict(a.origin) == dict(b.origin)


def test_saved_explanations_come_back_exactly(explanation: m2ib.Explanation, tmp_path: Path) -> None:
    folder = explanation.save(tmp_path / "a" / "b")
    loaded = m2ib.load_explanation(folder)
    assert loaded.similarity == explanation.similarity
    assert dict(loaded.provenance) == dict(explanation.provenance)
    for before, after in zip(explanation, loaded, strict=True):
        same(before, after)
    np.testing.assert_array_equal(loaded["image"].view.pixels, explanation["image"].view.pixels)
    assert loaded["image"].view.region == explanation["image"].view.region
    assert render_page([loaded]) == render_page([explanation])


def test_names_that_are_not_utf8_come_back(explanation: m2ib.Explanation, tmp_path: Path) -> None:
    first, second = explanation
    odd = dataclasses.replace(
        explanation, attributions=(dataclasses.replace(first, origin={"source": "caf\udce9.png"}), second)
    )
    odd.save(tmp_path / "out")
    found = m2ib.load_explanation(tmp_path / "out")
    assert found[0].origin == {"source": "caf\udce9.png"}
    assert "caf\\udce9.png" in found.to_html(tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_save_over_another_leaves_nothing_of_it(explanation: m2ib.Explanation, tmp_path: Path) -> None:
    """Of a command's whole report, too; and a file that is another one than was saved is not loaded."""
    with open_folder(tmp_path / "out", "explanation").replacing() as place:
        (place / "index.html").write_text("of another pair")
    explanation.save(tmp_path / "out", force=True)
    assert not (tmp_path / "out" / "index.html").exists()
    arrays = tmp_path / "out" / "arrays.safetensors"
    changed = load_file(arrays)
    save_file({name: value + 1 for name, value in changed.items()}, arrays)
    with pytest.raises(m2ib.StorageError, match=r"'arrays\.safetensors' is not the file that was saved"):
        m2ib.load_explanation(tmp_path / "out")


def test_saving_refuses_a_folder_with_something_in_it(explanation: m2ib.Explanation, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(m2ib.StorageError, match=r"exists and is not empty; use --force"):
        explanation.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    explanation.save(tmp_path, force=True)
    assert (tmp_path / "mine.txt").read_text() == "keep me"
    m2ib.load_explanation(tmp_path)


def test_loading_what_is_not_there_or_damaged(explanation: m2ib.Explanation, tmp_path: Path) -> None:
    with pytest.raises(m2ib.StorageError, match=r"holds no explanation: manifest.json is missing"):
        m2ib.load_explanation(tmp_path)
    folder = explanation.save(tmp_path / "x")
    arrays = (folder / "arrays.safetensors").read_bytes()
    (folder / "arrays.safetensors").write_bytes(arrays[: len(arrays) // 2])
    with pytest.raises(m2ib.StorageError, match="is damaged"):
        m2ib.load_explanation(folder)
    (folder / "arrays.safetensors").write_bytes(arrays)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(m2ib.StorageError, match="format 99; this version reads 3"):
        m2ib.load_explanation(folder)


def test_a_manifest_cannot_point_outside_its_folder(explanation: m2ib.Explanation, tmp_path: Path) -> None:
    folder = explanation.save(tmp_path / "x")
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["attributions"][0]["view"]["pixels"] = "../secret.png"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(m2ib.StorageError):
        m2ib.load_explanation(folder)


def test_image_scores_are_bilinear_and_min_max(explanation: m2ib.Explanation) -> None:
    a = explanation["image"]
    assert a.grid.shape == (4, 4)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(a.grid)[None, None], (32, 32), mode="bilinear", align_corners=False
    )[0, 0].numpy()
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    np.testing.assert_allclose(a.scores, expected, atol=1e-6)
    assert a.scores.min() == 0
    assert a.scores.max() == 1


def test_special_tokens_are_kept_and_left_out_of_the_scale(explanation: m2ib.Explanation) -> None:
    a = explanation["text"]
    assert a.tokens == ("id98", "id5", "id60", "id7", "id99")
    assert a.grid.shape == (5,)
    assert a.scores[0] == a.scores[-1] == 0
    np.testing.assert_allclose(a.scores[1:-1], scale(a.grid[1:-1]))
    assert [word for word, _ in a.words] == ["id5", "id60", "id7"]
    np.testing.assert_allclose([value for _, value in a.words], a.grid[1:-1])


def test_a_constant_map_has_zero_scores() -> None:
    assert not scale(np.full((3, 3), 7.0)).any()
    assert upsample(np.ones((2, 3)), (8, 9)).shape == (8, 9)


def test_the_page_is_self_contained_and_escapes(clip64: m2ib.Model, tmp_path: Path) -> None:
    exp = m2ib.explain(clip64, image=torch.rand(3, 32, 32), text=IDS, layer=1, steps=2)
    evil = '<script>alert(1)</script> & "quotes" </style>'
    a = exp["text"]
    tokens = (*a.layout.tokens[:1], Token("<img src=x onerror=alert(1)>", 0, 8), *a.layout.tokens[2:])
    attribution = dataclasses.replace(
        a, view={"text": evil}, layout=dataclasses.replace(a.layout, tokens=tokens), origin={"source": evil}
    )
    exp = m2ib.Explanation((exp[0], attribution), exp.similarity, {"checkpoint": evil})
    page = exp.to_html(tmp_path / "page.html", title=evil).read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page)
    assert "@import" not in page
    assert "fetch(" not in page
    for part in (
        'class="heat"',
        'class="words"',
        'class="opacity"',
        'class="threshold"',
        "prefers-color-scheme: dark",
    ):
        assert part in page
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', page).group(1))  # type: ignore[union-attr]
    np.testing.assert_array_equal(data["maps"]["for"], exp["image"].grid)
    assert f"{exp['text'].words[0][1]:.4g} nats" in page


def test_a_page_of_a_contrast_offers_both_sides(explanation: m2ib.Explanation) -> None:
    page = render_page([explanation])
    assert 'class="which"' in page
    assert '"against"' in page


def test_the_page_names_the_input_and_shows_its_warnings(explanation: m2ib.Explanation) -> None:
    image, text = explanation
    origin = {"source": "/home/me/<cat>.jpg", "sha256": "0", "heard": "first of 8 channels"}
    image = dataclasses.replace(image, origin=origin, warnings=("image: <b>dark</b>",), against=None)
    page = render_page([m2ib.Explanation((image, text), 0.5, {"sizes": {"width": [[1, 2.00000001], 3]}})])
    assert '<span class="name">&lt;cat&gt;.jpg</span>' in page
    assert '<p class="hint">heard: first of 8 channels</p>' in page
    assert '<p class="note">image: &lt;b&gt;dark&lt;/b&gt;</p>' in page
    assert '<tr><th scope="row">sizes.width</th><td>(1, 2), 3</td></tr>' in page


def test_a_contrast_says_what_it_is_about(explanation: m2ib.Explanation, tmp_path: Path) -> None:
    page = render_page([explanation])
    assert "for <q>id5 id60 id7</q>, rather than <q>id61</q>" in page
    assert "The map here explains <q>id5 id60 id7</q> alone" in page
    figure = explanation.figure()
    titles = [axes.get_title() for axes in figure.axes]
    assert "text: m2ib (layer 1), no similarity to keep\nid5 id60 id7 rather than id61" in titles
    files = {"source": "/a/bark.wav", "sha256": "0", "rather_than": ["/a/mew.wav"]}
    sound = dataclasses.replace(explanation["image"], origin=files)
    page = render_page([m2ib.Explanation((sound, explanation["text"]), 0.5)])
    assert "for <q>bark.wav</q>, rather than <q>mew.wav</q>" in page


def test_the_page_tells_of_nats_on_special_tokens(explanation: m2ib.Explanation) -> None:
    a = explanation["text"]
    for grid, said in (([30, 1, 2, 3, 40], True), ([1, 10, 20, 30, 2], False)):
        text = dataclasses.replace(a, grid=np.array(grid, np.float32))
        page = render_page([m2ib.Explanation((explanation["image"], text), 0.5)])
        assert ("92 % of the nats lie on special tokens" in page) is said
    assert '<span class="low">0 nats</span>' in page
    assert '<span class="high">30 nats</span>' in page


def test_a_map_that_holds_next_to_nothing_looks_so(explanation: m2ib.Explanation) -> None:
    """It was stretched from its least to its greatest value. Full is a bit a channel: 32 ln 2."""
    grid = np.array([0, 1, 2, 4, 0], np.float32)
    text = dataclasses.replace(explanation["text"], grid=grid)
    page = render_page([m2ib.Explanation((explanation["image"], text), 0.5)])
    assert '<span class="high">22.18 nats</span>' in page
    assert text.full == pytest.approx(32 * math.log(2))
    assert f'style="--value:{4 / text.full:.3f}"' in page
    (axes,) = (
        each
        for each in m2ib.Explanation(
            (dataclasses.replace(explanation["image"], grid=grid[:4].reshape(2, 2), against=None), text), 0.5
        )
        .figure()
        .axes
        if each.get_title().startswith("image")
    )
    assert axes.images[-1].get_clim() == pytest.approx((0, text.full))
    assert text.scores.max() == 1  # for looking at the map alone, as ever


@pytest.mark.parametrize(
    ("fit", "noise", "zero", "kept", "said"),
    [
        ((0.25, 0.02), 0.02, 0.0, 0.0, "kept 0% of the similarity"),
        ((0.25, 0.2), 0.05, 0.0, 0.75, "kept 75% of the similarity"),
        ((0.25, 0.3), 0.05, 0.0, 1.25, "The fit kept the similarity"),
        ((-0.02, 0.1), -0.05, 0.0, None, "There was no similarity to keep"),
        ((0.055, 0.1), 0.05, 0.0, None, "There was no similarity to keep"),
        ((-0.5, -0.6), -0.9, None, 0.75, "kept 75% of the similarity"),  # of distances
        ((-0.5, -0.6), -0.5, None, None, "There was no similarity to keep"),
    ],
)
def test_a_page_says_how_much_of_the_similarity_a_fit_kept(
    explanation: m2ib.Explanation,
    fit: Any,
    noise: float,
    zero: float | None,
    kept: float | None,
    said: str,
    tmp_path: Path,
) -> None:
    curve = Curve(fit, (1.0, 0.5), (0.0, 0.0), noise, zero)
    assert curve.kept == (None if kept is None else pytest.approx(kept))
    changed = dataclasses.replace(explanation["text"], curve=curve, warnings=("text: beware",))
    page = render_page([m2ib.Explanation((explanation["image"], changed), 0.5)])
    assert said in page
    assert '<p class="note">text: beware</p>' in page
    m2ib.Explanation((explanation["image"], changed), 0.5).save(tmp_path / "saved")
    loaded = m2ib.load_explanation(tmp_path / "saved")["text"]
    assert (loaded.curve, loaded.warnings, loaded.full) == (curve, changed.warnings, changed.full)


def test_figures_of_long_texts_are_tall(explanation: m2ib.Explanation) -> None:
    a = explanation["text"]
    words = [f"w{n}" for n in range(40)]
    text = " ".join(words)
    spans = [(text.index(word), text.index(word) + len(word)) for word in words]
    layout = dataclasses.replace(a.layout, tokens=tuple(Token(text[i:j], i, j) for i, j in spans))
    long = dataclasses.replace(
        a, view={"text": text}, layout=layout, grid=np.arange(40, dtype=np.float32), origin={}
    )
    figure = m2ib.Explanation((explanation["image"], long), 0.5).figure()
    figure.draw_without_rendering()
    (axes,) = (axes for axes in figure.axes if axes.get_title().startswith("text"))
    boxes = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert all(low.y1 <= high.y0 + 1 for high, low in itertools.pairwise(boxes))
    assert explanation.figure().get_figheight() == pytest.approx(4.2)


def test_figures_draw_every_kind(explanation: m2ib.Explanation, tmp_path: Path) -> None:
    explanation.figure().savefig(tmp_path / "figure.png", dpi=60)
    with Image.open(tmp_path / "figure.png") as image:
        assert np.asarray(image.convert("L")).std() > 5
    plain = dataclasses.replace(explanation["text"], renderer=ValuesRenderer())
    m2ib.Explanation((plain, plain), 0.5).figure().savefig(tmp_path / "plain.png", dpi=60)


def test_renderers_by_name() -> None:
    assert isinstance(renderer_named("image"), ImageRenderer)
    assert isinstance(renderer_named("text"), TextRenderer)
    with pytest.warns(
        m2ib.M2IBWarning, match="there is no renderer 'molecule' here; its maps are shown as plain values"
    ):
        assert isinstance(renderer_named("molecule"), ValuesRenderer)


def test_an_explanation_is_indexed_by_position_or_modality(explanation: m2ib.Explanation) -> None:
    assert explanation[0] is explanation["image"]
    assert explanation[1] is explanation["text"]
    assert explanation.modalities == ("image", "text")
    with pytest.raises(m2ib.InputError, match="no input of modality 'audio'; there are 'image', 'text'"):
        explanation["audio"]


def test_raw_values_are_not_scaled_or_changed(explanation: m2ib.Explanation) -> None:
    for attribution in explanation:
        for value in vars(attribution).values():
            assert not isinstance(value, torch.Tensor)
        assert attribution.grid.max() > 1  # nats, not [0, 1]
        settings: Any = attribution.settings
        assert settings["beta"] == 0.1
        json.dumps(dict(settings) | dict(attribution.origin))


@pytest.mark.parametrize("call", ["store", "fragment", "draw"])
def test_a_renderer_that_ends_the_process_is_told(
    explanation: m2ib.Explanation, tmp_path: Path, call: str
) -> None:
    class Odd(ImageRenderer):
        name = "odd"

    def end(*args: Any) -> None:
        raise SystemExit(0)

    setattr(Odd, call, end)
    first, second = explanation
    odd = dataclasses.replace(explanation, attributions=(dataclasses.replace(first, renderer=Odd()), second))
    act = {
        "store": lambda: odd.save(tmp_path / "out"),
        "fragment": lambda: odd.to_html(tmp_path / "page.html"),
        "draw": odd.figure,
    }[call]
    with pytest.raises(m2ib.PluginError) as caught:
        act()
    assert str(caught.value) == "renderer 'odd' failed: SystemExit: 0"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("call", ["fragment", "draw"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_report_that_cannot_be_drawn_keeps_its_numbers(
    explanation: m2ib.Explanation, tmp_path: Path, call: str, count: int
) -> None:
    class Undrawn(ImageRenderer):
        pass

    def fail(*args: Any) -> None:
        raise RuntimeError("no pencil")

    setattr(Undrawn, call, fail)
    first, second = explanation
    names, made = ("one", "two")[:count], []
    for name in names:
        sides = [dataclasses.replace(each, method=name) for each in (first, second)]
        sides[0] = dataclasses.replace(sides[0], renderer=Undrawn())
        made.append(dataclasses.replace(explanation, attributions=tuple(sides)))
    folder = tmp_path / "out"
    with pytest.raises(m2ib.PluginError) as caught:
        write_report(m2ib.Comparison(made), folder, None, force=False)
    assert str(caught.value) == (
        f"renderer 'image' failed: RuntimeError: no pencil; the numbers are kept in {str(folder)!r}"
    )
    for name in names:
        loaded = m2ib.load_explanation(folder / name if count > 1 else folder)
        assert np.array_equal(loaded["image"].grid, first.grid)
    assert not (folder / "index.html").exists()


def test_methods_whose_folders_would_be_one_are_refused(
    explanation: m2ib.Explanation, tmp_path: Path
) -> None:
    made = [
        dataclasses.replace(
            explanation, attributions=tuple(dataclasses.replace(each, method=name) for each in explanation)
        )
        for name in ("slate:flat", "slate-flat")
    ]
    with pytest.raises(m2ib.StorageError, match=r"cannot write into .*: File exists"):
        write_report(m2ib.Comparison(made), tmp_path / "out", None, force=False)
    assert not list(tmp_path.iterdir())
