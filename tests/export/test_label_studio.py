"""Label Studio's tasks: pre-annotations that name what the labelling configuration has, boxes in per cent, spans of characters."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import m2ib
from m2ib.export import to_label_studio
from m2ib.export.regions import hot_regions
from many_pairs import FAST


def test_tasks_and_their_configuration(table: m2ib.results.ResultTable, tmp_path: Path) -> None:
    found = to_label_studio(table, tmp_path / "out", threshold=0.3)
    assert found.written["tasks"] == 4
    assert found.left_out["with an error"] == 2
    other = "of other inputs than the first ({}; a project has those of one kind)"
    assert found.left_out[other.format("text")] == found.left_out[other.format("depth, text")] == 1
    config = ElementTree.parse(found.path.parent / "config.xml").getroot()
    objects = {tag.get("name"): (tag.tag, tag.get("value")) for tag in config if tag.get("value")}
    controls = {tag.get("name"): tag for tag in config if tag.get("toName")}
    assert objects == {"image": ("Image", "$image"), "text": ("Text", "$text")}
    regions = 0
    for task in json.loads(found.path.read_text()):
        row = table.row(task["data"]["pair"])
        image, text = table.sides(row)
        (prediction,) = task["predictions"]
        assert prediction["score"] == row["similarity"] == task["data"]["similarity"]
        assert prediction["model_version"] == "m2ib m2ib"
        assert task["data"]["text"] == row["input_2"]
        assert len({each["id"] for each in prediction["result"]}) == len(prediction["result"])
        for each in prediction["result"]:
            control = controls[each["from_name"]]
            kind = control.tag.lower()
            assert (each["type"], each["to_name"]) == (kind, control.get("toName"))
            assert each["to_name"] in objects
            assert each["value"][kind] == [control[0].get("value")]
            assert 0 <= each["score"] <= 1
        boxes = [each for each in prediction["result"] if each["type"] == "rectanglelabels"]
        for each, region in zip(boxes, hot_regions(image, 0.3, None), strict=True):
            height, width = image.raster
            value = np.array([each["value"][name] for name in ("x", "y", "width", "height")])
            assert (each["original_width"], each["original_height"], each["image_rotation"]) == (
                width,
                height,
                0,
            )
            np.testing.assert_allclose(value * [width, height, width, height] / 100, region.box)
        spans = [each for each in prediction["result"] if each["type"] == "labels"]
        values = [each["value"] for each in spans]
        assert [(each["start"], each["end"]) for each in values] == [word[:2] for word in text.words]
        assert [row["input_2"][each["start"] : each["end"]] for each in values] == [
            each["text"] for each in values
        ]
        assert sum(each["score"] for each in spans) == pytest.approx(1, abs=1e-4)
        regions += len(boxes) + len(spans)
    assert found.written["regions"] == regions


def test_files_are_named_as_they_are_served(table: m2ib.results.ResultTable, tmp_path: Path) -> None:
    asked, file = table.where("id = 'wide'"), table.folder.parent / "pictures" / "1.png"
    for options, name in (
        ({}, f"/data/local-files/?d={str(file).lstrip('/')}"),
        ({"root": table.folder.parent}, "/data/local-files/?d=pictures/1.png"),
        (
            {"root": table.folder.parent, "prefix": "https://our.example/"},
            "https://our.example/pictures/1.png",
        ),
    ):
        found = to_label_studio(asked, tmp_path / "out", force=True, **options)  # type: ignore[arg-type]
        assert json.loads(found.path.read_text())[0]["data"]["image"] == name


def test_texts_alone(tiny: m2ib.Model, tmp_path: Path) -> None:
    pair = (("text", "a frog beside a bell"), ("text", "a bell"))
    table = m2ib.run(tiny, [pair], tmp_path / "results", show_progress=False, **FAST)
    found = to_label_studio(table, tmp_path / "out")
    (task,) = json.loads(found.path.read_text())
    assert {each["to_name"] for each in task["predictions"][0]["result"]} == {"text_1", "text_2"}
    assert (task["data"]["text_1"], task["data"]["text_2"]) == ("a frog beside a bell", "a bell")
    config = ElementTree.parse(found.path.parent / "config.xml").getroot()
    assert [tag.get("name") for tag in config] == ["text_1-words", "text_1", "text_2-words", "text_2"]
