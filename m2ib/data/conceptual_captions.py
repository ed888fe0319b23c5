"""Conceptual Captions: lines of caption<TAB>url without a header, and the images that were downloaded.

A third column, where there is one, names the image's file. Else its name is made of what a line gives: downloaders
differ in it.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from string import Formatter
from typing import Any
from urllib.parse import urlsplit

from m2ib.data.cells import existing, text_in, utf8
from m2ib.data.files import called, counted, folder_of, lines, path_of
from m2ib.data.pairs import Pair, Pairs, Row, count_rows
from m2ib.errors import InputError, SettingError

FILENAME = "{row:08d}.jpg"
_LOOKED_AT = 100  # lines, for one that is of the format
_SPEC = re.compile(r"0?\d{0,2}(\.\d{1,2})?[dsxX]?")
_HEADER = ["caption", "url"]


def open_conceptual_captions(captions: Any, images: Any, *, filename: Any = FILENAME) -> Pairs:
    """Images and captions.

    captions  the TSV: lines of caption<TAB>url or caption<TAB>url<TAB>file. A first line "caption<TAB>url" is no row
    images    the folder of the downloaded images
    filename  of a line's image in there, with the fields {row} (from 0, blank lines left out), {shard} (row //
              10000), {md5} and {crc32} (of the url) and {name} (last part of the url). img2dataset's names are
              "{shard:05d}/{row:09d}.jpg"

    Raises :class:`InputError` and :class:`SettingError`.
    """
    path, folder = path_of(captions, "captions"), folder_of(images, "images")
    _named(filename, 0, "https://example.org/a.jpg")
    seen = [line.split("\t") for _, line in islice(lines(path), _LOOKED_AT)]
    if not any(len(cells) in (2, 3) and ("://" in cells[1] or len(cells) == 3) for cells in seen):
        raise InputError(
            f"{called(path)} is not Conceptual Captions' TSV, with lines of caption<TAB>url: "
            + (f"it begins with {chr(9).join(seen[0])!r:.60}" if seen else "it is empty")
        )
    rows = partial(_rows, path, folder, filename)
    total = partial(count_rows, rows)
    return Pairs("Conceptual Captions", ("image", "text"), rows, numbered=True, total=total)


def _rows(path: Path, folder: Path, filename: str) -> Iterator[Row]:
    row = 0
    for place, line in lines(path):
        cells = line.split("\t")
        if row == 0 and [cell.strip().lower() for cell in cells[:2]] == _HEADER:
            continue
        yield Row(place, partial(_pair, cells, row, folder, filename))
        row += 1


def _pair(cells: list[str], row: int, folder: Path, filename: str) -> Pair:
    utf8("".join(cells))
    if len(cells) not in (2, 3):
        raise InputError(f"it has {counted(len(cells), 'column')} instead of 2, or 3 with the name of a file")
    caption = text_in(cells[0], "caption").strip()
    if len(cells) == 3 and cells[2].strip():
        name = cells[2].strip()
    else:
        name = _named(filename, row, text_in(cells[1], "url").strip())
    return Pair(str(row), (("image", existing((folder / name,), "image")), ("text", caption)))


def _named(filename: Any, row: int, url: str) -> str:
    """An image's file. Raises :class:`SettingError` for a template that has other fields."""
    given = url.encode()
    try:
        name = urlsplit(url).path.rsplit("/", 1)[-1]
    except ValueError:  # no url at all
        name = ""
    fields = {
        "row": row,
        "shard": row // 10_000,
        "md5": hashlib.md5(given, usedforsecurity=False).hexdigest(),
        "crc32": zlib.crc32(given),
        "name": name,
    }
    try:
        for _, _, spec, _ in Formatter().parse(filename):
            if spec and not _SPEC.fullmatch(spec):  # a width of a billion would be a name of a billion
                raise ValueError(f"no format {spec!r:.40}")
        return str(filename.format(**fields))
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise SettingError(
            f"data: filename={filename!r} cannot be filled in ({type(error).__name__}: {error}); "
            f"its fields are {', '.join(f'{{{field}}}' for field in fields)}, as in {FILENAME!r}"
        ) from None
