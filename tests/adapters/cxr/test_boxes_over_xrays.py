"""Boxes read from COCO JSON and MS-CXR's CSV, laid over an explanation, and from a DICOM to a page."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import m2ib
from m2ib import Box, read_boxes
from m2ib.cli import main
from xrays import save_dicom, xray

HEADER = "dicom_id,category_name,label_text,path,x,y,w,h,image_width,image_height,split"
ROWS = (
    'aa-11,Pneumonia,"left, lower opacity",files/p10/p100/s5/aa-11.jpg,10,20,30,15,80,120,test',
    "aa-11,Edema,mild edema,files/p10/p100/s5/aa-11.jpg,4,6,8,10,80,120,test",
    "bb-22,Pneumothorax,apical,files/p10/p101/s6/bb-22.jpg,1,2,3,4,80,120,train",
)
FIRST = (Box(10, 20, 30, 15, "Pneumonia"), Box(4, 6, 8, 10, "Edema"))


def table(folder: Path, *rows: str, header: str = HEADER, name: str = "boxes.csv") -> Path:
    (folder / name).write_text("\n".join((header, *(rows or ROWS))) + "\n", encoding="utf-8")
    return folder / name


def coco(folder: Path, **changes: Any) -> Path:
    content = {
        "info": {"version": "1.1.0"},
        "categories": [{"id": 1, "name": "Pneumonia"}, {"id": 2, "name": "Edema"}],
        "images": [
            {"id": 7, "file_name": "aa-11.jpg", "width": 80, "height": 120, "path": "files/p10/aa-11.jpg"},
            {"id": 8, "file_name": "bb-22.jpg", "width": 80, "height": 120},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 1, "bbox": [10, 20, 30, 15], "label_text": "opacity"},
            {"id": 2, "image_id": 8, "category_id": 1, "bbox": [1, 2, 3, 4], "label_text": "apical"},
            {"id": 3, "image_id": 7, "category_id": 2, "bbox": [4, 6, 8, 10], "label_text": "mild"},
        ],
        **changes,
    }
    (folder / "boxes.json").write_text(json.dumps(content), encoding="utf-8")
    return folder / "boxes.json"


@pytest.mark.parametrize("write", [table, coco])
@pytest.mark.parametrize(
    "image", ["aa-11", "aa-11.dcm", "elsewhere/aa-11.jpg", Path("x/y/aa-11.png"), "p\\aa-11.dcm"]
)
def test_the_boxes_of_one_image(tmp_path: Path, write: Any, image: str | Path) -> None:
    assert read_boxes(write(tmp_path), image) == FIRST
    assert read_boxes(str(write(tmp_path)), image, size=(80, 120)) == FIRST


@pytest.mark.parametrize("write", [table, coco])
def test_boxes_of_another_size_are_scaled(tmp_path: Path, write: Any) -> None:
    assert read_boxes(write(tmp_path), "aa-11", size=(40, 360))[0] == Box(5, 60, 15, 45, "Pneumonia")


def test_labels_and_columns_that_are_left_out(tmp_path: Path) -> None:
    file = table(tmp_path, "1.2.84,1,2,3,4", header="dicom_id, x, y, w, h")
    assert read_boxes(file) == (Box(1, 2, 3, 4),)
    file = table(tmp_path, "a/1.2.84.dcm,1,2,3,4,a phrase", header="path,x,y,w,h,label_text")
    assert read_boxes(file, "1.2.84", size=(10, 10)) == (Box(1, 2, 3, 4, "a phrase"),)
    file = coco(tmp_path, categories=[])
    assert read_boxes(file, "bb-22") == (Box(1, 2, 3, 4, "apical"),)


def test_uids_are_no_suffixes(tmp_path: Path) -> None:
    file = table(tmp_path, "1.2.84,1,2,3,4", "1.2.85,5,6,7,8", header="dicom_id,x,y,w,h")
    assert read_boxes(file, "1.2.85") == read_boxes(file, "folder/1.2.85.dcm") == (Box(5, 6, 7, 8),)


def test_images_of_one_name_in_different_folders(tmp_path: Path) -> None:
    rows = ("p1/view1.jpg,1,2,3,4", "p2/view1.jpg,5,6,7,8")
    file = table(tmp_path, *rows, header="path,x,y,w,h")
    assert read_boxes(file, "data/p2/view1.jpg") == (Box(5, 6, 7, 8),)
    with pytest.raises(
        m2ib.InputError, match=r"holds those of several images that could be meant; say which"
    ):
        read_boxes(file, "view1.jpg")


@pytest.mark.parametrize(
    ("header", "row", "reason"),
    [
        (
            "dicom_id,x,y,width,height",
            "a,1,2,3,4",
            "lacks the columns w, h; it has dicom_id, x, y, width, height",
        ),
        ("image,x,y,w,h", "a,1,2,3,4", "lacks the column dicom_id or path; it has image, x, y, w, h"),
        (
            "dicom_id,x,y,w,h",
            "a,1,nan,3,4",
            "line 2: box '': x, y, width, height are (1.0, nan, 3.0, 4.0); give finite",
        ),
        (
            "dicom_id,x,y,w,h",
            "a,1,2,3,0",
            "line 2: box '': x, y, width, height are (1.0, 2.0, 3.0, 0.0); give finite",
        ),
        (
            "dicom_id,x,y,w,h",
            "a,1,2,,4",
            "line 2: x, y, width, height are four numbers, not ('1', '2', '', '4')",
        ),
        (
            "dicom_id,x,y,w,h",
            "a,1,2",
            "line 2: x, y, width, height are four numbers, not ('1', '2', None, None)",
        ),
        (
            "dicom_id,x,y,w,h,image_width,image_height",
            "a,1,2,3,4,0,nan",
            "line 2: the image's width and height are numbers above 0, not '0' and 'nan'",
        ),
    ],
)
def test_tables_that_are_wrong(tmp_path: Path, header: str, row: str, reason: str) -> None:
    file = table(tmp_path, row, header=header)
    with pytest.raises(m2ib.InputError) as caught:
        read_boxes(file, "a")
    assert str(caught.value).startswith(f"boxes {str(file)!r}")
    assert str(caught.value).removeprefix(f"boxes {str(file)!r}").lstrip(": ").startswith(reason)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"annotations": [{"image_id": 7, "bbox": [1, 2, 3]}]},
            r"annotation 0: a bbox is \[x, y, width, height\], not \[1, 2, 3\]",
        ),
        (
            {"annotations": [{"image_id": 7, "bbox": [1, 2, 3, float("nan")]}]},
            r"annotation 0: box '': .* nan\); give finite",
        ),
        (
            {"annotations": [{"image_id": 9, "bbox": [1, 2, 3, 4]}]},
            r"is not COCO JSON, with images, .*: KeyError 9",
        ),
        (
            {"images": None},
            r"is not COCO JSON, with images, annotations and their image_id and bbox: TypeError",
        ),
        ({"annotations": []}, r"holds no boxes$"),
    ],
)
def test_json_that_is_wrong(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(m2ib.InputError, match=rf"^boxes '.*boxes\.json':? {reason}"):
        read_boxes(coco(tmp_path, **changes), "aa-11")


def test_files_that_hold_none(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty.csv").write_text("")
    for name, reason in (
        ("broken.json", r"is not JSON: "),
        ("bytes.csv", r"is neither COCO JSON nor CSV: it is not text"),
        ("empty.csv", r"lacks the columns x, y, w, h, dicom_id or path; it has none"),
        ("gone.csv", r"cannot be read: No such file"),
    ):
        with pytest.raises(m2ib.InputError, match=rf"^boxes '.*{name}' {reason}"):
            read_boxes(tmp_path / name, "a")
    with pytest.raises(m2ib.InputError, match=r"holds none for the image 'cc-33'; it holds aa-11, bb-22$"):
        read_boxes(table(tmp_path), "cc-33.dcm")
    with pytest.raises(
        m2ib.InputError,
        match=r"holds those of several images that could be meant; say which: it holds aa-11, bb-22$",
    ):
        read_boxes(table(tmp_path))
    rows = [f"i{number},1,2,3,4" for number in range(5)]
    with pytest.raises(m2ib.InputError, match=r"it holds i0, i1, i2 and 2 more$"):
        read_boxes(table(tmp_path, *rows, header="dicom_id,x,y,w,h"), "j")


def test_a_box_that_reaches_out_is_warned_of(tmp_path: Path) -> None:
    file = table(tmp_path, "a,5,6,90,10", header="dicom_id,x,y,w,h")
    with pytest.warns(
        m2ib.M2IBWarning,
        match=r"boxes '.*': the box '' from \(5, 6\) to \(95, 16\) reaches out of the image of 80x120 pixels",
    ):
        assert read_boxes(file, size=(80, 120)) == (Box(5, 6, 90, 10),)


@pytest.fixture(scope="module")
def explanation(vit: m2ib.Model, tmp_path_factory: pytest.TempPathFactory) -> m2ib.Explanation:
    file = save_dicom(tmp_path_factory.mktemp("image") / "aa-11.dcm", xray(120, 80))
    return m2ib.explain(vit, image=file, text="left lower opacity", steps=1, samples=1, show_progress=False)


def test_with_boxes_takes_every_form(explanation: m2ib.Explanation, tmp_path: Path) -> None:
    for boxes, at in (
        (FIRST, "image"),
        ([(10, 20, 30, 15, "Pneumonia"), [4, 6, 8, 10, "Edema"]], 0),
        (table(tmp_path), "image"),
        (str(coco(tmp_path)), 0),
    ):
        boxed = explanation.with_boxes(boxes, at=at)
        assert boxed["image"].view.boxes == FIRST
        assert (boxed["image"].grid == explanation["image"].grid).all()
        assert boxed["text"] is explanation["text"]
    assert explanation["image"].view.boxes == ()
    assert explanation.with_boxes([]).with_boxes([(1, 2, 3, 4)])["image"].view.boxes == (Box(1, 2, 3, 4),)


def test_boxes_come_back_from_disk(explanation: m2ib.Explanation, tmp_path: Path) -> None:
    explanation.with_boxes(FIRST).save(tmp_path / "saved")
    again = m2ib.load_explanation(tmp_path / "saved")
    assert again["image"].view.boxes == FIRST
    assert again.with_boxes(table(tmp_path))["image"].view.boxes == FIRST  # it still knows its image


@pytest.mark.parametrize(
    ("boxes", "at", "reason"),
    [
        (3, "image", r"boxes: give a file or a list of \(x, y, width, height\[, label\]\), not 3"),
        ([(1, 2, 3)], "image", r"box 0 is \(x, y, width, height\[, label\]\), not \(1, 2, 3\)"),
        ((1, 2, 3, 4), "image", r"box 0 is \(x, y, width, height\[, label\]\), not 1"),
        (
            [(1, 2, 3, 4), (1, 2, "a", 4)],
            "image",
            r"box 1: x, y, width, height are four numbers, not \(1, 2, 'a', 4\)",
        ),
        (
            [(1, 2, 3, -4)],
            "image",
            r"box 0: box '': x, y, width, height are \(1\.0, 2\.0, 3\.0, -4\.0\); give finite",
        ),
        ([(1, 2, 3, 4)], "text", r"boxes: an input of modality 'text' has no image to draw them on"),
        ([(1, 2, 3, 4)], "sound", r"explanation: no input of modality 'sound'; there are 'image', 'text'"),
    ],
)
def test_with_boxes_refuses(explanation: m2ib.Explanation, boxes: Any, at: str, reason: str) -> None:
    with pytest.raises(m2ib.InputError, match=reason):
        explanation.with_boxes(boxes, at=at)


def test_an_image_without_a_name_takes_a_file_about_one(vit: m2ib.Model, tmp_path: Path) -> None:
    pair = {"image": xray(60, 40, 255).astype("uint8"), "text": "edema"}
    found = m2ib.explain(vit, **pair, steps=1, samples=1, show_progress=False)
    assert found.with_boxes(table(tmp_path, ROWS[2]))["image"].view.boxes == (
        Box(0.5, 1, 1.5, 2, "Pneumothorax"),
    )
    with pytest.raises(m2ib.InputError, match=r"holds those of several images"):
        found.with_boxes(table(tmp_path))


def explain(vit_file: Path, *words: str) -> int:
    model = ("--model", "cxr-repair", "--checkpoint", str(vit_file), "--device", "cpu")
    return main(["explain", *model, "steps=1", "samples=1", *words])


@pytest.mark.parametrize("write", [table, coco])
def test_from_a_dicom_to_a_page_with_boxes(
    vit_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], write: Any
) -> None:
    image = save_dicom(
        tmp_path / "aa-11.dcm", xray(120, 80), BitsStored=12, PhotometricInterpretation="MONOCHROME1"
    )
    pair = ("--image", str(image), "--text", "left lower opacity")
    code = explain(vit_file, *pair, "--boxes", str(write(tmp_path)), "--out", str(tmp_path / "report"))
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    page = Path(out.splitlines()[-1])
    html = page.read_text(encoding="utf-8")
    assert "Pneumonia" in html
    assert "Edema" in html
    assert "Pneumothorax" not in html
    assert "JANE" not in html
    assert (page.parent / "figure.png").is_file()
    assert m2ib.load_explanation(page.parent)["image"].view.boxes == FIRST


def test_boxes_in_a_configuration(vit_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = save_dicom(tmp_path / "aa-11.dcm", xray(120, 80))
    config = tmp_path / "settings.yaml"
    config.write_text("boxes: [[10, 20, 30, 15, Mass]]\noptions: {preprocess: chexpert}\n")
    pair = ("--image", str(image), "--text", "a mass")
    code = explain(vit_file, *pair, "--config", str(config), "--out", str(tmp_path / "report"))
    assert (code, capsys.readouterr().err) == (0, "")
    assert "Mass" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")


def test_wrong_boxes_are_told_before_the_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = str(save_dicom(tmp_path / "cc-33.dcm", xray()))
    for words, reason in (
        (
            ("--image", image, "--text", "a", "--boxes", str(table(tmp_path))),
            "holds none for the image 'cc-33'; it holds",
        ),
        (
            ("--image", image, "--text", "a", "--boxes", "gone.csv"),
            "boxes 'gone.csv' cannot be read: No such file",
        ),
        (
            ("--image", image, "--text", "a", "boxes=3"),
            "boxes: give a file or a list of (x, y, width, height[, label])",
        ),
        (
            ("--image", image, "--image", image, "boxes=[[1,2,3,4]]"),
            "boxes: they are drawn on the one image of a pair; this one has 2",
        ),
    ):
        code = explain(tmp_path / "gone.pt", *words, "--out", str(tmp_path / "report"))
        out, err = capsys.readouterr()
        assert (code, out) == (2, "")
        assert err.startswith("m2ib: error: ")
        assert reason in err
        assert err.count("\n") == 1
    assert not (tmp_path / "report").exists()


def test_the_example_runs(tmp_path: Path) -> None:
    program = Path(__file__).parents[3] / "examples" / "chest_xray.py"
    done = subprocess.run(
        [sys.executable, str(program)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "the strongest cell: rows" in done.stdout
    assert done.stdout.splitlines()[-1] == "chest_xray.html"
    assert "drawn opacity" in (tmp_path / "chest_xray.html").read_text(encoding="utf-8")
