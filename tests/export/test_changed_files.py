"""Files of pictures that are others by now: no format refers to them, and each tells how many pairs it leaves out."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import m2ib
from m2ib.export import rows, to_coco, to_fiftyone, to_huggingface, to_label_studio
from many_pairs import FAST, pictures

FORMATS: dict[str, Callable[..., Any]] = {
    "coco": to_coco,
    "fiftyone": to_fiftyone,
    "label-studio": to_label_studio,
    "huggingface": to_huggingface,
    "embedded": partial(to_huggingface, embed_files=True),
}
formats = pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
CHANGED = "whose file is not the one that was explained"


def results(tiny: m2ib.Model, folder: Path, pairs: list[Any], **options: Any) -> m2ib.results.ResultTable:
    return m2ib.run(tiny, pairs, folder / "results", show_progress=False, **FAST, **options)


@formats
def test_a_changed_file_is_left_out_and_told(
    tiny: m2ib.Model, tmp_path: Path, write: Callable[..., Any]
) -> None:
    square, wide, _ = pictures(tmp_path / "pictures")
    pairs = [{"image": str(square), "text": "a bell"}, {"image": str(wide), "text": "a frog"}]
    table = results(tiny, tmp_path, pairs, keep_inputs=True)
    Image.open(wide).rotate(180).save(wide)
    found = write(table, tmp_path / "out")
    assert found.left_out == {CHANGED: 1}
    assert 1 in found.written.values()
    with pytest.raises(m2ib.InputError, match=f"there is nothing to write: 1 {CHANGED}$"):
        write(table.where("id = '1'"), tmp_path / "none")


@formats
def test_nothing_is_written_of_a_pair_whose_second_picture_is_changed(
    tiny: m2ib.Model, tmp_path: Path, write: Callable[..., Any]
) -> None:
    square, wide, _ = pictures(tmp_path / "pictures")
    table = results(tiny, tmp_path, [(("image", str(square)), ("image", str(wide)))])
    Image.open(wide).rotate(180).save(wide)
    with pytest.raises(m2ib.InputError, match=f"there is nothing to write: 1 {CHANGED}$"):
        write(table, tmp_path / "out")


def test_a_file_that_cannot_be_read(
    tiny: m2ib.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(file: Path) -> str:
        raise PermissionError(13, "Permission denied", str(file))

    square, *_ = pictures(tmp_path / "pictures")
    table = results(tiny, tmp_path, [{"image": str(square), "text": "a bell"}])
    monkeypatch.setattr(rows, "_digest", locked)
    with pytest.raises(m2ib.InputError, match=r"nothing to write: 1 whose file cannot be read$"):
        to_coco(table, tmp_path / "out")


@formats
def test_a_member_of_an_archive_is_written_beside(
    tiny: m2ib.Model, tmp_path: Path, write: Callable[..., Any]
) -> None:
    square, *_ = pictures(tmp_path / "pictures")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(square, "a.png")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive, archive.open("a.png") as member:
        table = results(tiny, tmp_path, [{"image": member, "text": "a bell"}])
    found = write(table, tmp_path / "out")
    assert (found.left_out, 1 in found.written.values()) == ({}, True)
