"""What holds of the pairs of every format: rows can be counted and gone through one by one, and pairs be sent to another process."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from m2ib.data import FORMATS, BadRow, Pairs, open_pairs
from m2ib.errors import InputError

Make = Callable[[Path], dict[str, Any]]


def csv(folder: Path) -> dict[str, Any]:
    (folder / "p.csv").write_text(
        "id,image,text\nx,a.png,one\ny,gone.png,two\nx,a.png,three\n\nz,a.png,four\n"
    )
    return {"path": folder / "p.csv"}


def jsonl(folder: Path) -> dict[str, Any]:
    rows = ({"image": "a.png", "text": "one"}, {"image": "gone.png", "text": "two"}, 3)
    (folder / "p.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return {"path": folder / "p.jsonl"}


def parquet(folder: Path) -> dict[str, Any]:
    for number in range(2):
        table = pa.table({"image": ["a.png", "gone.png"], "text": ["one", "two"]})
        pq.write_table(table, folder / f"{number}.parquet")
    return {"path": folder}


def webdataset(folder: Path) -> dict[str, Any]:
    with tarfile.open(folder / "s.tar", "w") as archive:
        for name in ("a.png", "a.txt", "b.png"):
            content = (folder / "a.png").read_bytes() if name == "a.png" else b"x"
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return {"path": folder / "s.tar"}


def one_folder(folder: Path) -> dict[str, Any]:
    (folder / "a.txt").write_text("one")
    (folder / "b.txt").write_text("two")
    return {"path": folder}


def coco(folder: Path) -> dict[str, Any]:
    square = {"category_id": 1, "bbox": [1, 1, 4, 4], "segmentation": [[1, 1, 5, 1, 5, 5, 1, 5]]}
    content = {
        "images": [{"id": n, "file_name": name} for n, name in enumerate(("a.png", "gone.png"))],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [square | {"image_id": number} for number in range(2)],
    }
    (folder / "coco.json").write_text(json.dumps(content))
    return {"annotations": folder / "coco.json", "images": folder}


def conceptual_captions(folder: Path) -> dict[str, Any]:
    (folder / "c.tsv").write_text("one\thttp://x/a.png\ntwo\thttp://x/gone.png\n")
    return {"captions": folder / "c.tsv", "images": folder, "filename": "{name}"}


def ms_cxr(folder: Path) -> dict[str, Any]:
    head = "category_name,label_text,dicom_id,path,x,y,w,h,image_width,image_height\n"
    row = "bell,{},a,files/a.png,1,2,3,4,8,6\n"
    (folder / "m.csv").write_text(head + row.format("one") + row.format("two") + row.format(""))
    return {"boxes": folder / "m.csv", "images": folder}


def roco(folder: Path) -> dict[str, Any]:
    (folder / "captions.txt").write_text("a\tone\ngone\ttwo\n")
    return {"captions": folder / "captions.txt", "images": folder}


def rsicd(folder: Path) -> dict[str, Any]:
    said = [{"raw": "one"}, {"raw": "two"}, 3]
    images = [{"filename": "a.png", "split": "test", "sentences": said}, {"split": "train"}]
    (folder / "r.json").write_text(json.dumps({"images": images}))
    return {"captions": folder / "r.json", "images": folder}


def huggingface(folder: Path) -> dict[str, Any]:
    data = datasets.Dataset.from_dict({"a": ["one", "two"], "b": ["three", ""]})
    data.save_to_disk(str(folder / "hf"))
    return {"path": folder / "hf", "columns": "text_1=a,text_2=b"}


def scenes(folder: Path) -> dict[str, Any]:
    return {"modality": "text", "count": 3}


MADE: dict[str, tuple[Make, int, int]] = {  # rows, and bad ones among them
    "csv": (csv, 4, 2),
    "jsonl": (jsonl, 3, 2),
    "parquet": (parquet, 4, 2),
    "webdataset": (webdataset, 2, 1),
    "folder": (one_folder, 2, 1),
    "coco": (coco, 2, 1),
    "conceptual-captions": (conceptual_captions, 2, 1),
    "ms-cxr": (ms_cxr, 3, 1),
    "roco": (roco, 2, 1),
    "rsicd": (rsicd, 3, 1),
    "huggingface": (huggingface, 2, 1),
    "scenes": (scenes, 3, 0),
}


def said(pairs: Pairs) -> list[tuple[str, ...]]:
    return [(pair.id, *(str(getattr(raw, "name", raw)) for _, raw in pair.inputs)) for pair in pairs]


@pytest.mark.parametrize("name", FORMATS)
def test_rows_are_counted_given_one_by_one_and_sent(tmp_path: Path, draw: Any, name: str) -> None:
    draw("a.png")
    make, rows, bad = MADE[name]
    pairs = open_pairs(name, **make(tmp_path))
    sent: Pairs = pickle.loads(pickle.dumps(pairs))
    each = list(pairs.each())
    assert pairs.bad == []
    total = None if name == "webdataset" else rows
    assert (len(each), pairs.total()) == (rows, total)
    faults = [BadRow(place, str(found)) for place, found in each if isinstance(found, InputError)]
    good = said(pairs)
    assert pairs.bad == faults
    assert (len(faults), len(good)) == (bad, rows - bad)
    assert [found.id for _, found in each if not isinstance(found, InputError)] == [row[0] for row in good]
    assert (sent.name, sent.modalities, sent.total()) == (pairs.name, pairs.modalities, total)
    assert said(sent) == good
    assert sent.bad == faults
