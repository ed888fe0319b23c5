"""Pictures: the heat at the raw picture's size, and the bare map, out of which its values come back."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import m2ib
from m2ib.export import png, to_png
from many_pairs import FAST, pairs


def test_a_folder_for_each_pair(table: m2ib.results.ResultTable, tiny: m2ib.Model, tmp_path: Path) -> None:
    found = to_png(table, tmp_path / "out", model=tiny)
    assert (found.written, found.left_out) == ({"pairs": 6}, {"with an error": 2})
    folders = {
        path.name: {each.name for each in path.iterdir()} for path in found.path.iterdir() if path.is_dir()
    }
    text = {"text.html", "text.json"}
    assert folders == {
        **dict.fromkeys(
            ("square", "wide", "tall", "array"), {"image.png", "image-map.png", "image-map.json"} | text
        ),
        "depth": {"depth.png", "depth-map.png", "depth-map.json"} | text,
        "sound": {"audio.png"} | text,
    }
    assert (found.path / "style.css").read_text().startswith(":root")


@pytest.mark.parametrize("name", ["wide", "tall", "array"])
def test_a_maps_values_come_back(
    table: m2ib.results.ResultTable, tiny: m2ib.Model, tmp_path: Path, name: str
) -> None:
    place = to_png(table.where(f"id = '{name}'"), tmp_path / "out", model=tiny).path / name
    image = table.explanation(name, model=tiny)["image"]
    pixels = np.asarray(Image.open(place / "image-map.png"))
    about = json.loads((place / "image-map.json").read_text())
    assert pixels.dtype == np.uint16
    assert about["unit"] == "nats"
    values = about["low"] + (pixels - 1.0) / 65534 * (about["high"] - about["low"])
    expected = image.at_input_size()
    np.testing.assert_array_equal(pixels == 0, np.isnan(expected))
    assert (pixels == 0).any() == (name != "array"), "of the others the model crops the middle"
    np.testing.assert_allclose(
        values[pixels > 0], expected[pixels > 0], atol=(about["high"] - about["low"]) / 60_000
    )

    shown = np.asarray(Image.open(place / "image.png")).astype(int)
    raw = image.view.pixels.astype(int)
    assert shown.shape == (*expected.shape, 3)
    hottest = np.unravel_index(np.nanargmax(expected), expected.shape)
    assert abs(shown[hottest] - raw[hottest]).sum() > 60
    assert shown[hottest][0] > shown[hottest][2] + 60, "red and yellow"
    unseen = np.isnan(expected)
    np.testing.assert_allclose(shown[unseen], 0.45 * raw[unseen] + 0.55 * 127.5, atol=1)


def test_a_large_picture_keeps_its_size(tiny: m2ib.Model, tmp_path: Path) -> None:
    large = np.zeros((700, 1500, 3), np.uint8)
    large[:, 750:] = 255
    table = m2ib.run(
        tiny, [{"image": large, "text": "a bell"}], tmp_path / "results", show_progress=False, **FAST
    )
    place = to_png(table, tmp_path / "out").path / "0"
    assert np.asarray(Image.open(place / "image.png")).shape == (700, 1500, 3)
    assert np.asarray(Image.open(place / "image-map.png")).shape == (700, 1500)


def test_a_text_as_a_line_and_as_numbers(table: m2ib.results.ResultTable, tmp_path: Path) -> None:
    place = to_png(table.where("id = 'array'"), tmp_path / "out").path / "array"
    about = json.loads((place / "text.json").read_text())
    text = table.sides(table.row("array"))[1]
    assert [
        (word["start"], word["end"], pytest.approx(word["value"])) for word in about["words"]
    ] == text.words
    line = (place / "text.html").read_text()
    shades = re.findall(r'class="word" style="--value:([\d.]+)">(\w+)<', line)
    assert [word for _, word in shades] == ["a", "clock", "and", "a", "cat"]
    values = [word["value"] for word in about["words"]]
    assert np.argmax([float(shade) for shade, _ in shades]) == np.argmax(values)


def test_inputs_that_were_not_kept_need_the_model(
    table: m2ib.results.ResultTable, tiny: m2ib.Model, tmp_path: Path
) -> None:
    found = to_png(table, tmp_path / "out")
    way = "whose input was not kept (give model=, or run with --keep-inputs)"
    assert found.left_out == {"with an error": 2, way: 3}
    with pytest.raises(
        m2ib.InputError,
        match=r"^png: it holds explained pairs; there is nothing to write: 1 whose input was not kept",
    ):
        to_png(table.where("id = 'wide'"), tmp_path / "none")

    few = [each for each in pairs(tmp_path) if each["id"] in ("tall", "wide")]
    own = m2ib.run(tiny, few, tmp_path / "results", show_progress=False, **FAST)
    for number in (1, 2):
        (tmp_path / "pictures" / f"{number}.png").unlink()
    with pytest.raises(
        m2ib.InputError,
        match=r"nothing to write: 2 whose input cannot be shown, as: image '.*1\.png' does not exist",
    ):
        to_png(own, tmp_path / "none", model=tiny)


def test_folders_have_names_of_their_own(tiny: m2ib.Model, tmp_path: Path) -> None:
    drawn = next(each["image"] for each in pairs(tmp_path) if each["id"] == "array")
    names = ["a/b", "a b", "A-b", "../up", "", "..", "x" * 300]
    data = [{"id": name or "?", "image": drawn, "text": "a bell"} for name in names]
    table = m2ib.run(tiny, data, tmp_path / "results", show_progress=False, **FAST)
    found = to_png(table, tmp_path / "out")
    folders = sorted(path.name for path in found.path.iterdir() if path.is_dir())
    assert found.written == {"pairs": len(names)}
    assert len(folders) == len({name.lower() for name in folders}) == len(names)
    assert {"a-b", "up", "pair", "x" * 80} <= set(folders)
    assert not (tmp_path / "up").exists()


def test_too_many_pairs_for_a_folder(
    table: m2ib.results.ResultTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(png, "_MOST", 5)
    with pytest.raises(
        m2ib.InputError, match=r"^png: 8 pairs are more than 5, for which it writes files; choose some"
    ):
        to_png(table, tmp_path / "out")
    assert to_png(table.where("id = 'array'").head(5), tmp_path / "out").written == {"pairs": 1}
