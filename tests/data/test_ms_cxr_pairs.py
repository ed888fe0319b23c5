"""Pairs and boxes out of MS-CXR's two files, over a tree of images like MIMIC-CXR-JPG's."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from m2ib import Box
from m2ib.data import Pairs, open_pairs
from m2ib.errors import InputError

HEADER = (
    "dicom_id",
    "category_name",
    "label_text",
    "path",
    "x",
    "y",
    "w",
    "h",
    "image_width",
    "image_height",
    "split",
)
FIRST, SECOND = "files/p10/p10000032/s50414267/aa-11.jpg", "files/p10/p10000764/s57375967/bb-22.jpg"
ROWS: list[dict[str, Any]] = [
    {"path": FIRST, "label_text": "left, lower opacity", "category": "Pneumonia", "box": (10, 20, 30, 15)},
    {"path": SECOND, "label_text": "apical", "category": "Pneumothorax", "box": (1, 2, 3, 4)},
    {"path": FIRST, "label_text": "mild edema", "category": "Edema", "box": (4, 6, 8, 10)},
    {"path": FIRST, "label_text": "left, lower opacity", "category": "Pneumonia", "box": (50, 60, 10, 10)},
]


def table(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "MS_CXR_Local_Alignment_v1.1.0.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for row in rows:
            size = row.get("size", (80, 120))
            name = Path(row["path"]).stem
            writer.writerow(
                [name, row.get("category", ""), row["label_text"], row["path"], *row["box"], *size, "test"]
            )
    return path


def coco(folder: Path, rows: list[dict[str, Any]]) -> Path:
    categories = list(dict.fromkeys(row["category"] for row in rows if row.get("category")))
    images = {(row["path"], row.get("size", (80, 120))): n for n, row in enumerate(rows, 3)}
    content = {
        "info": {"version": "1.1.0"},
        "categories": [{"id": n, "name": name} for n, name in enumerate(categories, 1)],
        "images": [
            {"id": n, "file_name": Path(path).name, "path": path, "width": size[0], "height": size[1]}
            for (path, size), n in images.items()
        ],
        "annotations": [
            {
                "id": n,
                "image_id": images[row["path"], row.get("size", (80, 120))],
                "category_id": categories.index(row["category"]) + 1 if row.get("category") else None,
                "label_text": row["label_text"],
                "bbox": list(row["box"]),
            }
            for n, row in enumerate(rows)
        ],
    }
    path = folder / "MS_CXR_Local_Alignment_v1.1.0.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


both = pytest.mark.parametrize("save", [table, coco])


def found(pairs: Pairs) -> list[tuple[Any, ...]]:
    return [(pair.id, pair.inputs[0][1].name, pair.inputs[1][1], pair.boxes) for pair in pairs]


@both
def test_a_pair_for_each_phrase_of_an_image(tmp_path: Path, draw: Any, save: Any) -> None:
    draw(f"mimic/{FIRST}", (80, 120))
    draw(f"mimic/{SECOND}", (80, 120))
    pairs = open_pairs("ms-cxr", boxes=save(tmp_path, ROWS), images=tmp_path / "mimic")
    assert (pairs.name, pairs.modalities, pairs.located) == ("MS-CXR", ("image", "text"), True)
    for _ in range(2):
        assert found(pairs) == [
            (
                "aa-11#0",
                "aa-11.jpg",
                "left, lower opacity",
                (Box(10, 20, 30, 15, "Pneumonia"), Box(50, 60, 10, 10, "Pneumonia")),
            ),
            ("bb-22#0", "bb-22.jpg", "apical", (Box(1, 2, 3, 4, "Pneumothorax"),)),
            ("aa-11#1", "aa-11.jpg", "mild edema", (Box(4, 6, 8, 10, "Edema"),)),
        ]
    assert pairs.bad == []


@both
def test_boxes_follow_the_size_of_the_image(tmp_path: Path, draw: Any, save: Any) -> None:
    draw(f"mimic/{FIRST}", (40, 30))
    pairs = open_pairs("ms-cxr", boxes=save(tmp_path, ROWS[:1]), images=tmp_path / "mimic")
    assert [pair.boxes for pair in pairs] == [(Box(5, 5, 15, 3.75, "Pneumonia"),)]
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (60, 160)).save(tmp_path / "mimic" / FIRST, exif=exif)
    assert [pair.boxes for pair in pairs] == [(Box(20, 10, 60, 7.5, "Pneumonia"),)]


@both
@pytest.mark.parametrize(
    "place",
    [
        FIRST,
        FIRST.removeprefix("files/"),
        FIRST.replace(".jpg", ".png"),
        FIRST.removeprefix("files/").replace(".jpg", ".jpeg"),
        "aa-11.jpg",
        "aa-11.png",
    ],
)
def test_where_images_may_lie(tmp_path: Path, draw: Any, save: Any, place: str) -> None:
    image = draw(f"mimic/{place}", (80, 120))
    pairs = open_pairs("ms-cxr", boxes=save(tmp_path, ROWS[:1]), images=tmp_path / "mimic")
    assert [pair.inputs[0][1] for pair in pairs] == [image]


BAD: tuple[tuple[dict[str, Any], str | None], ...] = (
    (ROWS[0], None),
    ({"label_text": " "}, "its label_text is empty"),
    ({"path": "files/p10/gone.jpg"}, "there is no image '{folder}/files/p10/gone.jpg'"),
    (
        {"label_text": "b", "box": (1, 2, -3, 4)},
        "box 'Edema': x, y, width, height are (1.0, 2.0, -3.0, 4.0); "
        "give finite numbers, width and height above 0",
    ),
    (
        {"label_text": "c", "size": (0, 120)},
        "its image's width and height are {zero} and {other}, not numbers above 0",
    ),
    (
        {"label_text": "d", "box": (80, 2, 3, 4)},
        "its box from (80, 2) to (83, 6) lies outside of the image of 80x120 pixels",
    ),
    ({"label_text": "e"}, None),
    (
        {"label_text": "f", "path": "files/damaged.jpg"},
        "the image '{folder}/files/damaged.jpg' cannot be read: ",
    ),
)


@both
def test_bad_annotations(tmp_path: Path, draw: Any, save: Any) -> None:
    draw(f"mimic/{FIRST}", (80, 120))
    (tmp_path / "mimic" / "files" / "damaged.jpg").write_text("<html>not found</html>")
    rows = [{**ROWS[2], **changes} for changes, _ in BAD]
    pairs = open_pairs("ms-cxr", boxes=save(tmp_path, rows), images=tmp_path / "mimic")
    assert pairs.bad == []
    for _ in range(2):
        assert [pair.inputs[1][1] for pair in pairs] == ["left, lower opacity", "e"]
        assert [pair.id for pair in pairs] == ["aa-11#0", "aa-11#4"]
    wanted = []
    for number, (_, reason) in enumerate(BAD):
        place = f"line {number + 2}" if save is table else f"annotation {number}"
        fill = {"folder": str(tmp_path / "mimic")}
        fill |= {"zero": "'0'", "other": "'120'"} if save is table else {"zero": "0", "other": "120"}
        wanted += [(place, reason.format(**fill))] if reason else []
    assert [row.place for row in pairs.bad] == [place for place, _ in wanted]
    for row, (_, reason) in zip(pairs.bad, wanted, strict=True):
        assert row.reason.startswith(reason)
        assert row.reason == reason or reason.endswith("cannot be read: ")


@both
def test_a_bad_box_takes_its_pair_along(tmp_path: Path, draw: Any, save: Any) -> None:
    draw(f"mimic/{FIRST}", (80, 120))
    draw(f"mimic/{SECOND}", (80, 120))
    rows = [*ROWS[:3], {**ROWS[3], "box": (1, 2, 3, 0)}, ROWS[0]]
    pairs = open_pairs("ms-cxr", boxes=save(tmp_path, rows), images=tmp_path / "mimic")
    assert [pair.id for pair in pairs] == ["bb-22#0", "aa-11#1"]
    assert [str(row) for row in pairs.bad] == [
        f"{'line 5' if save is table else 'annotation 3'}: box 'Pneumonia': x, y, width, height are "
        "(1.0, 2.0, 3.0, 0.0); give finite numbers, width and height above 0; its pair of 3 boxes is left out"
    ]


def test_lines_that_are_wrong(tmp_path: Path, draw: Any) -> None:
    draw(f"mimic/{FIRST}", (80, 120))
    path = table(tmp_path, ROWS[:1])
    with path.open("ab") as file:
        file.write(b"aa-11,Edema,short\n")
        file.write(f"aa-11,Edema,words,{FIRST},1,2,three,4,80,120,test\n".encode())
        file.write(f"aa-11,Edema,\xff,{FIRST},1,2,3,4,80,120,test\n".encode("latin-1"))
        file.write(f"aa-11,,no category,{FIRST},1,2,3,4,80,120,test\n".encode())
    pairs = open_pairs("ms-cxr", boxes=path, images=tmp_path / "mimic")
    assert [pair.boxes[0].label for pair in pairs] == ["Pneumonia", "no category"]
    assert [str(row) for row in pairs.bad] == [
        "line 3: it has 3 columns instead of 11",
        "line 4: x, y, width, height are four numbers, not ('1', '2', 'three', '4')",
        "line 5: it is not UTF-8 text",
    ]


def test_annotations_that_are_wrong(tmp_path: Path, draw: Any) -> None:
    draw(f"mimic/{FIRST}", (80, 120))
    path = coco(tmp_path, ROWS[:1])
    content = json.loads(path.read_text())
    (good,) = content["annotations"]
    content["annotations"] += [
        3,
        {**good, "image_id": [9]},
        {**good, "label_text": None},
        {**good, "label_text": "a", "bbox": [1, 2, 3]},
        {**good, "label_text": "b", "bbox": None},
        {**good, "label_text": "c", "bbox": [1, 2, "x", 4]},
        {**good, "label_text": "d", "bbox": [10**400, 2, 3, 4]},
        {**good, "label_text": "e", "category_id": {"a": 1}},
    ]
    content["images"] += ["oops"]
    content["categories"] += [None]
    path.write_text(json.dumps(content))
    pairs = open_pairs("ms-cxr", boxes=path, images=tmp_path / "mimic")
    assert [(pair.id, pair.boxes[0].label) for pair in pairs] == [("aa-11#0", "Pneumonia"), ("aa-11#5", "e")]
    assert [str(row)[:90] for row in pairs.bad] == [
        "annotation 1: it is no annotation but 3",
        "annotation 2: there is no image with its image_id [9]",
        "annotation 3: its label_text is empty",
        "annotation 4: its bbox is no [x, y, w, h] but [1, 2, 3]",
        "annotation 5: its bbox is no [x, y, w, h] but None",
        "annotation 6: x, y, width, height are four numbers, not (1, 2, 'x', 4)",
        "annotation 7: its boxes hold numbers that are too large: [[1000000000000000000000000000000",
    ]


def test_the_first_pair_needs_its_own_image_alone(tmp_path: Path, draw: Any) -> None:
    draw(f"mimic/{FIRST}", (80, 120))
    pairs = open_pairs("ms-cxr", boxes=table(tmp_path, ROWS), images=tmp_path / "mimic")
    assert next(iter(pairs)).id == "aa-11#0"
    assert pairs.bad == []


def test_files_of_another_format(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text("dicom_id,path,label_text,x,y,width,height\n")
    with pytest.raises(InputError) as caught:
        open_pairs("ms-cxr", boxes=path, images=tmp_path)
    assert str(caught.value) == (
        f"data {str(path)!r} lacks the columns 'w', 'h', 'image_width', 'image_height'; it has 'dicom_id', "
        "'path', 'label_text', 'x', 'y', 'width', 'height'"
    )
    path = tmp_path / "boxes.json"
    for content, reason in (
        ("a,b", "is not JSON: Expecting value: line 1 column 1 (char 0)"),
        ("[]", "is not COCO JSON: it lacks lists of images and annotations"),
        ('{"images": [], "annotations": {}}', "is not COCO JSON: it lacks lists of images and annotations"),
        (
            '{"images": [], "annotations": [{"bbox": []}]}',
            "is not MS-CXR's JSON: none of its annotations has a label_text",
        ),
    ):
        path.write_text(content)
        with pytest.raises(InputError) as caught:
            open_pairs("ms-cxr", boxes=path, images=tmp_path)
        assert str(caught.value) == f"data {str(path)!r} {reason}"
    with pytest.raises(InputError, match=r"no\.csv' cannot be read: No such file or directory"):
        open_pairs("ms-cxr", boxes=tmp_path / "no.csv", images=tmp_path)
    with pytest.raises(InputError, match=r"^data: images='.*gone' is no folder; check the path$"):
        open_pairs("ms-cxr", boxes=path, images=tmp_path / "gone")
