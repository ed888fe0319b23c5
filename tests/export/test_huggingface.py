"""A Hugging Face data set, read back by ``load_from_disk``."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pytest

import m2ib
from m2ib.export import huggingface, to_huggingface
from many_pairs import FAST, pairs, raw_pixels, run


def test_load_from_disk_reads_it(table: m2ib.results.ResultTable, tmp_path: Path) -> None:
    asked = table.where("modality_1 = 'image'").sort("similarity desc")
    found = to_huggingface(asked, tmp_path / "set")
    assert (found.written, found.left_out) == ({"rows": 4}, {"with an error": 2})
    data = datasets.load_from_disk(found.path)
    known = [row for row in asked.records() if row["error"] is None]
    assert data["id"][:] == [row["id"] for row in known]
    assert isinstance(data.features["image"], datasets.Image)
    for each, row in zip(data, known, strict=True):
        image, text = asked.sides(row)
        assert each["similarity"] == row["similarity"]
        np.testing.assert_array_equal(np.array(each["image_map"], np.float32), image.grid)
        np.testing.assert_array_equal(np.array(each["text_map"], np.float32), text.grid)
        assert each["image_against"] is None
        assert each["text"] == text.text
        words = [(word["start"], word["end"], pytest.approx(word["value"])) for word in each["text_words"]]
        assert text.words == words
        assert [word["word"] for word in each["text_words"]] == each["text"].split()
        assert each["image"].size == image.raster[::-1]
    square = data[data["id"][:].index("square")]
    np.testing.assert_array_equal(
        np.asarray(square["image"]), raw_pixels(table.folder.parent / "pictures" / "0.png")
    )


def test_files_are_paths_unless_they_are_asked_for(table: m2ib.results.ResultTable, tmp_path: Path) -> None:
    for embed in (False, True):
        found = to_huggingface(table.where("modality_1 = 'image'"), tmp_path / f"{embed}", embed_files=embed)
        stored = datasets.load_from_disk(found.path).cast_column("image", datasets.Image(decode=False))
        rows = {row["id"]: row["image"] for row in stored}
        file = table.folder.parent / "pictures" / "1.png"
        assert rows["wide"]["bytes"] == (file.read_bytes() if embed else None)
        assert rows["wide"]["path"] == ("1.png" if embed else str(file))
        assert (rows["array"]["bytes"] is not None) == embed
        assert (found.path / "images").exists() != embed, "a picture without a file lies beside, or inside"


def test_every_kind_of_input_has_its_columns(table: m2ib.results.ResultTable, tmp_path: Path) -> None:
    found = to_huggingface(table, tmp_path / "set")
    data = datasets.load_from_disk(found.path)
    rows = {row["id"]: row for row in data}
    assert set(rows) == {"square", "wide", "tall", "array", "sound", "depth"}
    sound = table.sides(next(table.where("id = 'sound'").records()))[0]
    np.testing.assert_array_equal(np.array(rows["sound"]["audio_map"], np.float32), sound.grid)
    assert (rows["sound"]["image"], rows["sound"]["depth_map"], rows["wide"]["audio_map"]) == (
        None,
        None,
        None,
    )


def test_a_long_table_is_several_files(
    table: m2ib.results.ResultTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface, "_SHARD", 2)
    found = to_huggingface(table, tmp_path / "set")
    assert len([*found.path.glob("*.arrow")]) == 3
    assert len(datasets.load_from_disk(found.path)) == 6


def test_only_files_that_were_explained_are_embedded(tmp_path: Path) -> None:
    """A folder of a stranger's could name any file of ours."""
    results = run(tmp_path)
    (tmp_path / "pictures" / "1.png").write_bytes(b"a secret")
    found = to_huggingface(results, tmp_path / "set", embed_files=True)
    assert found.left_out["whose file is not the one that was explained"] == 1
    assert not any(b"a secret" in each.read_bytes() for each in found.path.rglob("*") if each.is_file())


def test_two_texts(tiny: m2ib.Model, tmp_path: Path) -> None:
    pair = (("text", "a frog beside a bell"), ("text", "a bell"))
    results = m2ib.run(tiny, [pair], tmp_path / "results", show_progress=False, **FAST)
    (row,) = datasets.load_from_disk(to_huggingface(results, tmp_path / "set").path)
    assert (row["text_1"], row["text_2"]) == ("a frog beside a bell", "a bell")
    assert len(row["text_1_words"]) == 5


def test_results_go_round(table: m2ib.results.ResultTable, tiny: m2ib.Model, tmp_path: Path) -> None:
    """The data set's own inputs, explained again, have the maps that stand beside them."""
    found = to_huggingface(table.where("modality_1 = 'image'"), tmp_path / "set")
    data = datasets.load_from_disk(found.path).select_columns(["id", "image", "text"])
    again = m2ib.run(tiny, data, tmp_path / "again", show_progress=False, **FAST)
    for row in again.records():
        before = table.sides(table.row(row["id"]))
        for mine, its in zip(again.sides(row), before, strict=True):
            np.testing.assert_allclose(mine.grid, its.grid, rtol=1e-2, atol=1e-2)
    assert len(again) == len([each for each in pairs(tmp_path) if "image" in each]) - 2
