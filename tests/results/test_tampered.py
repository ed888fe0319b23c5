"""Saved explanations that are not what was saved: refused in one line, before anything is made of them."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

import m2ib
import m2ib.registry.discovery
from drawn import (
    KINDS,
    explanations,
    field_view,
    film_view,
    grid_of,
    image_view,
    listed_again,
    sound_axes,
    sound_view,
    traces_view,
)
from installed import Plugins
from m2ib.contract.attribution import Attribution
from m2ib.contract.curve import Curve
from m2ib.contract.layout import Axis, Layout, Token
from m2ib.contract.regions import Region, rings
from m2ib.contract.words import word_spans
from m2ib.renderers import TextRenderer, ValuesRenderer

DAMAGED = re.compile(r"the explanation in '.*' is damaged: (.*); save it again")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a folder for each of the explanations that are drawn by hand."""
    folder = tmp_path_factory.mktemp("saved")
    for name, each in explanations().items():
        each.save(folder / name)
    return folder


@pytest.fixture
def copied(saved: Path, tmp_path: Path) -> Callable[[str], Path]:
    def copy(name: str) -> Path:
        return Path(shutil.copytree(saved / name, tmp_path / name))

    return copy


def refusal(folder: Path) -> str:
    """What is said of a damaged explanation, without what is said of each."""
    with pytest.raises(m2ib.StorageError) as caught:
        m2ib.load_explanation(folder)
    found = DAMAGED.fullmatch(str(caught.value))
    assert found is not None, caught.value
    return found[1]


def written(folder: Path, text: str) -> Path:
    (folder / "manifest.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    return folder


def changed(folder: Path, path: str, value: Any) -> Path:
    """With another value at ``path`` of the manifest, as "attributions.0.layout"; None at a name takes it away."""
    content = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    *way, last = (int(part) if part.isdecimal() else part for part in path.split("."))
    place = content
    for part in way:
        place = place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return written(folder, json.dumps(content))


@pytest.mark.parametrize("name", list(explanations()))
def test_what_is_whole_loads_and_saves_again_alike(saved: Path, name: str, tmp_path: Path) -> None:
    again = m2ib.load_explanation(saved / name).save(tmp_path / "again")
    files = sorted(path.name for path in (saved / name).iterdir())
    assert files == sorted(path.name for path in again.iterdir())
    assert [(saved / name / each).read_bytes() == (again / each).read_bytes() for each in files] == [
        True
    ] * len(files)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "its manifest has too many mappings and lists in each other"),
        (
            '{"format": 3, "a": ' + "[" * 70 + "]" * 70 + "}",
            "more than 64 mappings and lists in each other",
        ),
        ('{"format": 3, "similarity": NaN}', "NaN is no finite number"),
        ('{"format": 3, "similarity": 1e999}', "1e999 is no finite number"),
        ('{"format": 3, "format": 3}', "'format' stands twice in one mapping"),
        ('{"format": 3}', "manifest lacks 'similarity'"),
        ('{"format": 3, "a": ' + "9" * 5000 + "}", "Exceeds the limit"),
    ],
)
def test_manifests_that_no_save_writes(copied: Callable[[str], Path], text: str, said: str) -> None:
    assert said in refusal(written(copied("given-plain"), text))


VAST = "(rows, columns) with 67,108,864 pixels at most"


@pytest.mark.parametrize(
    ("name", "path", "value", "said"),
    [
        ("photo-text", "similarity", 7, "explanation: similarity is 7; it must be a cosine, from -1 to 1"),
        ("photo-text", "similarity", "0.5", "manifest.similarity is '0.5', not a number"),
        ("photo-text", "note", "", "manifest has 'note', which does not belong there"),
        ("photo-text", "attributions", [], "manifest.attributions is [], not a list of 2"),
        ("photo-text", "attributions.0.unit", ..., "manifest.attributions[0] lacks 'unit'"),
        ("photo-text", "attributions.0.warnings", [1], "manifest.attributions[0].warnings[0] is 1, not a text"),
        ("photo-text", "attributions.0.additive", 1, "manifest.attributions[0].additive is 1, not true or false"),
        ("photo-text", "attributions.0.settings", [], "manifest.attributions[0].settings is [], not a mapping"),
        ("photo-text", "attributions.0.origin.ensemble", "ab", "manifest.attributions[0].origin.ensemble is 'ab', not a list"),
        ("photo-text", "attributions.0.origin.source", ..., "manifest.attributions[0].origin.source is None, not a text"),
        ("photo-text", "provenance.usual.text.below", "1", "manifest.provenance.usual.text.below is '1', not a number"),
        ("photo-text", "attributions.1.curve.fit", [0.1], "curve: its length is (1, 2, 2)"),
        ("photo-text", "attributions.1.layout.tokens.2.start", 99, "token 'bell' is (99, 6); it must be 0 <= start <= end"),
        ("photo-text", "attributions.1.layout.tokens.5.end", 99, "text, text: the end of a token is 99; it must be 28 at most"),
        ("photo-text", "attributions.1.layout.tokens.5", ..., "the grid's shape is (6,); it must be (5,), a cell for each token"),
        ("photo-text", "attributions.1.layout.grid", [4], "the grid's shape is (6,); it must be (4,), or that with cells split"),
        ("photo-text", "attributions.1.layout.index.0", 9, "the capacity's positions of cells is (1, 9); it must be from 0 to 7"),
        ("photo-text", "attributions.1.view.text", 5, "view.text is 5, not a text"),
        ("photo-text", "attributions.1.view.text", "\ud800", "manifest.attributions[1] holds half a character (a lone surrogate)"),
        ("photo-text", "attributions.0.view.size", [30_000, 30_000], f"the size of the model's input is (30000, 30000); it must be {VAST}"),
        ("photo-text", "attributions.0.view.region", [0, 0, 0, 9], "ImageView: region is (0, 0, 0, 9); it must be (left, top, right, bottom)"),
        ("photo-text", "attributions.0.view.scale", [1e-9, 1], "ImageView: scale is (1e-09, 1)"),
        ("photo-text", "attributions.0.view.boxes.0.width", 0, "width and height above 0"),
        ("photo-text", "attributions.0.view.pixels", "../0.png", "'../0.png' is not the name of a file in it"),
        ("photo-text", "attributions.0.view.pixels", "/etc/passwd", "'/etc/passwd' is not the name of a file in it"),
        ("photo-text", "attributions.0.view.regions.each.0.main", None, "view.regions.each[0].main is None, not true or false"),
        ("photo-text", "attributions.0.view.regions.each.0.axes.0", ["row", "m"], "over an input of modality 'thing' it has the axes row (px), column (px)"),
        ("photo-text", "attributions.0.renderer", "sound", "which the renderer 'sound' shows: None is not the name of a file in it"),
        ("field-film", "attributions.0.view.colours", "nope", "view.colours is 'nope', no colour map of matplotlib"),
        ("field-film", "attributions.1.view.parts.0.0", 3, "FilmView: the moment of a part is 3; it must be one of 3, from 0 on"),
        ("field-film", "attributions.1.view.parts", [], "FilmView: the moments of parts is []; it must be all of 3"),
        ("sound-traces", "attributions.0.view.rate", 0, "SoundView: rate is 0; it must be from 1 to 1e+09"),
        ("sound-traces", "attributions.0.view.frames.0", 25, "SoundView: frames is (25, 20); it must be for each clip, from 0 to 24"),
        ("sound-traces", "attributions.0.layout.axes.1.spans.0", [1, "2"], "spans[0][1] is '2', not a number"),
        ("sound-traces", "attributions.0.layout.axes.1.spans.0", ..., "sound: the cells of its axes is (2, 2, 5); it must be (2, 3, 5)"),
        ("sound-traces", "attributions.0.layout.axes.1.name", "time", "Layout: axes is ['clip', 'time', 'time']; it must be of different names"),
        ("sound-traces", "attributions.1.view.names.0", ..., "TracesView: names is"),
        ("sound-traces", "attributions.1.view.size", 10**9, "TracesView: size is 1000000000; it must be from 1 to 67,108,864"),
    ],
)  # fmt: skip
def test_values_that_do_not_belong_together(
    copied: Callable[[str], Path], name: str, path: str, value: Any, said: str
) -> None:
    assert said in refusal(changed(copied(name), path, value))


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("arrays", lambda found: found.pop("0.grid"), "arrays.safetensors lacks '0.grid'"),
        ("arrays", lambda found: found.update({"2.grid": np.ones(1)}), "holds '2.grid', which does not belong there"),
        ("arrays", lambda found: found.update({"0.grid": found["0.grid"] * np.nan}), "grid holds nan; its values must be finite"),
        ("arrays", lambda found: found.update({"0.grid": found["0.grid"].astype(bool)}), "grid holds bool; it must be floats"),
        ("arrays", lambda found: found.update({"0.grid": np.ones((2, 3, 6), "f4"), "0.against": np.ones((2, 3, 6), "f4")}), "the grid's shape is (2, 3, 6); it must be (2, 3, 5)"),
        ("arrays", lambda found: found.update({"0.against": np.ones((3, 5), "f4")}), "against has the shape (3, 5); it must have (2, 3, 5)"),
        ("arrays", lambda found: found.update({"0.capacity": np.ones(7, "f4")}), "the capacity's positions that are cells: their number is 7; it must be 30"),
        ("0", lambda found: found.update({"spectrogram": np.ones((2, 16, 19), "f4")}), "SoundView: frames is (20, 20); it must be for each clip, from 0 to 19"),
        ("0", lambda found: found.update({"hertz": found["hertz"][::-1]}), "it must be 0 or more, and rising"),
        ("0", lambda found: found.pop("waveform"), "0.safetensors holds 'envelope', 'hertz', 'spectrogram', not"),
        ("1", lambda found: found.update({"times": found["times"] * np.inf}), "TracesView: times holds"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_belong_there(
    copied: Callable[[str], Path], file: str, change: Callable[[dict[str, np.ndarray]], Any], said: str
) -> None:
    folder = copied("sound-traces")
    path = folder / f"{file}.safetensors"
    arrays = safetensors.numpy.load_file(path)
    with np.errstate(invalid="ignore"):
        change(arrays)
    path.write_bytes(
        safetensors.numpy.save({key: np.ascontiguousarray(each) for key, each in arrays.items()})
    )
    assert refusal(folder) == f"{path.name!r} is not the file that was saved"
    assert said in refusal(listed_again(folder))


def claimed(kind: str, width: int, height: int) -> bytes:
    """The beginning of a picture of this size."""
    if kind == "PNG":
        head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        first = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
        return b"\x89PNG\r\n\x1a\n" + first + struct.pack(">I", 0) + b"IDAT"
    frame = struct.pack(">HBHHB", 17, 8, height, width, 3) + bytes([1, 17, 0, 2, 17, 0, 3, 17, 0])
    return b"\xff\xd8\xff\xc0" + frame + b"\xff\xda\0\x0c\3\1\0\2\0\3\0\0?\0"


def test_a_picture_is_measured_before_it_is_unpacked(copied: Callable[[str], Path]) -> None:
    folder = copied("photo-text")
    for kind in ("PNG", "JPEG"):
        (folder / "0.png").write_bytes(claimed(kind, 20_000, 20_000))
        assert "the picture has 20000x20000 pixels; 16,777,216 are the most" in refusal(listed_again(folder))
    Image.new("L", (50, 30)).save(folder / "0.png")
    assert "the picture is L, not RGB" in refusal(listed_again(folder))
    Image.new("RGB", (50, 30)).save(folder / "0.png", "GIF")
    assert "the picture is neither PNG nor JPEG" in refusal(listed_again(folder))


def vast(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**33)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="other systems have no such files")
@pytest.mark.parametrize("name", ["manifest.json", "arrays.safetensors", "0.png"])
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (vast, "has 8,589,934,592 bytes, more than"),
        (lambda path: os.mkfifo(path), "is no regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "is a link"),
        (lambda path: path.mkdir(), "cannot be read: Is a directory"),
    ],
)
def test_files_of_other_kinds(
    copied: Callable[[str], Path], name: str, make: Callable[[Path], None], said: str
) -> None:
    """A pipe was waited for, and a device read for ever."""
    folder = copied("photo-text")
    (folder / name).unlink()
    make(folder / name)
    assert said in refusal(folder)


PLUGIN = """
    import m2ib

    class Ours(m2ib.renderers.ValuesRenderer):
        name = "ours"

        def restore(self, stored, folder):
            raise SystemError("first line\\nsecond line")

    @m2ib.hookimpl
    def m2ib_register_renderers(register):
        register(m2ib.RendererSpec("ours", "a renderer", Ours))
"""


def test_whatever_a_plugin_says_of_what_it_stored(
    copied: Callable[[str], Path], plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins.add("their-renderer", PLUGIN.replace("m2ib.renderers.Values", "Values").replace(
        "    import m2ib\n", "    import m2ib\n    from m2ib.renderers import ValuesRenderer\n", 1
    ))  # fmt: skip
    monkeypatch.setattr(m2ib.registry.discovery, "_default", None)
    folder = changed(copied("given-plain"), "attributions.1.renderer", "ours")
    assert refusal(folder) == (
        "manifest.attributions[1], which the renderer 'ours' shows: SystemError: first line second line"
    )


def test_words_of_a_renderer_that_is_gone(tmp_path: Path) -> None:
    """They are kept by it in its own way: the numbers are shown, and nothing is said to be words."""
    layout = Layout((2,), tokens=(Token("C", 0, 1), Token("O", 1, 2)))
    gone = Attribution(
        "smiles", "m2ib", grid_of(2), None, layout, None, {}, {"smiles": "CO"}, ValuesRenderer(), {"rather_than": ["N"]}
    )  # fmt: skip
    explanation = m2ib.Explanation((gone, KINDS["traces"]()), 0.5)
    loaded = m2ib.load_explanation(explanation.save(tmp_path / "saved"))
    assert loaded[0].words == loaded[0].placed_words == []
    assert "smiles" in loaded.to_html(tmp_path / "page.html").read_text(encoding="utf-8")
    assert loaded.figure().axes
    empty = dataclasses.replace(gone, grid=np.zeros(0), layout=Layout((0,)))
    assert empty.scores.shape == (0,)
    assert "a map without cells" in empty.renderer.fragment(empty, "x")


def test_a_map_of_very_many_cells_is_shown_in_part() -> None:
    many = Attribution("wave", "m2ib", grid_of(2**15, 4), None, Layout(), None, {}, {}, ValuesRenderer())
    html = many.renderer.fragment(many, "x")
    assert html.count("<tr>") == 2**14
    assert "the first 16,384 of 32,768 rows</figcaption>" in html


def test_figures_of_very_many_words_can_be_written(tmp_path: Path) -> None:
    """matplotlib refuses more than 65,535 pixels."""
    tokens = tuple(Token("ab", at, at + 2) for at in range(0, 9000, 3))
    layout = Layout((3000,), tokens=tokens)
    text = Attribution(
        "text", "m2ib", grid_of(3000), None, layout, None, {}, {"text": "ab " * 3000}, TextRenderer()
    )
    assert m2ib.Explanation((text, KINDS["traces"]()), 0.5).figure().get_figheight() == 300


def test_special_tokens_lie_nowhere_in_a_text() -> None:
    layout = Layout((1,), tokens=(Token("[CLS]", 0, 0, True),))
    text = Attribution("text", "m2ib", grid_of(1), None, layout, None, {}, {"text": "a"}, TextRenderer())
    with pytest.raises(
        m2ib.InputError, match="text 'a': it has no tokens but special ones, which lie nowhere"
    ):
        text.at_input_size()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Axis("row", "px", ()), r"axis 'row': spans is \(\); it must be \(start, end\) of one cell or more"),
        (lambda: Axis("row", "px", ((0.0, float("inf")),)), r"spans is \(0.0, inf\); it must be \(start, end\) in finite"),
        (lambda: Layout((-1, 2)), r"Layout: grid is \(-1, 2\); it must be lengths of one axis or more"),
        (lambda: Curve((), (), ()), r"curve: its length is \(0, 0, 0\)"),
        (lambda: dataclasses.replace(image_view(), pixels=np.zeros((3, 4))), "ImageView: pixels holds float64"),
        (lambda: field_view(limits=(2.0, 1.0)), r"FieldView: limits is \(2.0, 1.0\); it must be \(lowest, highest\)"),
        (lambda: sound_view(step=0.0), "SoundView: step is 0.0; it must be from 1e-09 to 1e"),
        (lambda: traces_view(span=(3.0, 3.0)), r"TracesView: span is \(3.0, 3.0\)"),
        (lambda: dataclasses.replace(film_view(), times=np.zeros(3)), r"FilmView: times has the shape \(3,\); it must have \(3, 2\)"),
        (lambda: KINDS["image"](against=np.zeros((2, 2))), r"against has the shape \(2, 2\); it must have \(3, 4\)"),
        (lambda: dataclasses.replace(KINDS["sound"](), layout=Layout((2, 3, 5), axes=sound_axes())).check(), "the cells of its axes"),
        (lambda: dataclasses.replace(KINDS["film"](), grid=grid_of(5, 3, 4), layout=Layout()).check(), r"film: its maps is 5; it must be 6"),
    ],
)  # fmt: skip
def test_adapters_are_told_of_the_same(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(m2ib.AdapterError, match=said):
        make()


def test_outlines_of_many_parts_take_no_longer_for_each() -> None:
    """Each was looked for among the sides of all the others: minutes."""
    found = rings(np.indices((300, 300)).sum(0) % 2 == 0)
    assert len(found) == 45_000
    assert all(len(ring) == 4 for ring in found)


def test_words_of_many_parts_take_no_longer_for_each() -> None:
    """The whole word was gone through again for each of its parts: minutes."""
    assert word_spans("?!" * 30_000 + " " + "a-" * 30_000) == [
        (0, 60_000),
        (60_001, 120_000),
        (120_000, 120_001),
    ]


def test_outlines_that_cannot_be_drawn_are_not_read(tmp_path: Path) -> None:
    rows = Axis("row", "px", tuple((float(n), n + 1.0) for n in range(400)))
    region = Region(
        "all", np.indices((400, 400)).sum(0) % 2 == 0, (rows, dataclasses.replace(rows, name="column"))
    )
    photo = KINDS["image"]()
    photo = dataclasses.replace(photo, view=dataclasses.replace(photo.view, regions=(region,)))
    folder = m2ib.Explanation((photo, photo), 0.5).save(tmp_path / "saved")
    assert "regions: there are 1 with 319,200 sides of cells to be outlined; 1,024 with 262,144" in refusal(
        folder
    )
