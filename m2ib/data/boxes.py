"""Hand-drawn boxes for an image: given as they are, or read from COCO JSON or from MS-CXR's CSV."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from m2ib.contract.regions import Box
from m2ib.errors import InputError
from m2ib.notices import warn
from m2ib.paths import file_fault, local_path

_NUMBERS = ("x", "y", "w", "h")
_NAMES = ("dicom_id", "path")  # which image a row of a CSV is about: one of them will do


@dataclass(frozen=True)
class _Row:
    """One box of a file.

    image  that it is about, as the file says
    names  of that image, without folders and suffixes
    size   (width, height) of the image that it was drawn on, in pixels; None: not said
    """

    image: str
    names: frozenset[str]
    box: Box
    size: tuple[float, float] | None


def read_boxes(
    path: str | PathLike[str],
    image: str | PathLike[str] | None = None,
    size: tuple[float, float] | None = None,
) -> tuple[Box, ...]:
    """The boxes of one image, out of COCO JSON or of a CSV with MS-CXR's columns.

    CSV: x, y, w, h in pixels; dicom_id or path; if wanted category_name, label_text, image_width, image_height.
    A box is labelled with its category, without one with its label_text.

    image  its file, or its name without folder and suffix (the dicom_id); None: the file is about one image
    size   (width, height) in pixels of the image at hand: boxes that were drawn on another size are scaled

    Raises :class:`InputError` for a file of another kind, numbers that are no box, and no box of this image.
    Warns of boxes that reach out of the image.
    """
    path = local_path(path)
    rows = _read(path)
    who, there = f"boxes {str(path)!r}", f"it holds {_some(rows)}"
    found = rows
    if image is not None:
        found = [row for row in rows if _key(image) in row.names]
        if not found:
            raise InputError(f"{who} holds none for the image {_key(image)!r}; {there}")
        if _several(found):  # of one name in different folders
            found = [row for row in found if str(image).endswith(row.image)]
    if not found or _several(found):
        raise InputError(f"{who} holds those of several images that could be meant; say which: {there}")
    boxes = tuple(_scaled(row, size) for row in found)
    _warn_outside(boxes, size, who)
    return boxes


def _several(rows: Sequence[_Row]) -> bool:
    return len({row.image for row in rows}) > 1


def boxes_of(
    given: Any, image: str | PathLike[str] | None = None, size: tuple[float, float] | None = None
) -> tuple[Box, ...]:
    """Boxes however they are given: :class:`Box`, (x, y, width, height[, label]), or a file; several in a sequence.

    image, size  as for :func:`read_boxes`

    Raises :class:`InputError`.
    """
    if isinstance(given, (str, PathLike)):
        return read_boxes(given, image, size)
    if not isinstance(given, Sequence) or isinstance(given, bytes):
        raise InputError(f"boxes: give a file or a list of (x, y, width, height[, label]), not {given!r:.60}")
    boxes = tuple(_box(each, f"box {number}") for number, each in enumerate(given))
    _warn_outside(boxes, size, "boxes")
    return boxes


def _box(given: Any, where: str) -> Box:
    if isinstance(given, Box):
        return given
    if not isinstance(given, Sequence) or isinstance(given, (str, bytes)) or len(given) not in (4, 5):
        raise InputError(f"{where} is (x, y, width, height[, label]), not {given!r:.60}")
    return _checked(given[:4], str(given[4]) if len(given) == 5 else "", where)


def _checked(numbers: Sequence[Any], label: str, where: str) -> Box:
    """Four numbers as a box. Raises :class:`InputError` where they are none."""
    try:
        x, y, width, height = (float(number) for number in numbers)
    except (TypeError, ValueError):
        raise InputError(
            f"{where}: x, y, width, height are four numbers, not {tuple(numbers)!r:.80}"
        ) from None
    try:
        return Box(x, y, width, height, label)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _read(path: Path) -> list[_Row]:
    who = f"boxes {str(path)!r}"
    try:
        if fault := file_fault(path, whole=True):
            raise InputError(f"{who} {fault}")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{who} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{who} is neither COCO JSON nor CSV: it is not text") from None
    rows = _from_json(text, who) if path.suffix.lower() == ".json" else _from_csv(text, who)
    if not rows:
        raise InputError(f"{who} holds no boxes")
    return rows


def _from_json(text: str, who: str) -> list[_Row]:
    """COCO: images (id, file_name, width, height), categories (id, name), annotations (image_id, bbox, ...)."""
    try:
        content = json.loads(text)
        images = {image["id"]: image for image in content["images"]}
        categories = {category["id"]: category["name"] for category in content.get("categories", ())}
        rows = []
        for number, each in enumerate(content["annotations"]):
            image, where = images[each["image_id"]], f"{who}: annotation {number}"
            if not isinstance(each["bbox"], list) or len(each["bbox"]) != 4:
                raise InputError(f"{where}: a bbox is [x, y, width, height], not {each['bbox']!r:.60}")
            label = categories.get(each.get("category_id")) or each.get("label_text") or ""
            names = [str(image[name]) for name in (*_NAMES, "file_name") if image.get(name)]
            box = _checked(each["bbox"], str(label), where)
            rows.append(_row(names, box, _size(image.get("width"), image.get("height"), where)))
    except InputError:
        raise
    except (ValueError, RecursionError) as error:  # numbers of too many digits, lists in lists in lists
        raise InputError(f"{who} is not JSON: {error}") from None
    except OverflowError:
        raise InputError(f"{who} holds numbers that are too large") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{who} is not COCO JSON, with images, annotations and their image_id and bbox: "
            f"{type(error).__name__} {error}"
        ) from None
    return rows


def _from_csv(text: str, who: str) -> list[_Row]:
    table = csv.DictReader(io.StringIO(text, newline=""))
    columns = [" ".join(name.split()) for name in table.fieldnames or ()]
    table.fieldnames = columns
    lacking = [name for name in _NUMBERS if name not in columns]
    if not any(name in columns for name in _NAMES):
        lacking.append(" or ".join(_NAMES))
    if lacking:
        raise InputError(
            f"{who} lacks the column{'s' * (len(lacking) > 1)} {', '.join(lacking)}; it has {', '.join(columns) or 'none'}"
        )
    rows = []
    try:
        for row in table:
            where = f"{who}: line {table.line_num}"
            label = row.get("category_name") or row.get("label_text") or ""
            names = [row[name] for name in _NAMES if row.get(name)]
            box = _checked([row[name] for name in _NUMBERS], label, where)
            rows.append(_row(names, box, _size(row.get("image_width"), row.get("image_height"), where)))
    except csv.Error as error:
        raise InputError(f"{who} is not CSV: {error}") from None
    return rows


def _row(names: Sequence[str], box: Box, size: tuple[float, float] | None) -> _Row:
    return _Row(names[0] if names else "", frozenset(map(_key, names)), box, size)


def _size(width: Any, height: Any, where: str) -> tuple[float, float] | None:
    """Of the image that a box was drawn on. Raises :class:`InputError` for what is no size."""
    if width in (None, "") or height in (None, ""):
        return None
    try:
        size = float(width), float(height)
    except (TypeError, ValueError):
        size = (math.nan, math.nan)
    if not all(math.isfinite(side) and side > 0 for side in size):
        raise InputError(
            f"{where}: the image's width and height are numbers above 0, not {width!r} and {height!r}"
        )
    return size


def _scaled(row: _Row, size: tuple[float, float] | None) -> Box:
    if size is None or row.size is None or row.size == size:
        return row.box
    return scaled(row.box, size[0] / row.size[0], size[1] / row.size[1])


def scaled(box: Box, across: float, down: float) -> Box:
    """The same over an image that was made larger or smaller."""
    return replace(box, x=box.x * across, y=box.y * down, width=box.width * across, height=box.height * down)


def _warn_outside(boxes: Sequence[Box], size: tuple[float, float] | None, who: str) -> None:
    if size is None:
        return
    for box in boxes:
        if box.x < 0 or box.y < 0 or box.x + box.width > size[0] + 0.5 or box.y + box.height > size[1] + 0.5:
            warn(
                f"{who}: the box {box.label!r} from ({box.x:g}, {box.y:g}) to ({box.x + box.width:g}, "
                f"{box.y + box.height:g}) reaches out of the image of {size[0]:g}x{size[1]:g} pixels"
            )


def _key(image: str | PathLike[str]) -> str:
    """An image's name without folders and suffix. A dicom_id may have dots: a suffix begins with a letter."""
    return re.sub(r"\.[A-Za-z]\w*$", "", re.split(r"[/\\]", str(image))[-1])


def _some(rows: Sequence[_Row]) -> str:
    """The first few images of a file."""
    names = list(dict.fromkeys(_key(row.image) or "boxes of no image" for row in rows))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
