"""A FiftyOne dataset, held against what FiftyOne itself writes: its documents, their types, and maps packed as it packs them."""

from __future__ import annotations

import base64
import io
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import m2ib
from m2ib.export import to_fiftyone
from many_pairs import FAST, pairs

# What a field of FiftyOne holds, in JSON.
KINDS = {
    "String": str,
    "Float": float,
    "Int": int,
    "ObjectId": dict,
    "Array": dict,
    "EmbeddedDocument": dict,
    "List": list,
    "HeatmapRange": list,
}


def unpacked(stored: dict[str, Any]) -> np.ndarray:
    """As FiftyOne reads an array."""
    assert stored["$binary"]["subType"] == "00"
    found: np.ndarray = np.load(io.BytesIO(zlib.decompress(base64.b64decode(stored["$binary"]["base64"]))))
    return found


def kind_of(field: dict[str, Any], name: str = "ftype") -> str:
    return re.fullmatch(r"fiftyone\.core\.fields\.(\w+)Field", field[name])[1]  # type: ignore[index]


def check(document: dict[str, Any], fields: list[dict[str, Any]], where: str) -> None:
    """That each value is of its declared field, and none undeclared."""
    declared = {field["db_field"]: field for field in fields}
    for name, value in document.items():
        if value is None or name == "_cls":
            continue
        field = declared[name]
        kind = kind_of(field)
        assert type(value) is KINDS[kind], (where, name)
        if kind == "ObjectId":
            assert re.fullmatch("[0-9a-f]{24}", value["$oid"])
        if kind == "EmbeddedDocument":
            assert field["embedded_doc_type"].endswith(f".{value['_cls']}")
            check(value, field["fields"], f"{where}.{name}")
        for each in value if kind in ("List", "HeatmapRange") else ():
            inner = kind_of(field, "subfield")
            assert type(each) is KINDS[inner], (where, name)
            if inner == "EmbeddedDocument":
                check(each, field["fields"], f"{where}.{name}")


def read(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    samples = json.loads((folder / "samples.json").read_text())
    assert set(samples) == {"samples"}
    return json.loads((folder / "metadata.json").read_text()), samples["samples"]


def test_documents_are_as_they_are_declared(table: m2ib.results.ResultTable, tmp_path: Path) -> None:
    found = to_fiftyone(table, tmp_path / "set")
    assert found.written == {"samples": 5}
    assert found.left_out == {"with an error": 2, "without a picture (audio and text)": 1}
    about, samples = read(found.path)
    assert about["media_type"] == "image"
    assert {
        "name",
        "version",
        "sample_collection_name",
        "frame_fields",
        "saved_views",
        "brain_methods",
    } <= set(about)
    assert about["info"]["methods"] == table.manifest["asked"]["methods"]
    for sample in samples:
        check(sample, about["sample_fields"], sample["pair"])
        assert Path(sample["filepath"]).is_file()
    ids = [each["$oid"] for each in (about["_id"], *(sample["_id"] for sample in samples))]
    ids += [
        each["_id"]["$oid"]
        for sample in samples
        for each in (sample["heat"], *sample["words"]["classifications"])
    ]
    assert len(set(ids)) == len(ids)
    assert {each["name"] for each in about["sample_fields"]} >= {
        "id",
        "filepath",
        "tags",
        "metadata",
        "_media_type",
        "_rand",
    }


def test_heat_lies_over_the_whole_picture(table: m2ib.results.ResultTable, tmp_path: Path) -> None:
    _, samples = read(to_fiftyone(table, tmp_path / "set").path)
    known = {row["id"]: row for row in table.records()}
    for sample in samples:
        row = known[sample["pair"]]
        side, text = table.sides(row)
        shown = unpacked(sample["heat"]["map"])
        low, high = sample["heat"]["range"]
        assert (low, sample["heat"]["unit"]) == (0.0, "nats")
        assert high == max(side.grid.max(), side.stored.full)
        assert shown.dtype == np.float32
        assert (sample["metadata"]["height"], sample["metadata"]["width"]) == side.raster == shown.shape
        assert {*np.unique(shown)} == {
            *np.unique(side.grid),
            *([0.0] if sample["pair"] in ("wide", "tall") else []),
        }
        words = [(word["start"], word["end"], word["value"]) for word in sample["words"]["classifications"]]
        assert words == text.words
        assert (sample["similarity"], sample["other"]) == (row["similarity"], row["input_2"])
        assert sample["tags"] == ["m2ib", row["modality_1"]]


def test_a_contrast_has_both_maps_and_the_same_ids_again(tiny: m2ib.Model, tmp_path: Path) -> None:
    drawn = next(each["image"] for each in pairs(tmp_path) if each["id"] == "array")
    pair = (("image", drawn), ("text", m2ib.contrast("a cat", "a clock")))
    table = m2ib.run(tiny, [pair], tmp_path / "results", show_progress=False, **FAST)
    (sample,) = read(to_fiftyone(table, tmp_path / "set").path)[1]
    side = table.sides(next(table.records()))[0]
    assert side.against is not None
    assert {*np.unique(unpacked(sample["heat_against"]["map"]))} == {*np.unique(side.against)}
    again = to_fiftyone(table, tmp_path / "set", force=True)
    assert read(again.path)[1] == [sample]


def test_large_pictures_have_small_maps(tiny: m2ib.Model, tmp_path: Path) -> None:
    large = np.zeros((1200, 600, 3), np.uint8)
    table = m2ib.run(
        tiny, [{"image": large, "text": "a bell"}], tmp_path / "results", show_progress=False, **FAST
    )
    (sample,) = read(to_fiftyone(table, tmp_path / "set").path)[1]
    assert unpacked(sample["heat"]["map"]).shape == (224, 112)


def test_pairs_without_a_picture_are_refused(table: m2ib.results.ResultTable, tmp_path: Path) -> None:
    with pytest.raises(
        m2ib.InputError,
        match=r"^fiftyone: it holds pictures with maps; there is nothing to write: 1 without a picture",
    ):
        to_fiftyone(table.where("id = 'sound'"), tmp_path / "set")
