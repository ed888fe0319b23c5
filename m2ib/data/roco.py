"""ROCO and ROCOv2: radiology figures and their captions.

::

    captions.txt       ROCO_00002<TAB> Computed tomography ...      images/PMC4083729_name.jpg, or ROCO_00002.jpg
    train_captions.csv ID,Caption                                   train/ROCOv2_2023_train_000001.jpg

ROCO's own download script names images as dlinks.txt, beside captions.txt, says. A CSV with a column "name" besides
id and caption names them itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from m2ib.data.cells import existing, pair_of_row, text_in, utf8
from m2ib.data.files import (
    DataTable,
    called,
    cells_of,
    counted,
    folder_of,
    lines,
    listed,
    open_table,
    path_of,
)
from m2ib.data.pairs import Pair, Pairs, Row, count_rows
from m2ib.errors import InputError

_LINKS = "dlinks.txt"
_SUFFIXES = (".jpg", ".png", ".jpeg", "")
_LOOKED_AT = 100  # lines, for one that is of the format


def open_roco(captions: Any, images: Any = None) -> Pairs:
    """Images and captions.

    captions  ROCO's captions.txt, or ROCOv2's CSV of captions
    images    the folder of the images; None: the folder "images" beside the captions

    Raises :class:`InputError` and :class:`SettingError`.
    """
    path = path_of(captions, "captions")
    first = next(lines(path), ("", ""))[1]
    header = [name.strip().strip('"').lower() for name in re.split(r"[,\t]", first)]
    if {"id", "caption"} <= set(header):
        table = open_table(path, "\t" if "\t" in first else ",")
        name, rows = "ROCOv2", partial(_table_rows, table)
    else:
        seen = [line for _, line in islice(lines(path), _LOOKED_AT)]
        if not any("\t" in line for line in seen):
            raise InputError(
                f"{called(path)} is neither ROCO's captions.txt, with lines of id<TAB>caption, nor ROCOv2's CSV, with "
                f"the columns ID and Caption: "
                + (f"it begins with {listed(seen[:1])}" if seen else "it is empty")
            )
        name, rows = "ROCO", partial(_text_rows, path)
    folder = folder_of(path.parent / "images" if images is None else images, "images")
    read = partial(rows, folder)
    return Pairs(name, ("image", "text"), read, total=partial(count_rows, read))


def _text_rows(path: Path, folder: Path) -> Iterator[Row]:
    links = _links(path.parent / _LINKS)
    for place, line in lines(path):
        yield Row(place, partial(_text_pair, line, links, folder))


def _text_pair(line: str, links: dict[str, str], folder: Path) -> Pair:
    utf8(line)
    cells = line.split("\t")
    if len(cells) != 2:
        raise InputError(f"it has {counted(len(cells), 'column')} instead of 2")
    return _pair(cells[0], cells[1], links.get(cells[0].strip(), ""), folder)


def _table_rows(table: DataTable, folder: Path) -> Iterator[Row]:
    for place, cells in table.rows():
        yield Row(place, partial(_table_pair, cells, folder))


def _table_pair(cells: dict[str, str] | InputError, folder: Path) -> Pair:
    by_name = {name.lower(): cell for name, cell in cells_of(cells).items()}
    return _pair(by_name["id"], by_name["caption"], by_name.get("name", "").strip(), folder)


def _pair(identity: str, caption: str, name: str, folder: Path) -> Pair:
    identity = text_in(identity, "id").strip()
    with pair_of_row(identity):
        text = text_in(caption, "caption").strip()
        names = [name] * bool(name) + [identity + suffix for suffix in _SUFFIXES]
        image = existing([folder / utf8(each) for each in names], "image")
        return Pair(identity, (("image", image), ("text", text)))


def _links(path: Path) -> dict[str, str]:
    """By id, an image's name: lines of id<TAB>... /PMC4083729.tar.gz ...<TAB>name.jpg."""
    if not os.path.isfile(path):
        return {}
    found = {}
    for _, line in lines(path):
        cells = line.split("\t")
        archive = re.search(r"(\w+)\.tar\.gz", cells[1]) if len(cells) == 3 else None
        if archive:
            found[cells[0].strip()] = f"{archive[1]}_{cells[2].strip()}"
    return found
