"""MS-CXR: what radiologists say of chest X-rays and the boxes of where, over the images of MIMIC-CXR-JPG.

A CSV with a box on each line, or COCO JSON with a box in each annotation. All boxes of one phrase over one image make
one pair; where one of them is bad, the pair is left out. Images may have been made smaller, each side by its own
factor, but not cropped: boxes are scaled from the size that the file says to that of the image at hand.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2ib.data.boxes import scaled
from m2ib.data.cells import box_of, existing, text_in
from m2ib.data.files import DataTable, called, cells_of, folder_of, load_coco, open_table, path_of
from m2ib.data.media import upright_size
from m2ib.data.pairs import Pair, Pairs, Row, count_rows, refuse
from m2ib.errors import InputError

if TYPE_CHECKING:
    from m2ib.contract.regions import Box

_NUMBERS = ("x", "y", "w", "h")
_SIZE = ("image_width", "image_height")
_COLUMNS = ("dicom_id", "path", "label_text", *_NUMBERS, *_SIZE)
_SUFFIXES = (".jpg", ".jpeg", ".png")

Size = tuple[float, float]
"""(width, height) in pixels."""


@dataclass(frozen=True)
class _Annotation:
    """One box as the file says it, its numbers unchecked.

    path     of the image, under MIMIC-CXR-JPG's root
    label    the category
    numbers  x, y, width, height
    size     width and height of the image that they were drawn on
    """

    path: str
    phrase: str
    label: str
    numbers: Any
    size: tuple[Any, Any]


_Found = Iterator[tuple[str, _Annotation | InputError]]
"""("line 12", the annotation, or what is wrong with it)."""


def open_ms_cxr(boxes: Any, images: Any) -> Pairs:
    """Images, phrases, and the boxes of what the phrases say. A box is labelled with its category.

    boxes   MS-CXR's CSV, or its COCO JSON
    images  the root of MIMIC-CXR-JPG, which holds files/p10/...; that folder files; or one with all images in it,
            named by dicom_id

    Raises :class:`InputError` and :class:`SettingError`.
    """
    path, root = path_of(boxes, "boxes"), folder_of(images, "images")
    read: Callable[[], _Found]
    if path.suffix.lower() == ".json":
        read = partial(_in_json, _coco(path))
    else:
        table = open_table(path)
        table.require(_COLUMNS)
        read = partial(_in_table, table)
    rows = partial(_rows, read, root)
    return Pairs("MS-CXR", ("image", "text"), rows, located=True, total=partial(count_rows, rows))


def _annotations(found: Iterable[tuple[str, Any]], made: Callable[[Any], _Annotation]) -> _Found:
    for place, content in found:
        try:
            yield place, made(content)
        except InputError as error:
            yield place, error


def _in_table(table: DataTable) -> _Found:
    return _annotations(table.rows(), _of_line)


def _of_line(line: dict[str, str] | InputError) -> _Annotation:
    cells = cells_of(line)
    return _Annotation(
        text_in(cells["path"], "path"),
        text_in(cells["label_text"], "label_text").strip(),
        cells.get("category_name") or cells["label_text"],
        [cells[name] for name in _NUMBERS],
        (cells[_SIZE[0]], cells[_SIZE[1]]),
    )


def _coco(path: Path) -> dict[str, Any]:
    """What the file holds. Raises :class:`InputError` for one of another format."""
    content = load_coco(path)
    found = content["annotations"]
    if found and not any(isinstance(each, dict) and "label_text" in each for each in found):
        raise InputError(f"{called(path)} is not MS-CXR's JSON: none of its annotations has a label_text")
    return content


def _in_json(content: dict[str, Any]) -> _Found:
    images = {repr(each.get("id")): each for each in content["images"] if isinstance(each, dict)}
    known = content.get("categories")
    categories = {
        repr(each.get("id")): str(each.get("name") or "")
        for each in (known if isinstance(known, list) else ())
        if isinstance(each, dict)
    }
    found = ((f"annotation {number}", each) for number, each in enumerate(content["annotations"]))
    return _annotations(found, lambda each: _of_annotation(each, images, categories))


def _of_annotation(each: Any, images: dict[str, Any], categories: dict[str, str]) -> _Annotation:
    if not isinstance(each, dict):
        raise InputError(f"it is no annotation but {each!r:.60}")
    phrase = text_in(each.get("label_text"), "label_text").strip()
    image = images.get(repr(each.get("image_id")))
    if image is None:
        raise InputError(f"there is no image with its image_id {each.get('image_id')!r:.60}")
    path = text_in(image.get("path") or image.get("file_name"), "image's path")
    label = categories.get(repr(each.get("category_id"))) or phrase
    return _Annotation(path, phrase, label, each.get("bbox"), (image.get("width"), image.get("height")))


def _rows(read: Callable[[], _Found], root: Path) -> Iterator[Row]:
    groups: dict[tuple[str, str], list[tuple[str, _Annotation | InputError]]] = {}
    for place, each in read():
        key = (place, "") if isinstance(each, InputError) else (each.path, each.phrase)
        groups.setdefault(key, []).append((place, each))
    phrases: dict[str, int] = {}  # by image: how many there were before
    for group in groups.values():
        place, first = group[0]
        number = 0
        if isinstance(first, _Annotation):
            number = phrases.get(first.path, 0)
            phrases[first.path] = number + 1
        boxes = []
        for where, each in group:
            try:
                boxes.append(_box(each))
            except InputError as error:
                rest = f"; its pair of {len(group)} boxes is left out" if len(group) > 1 else ""
                yield Row(where, partial(refuse, f"{error}{rest}"))
                break
        else:
            yield Row(place, partial(_pair, number, boxes, root))


def _box(each: _Annotation | InputError) -> tuple[_Annotation, Box, Size]:
    """An annotation, its box, and the size of the image that it was drawn on."""
    if isinstance(each, InputError):
        raise each
    if not isinstance(each.numbers, list) or len(each.numbers) != 4:
        raise InputError(f"its bbox is no [x, y, w, h] but {each.numbers!r:.60}")
    box = box_of(each.numbers, each.label)
    try:
        width, height = (float(side) for side in each.size)
    except (TypeError, ValueError, OverflowError):
        width = height = math.nan
    if not (0 < width < math.inf and 0 < height < math.inf):
        raise InputError(
            f"its image's width and height are {each.size[0]!r} and {each.size[1]!r}, not numbers above 0"
        )
    right, lower = box.x + box.width, box.y + box.height
    if right <= 0 or lower <= 0 or box.x >= width or box.y >= height:
        raise InputError(
            f"its box from ({box.x:g}, {box.y:g}) to ({right:g}, {lower:g}) lies outside of the image of "
            f"{width:g}x{height:g} pixels"
        )
    return each, box, (width, height)


def _pair(number: int, boxes: list[tuple[_Annotation, Box, Size]], root: Path) -> Pair:
    """Of the boxes of one phrase, the image's ``number``-th from 0."""
    first = boxes[0][0]
    image = existing(_candidates(root, first.path), "image")
    width, height = upright_size(image)
    shown = tuple(scaled(box, width / size[0], height / size[1]) for _, box, size in boxes)
    return Pair(f"{_name(first.path)}#{number}", (("image", image), ("text", first.phrase)), shown)


def _candidates(root: Path, path: str) -> list[Path]:
    """Where the image may be, the place that the file says first."""
    stem = _stem(path)
    stems = (stem, stem.removeprefix("files/"), _name(path))
    return [root / path, *(root / f"{each}{suffix}" for each in dict.fromkeys(stems) for suffix in _SUFFIXES)]


def _stem(path: str) -> str:
    """Without its suffix. A dicom_id may have dots: a suffix begins with a letter."""
    return re.sub(r"\.[A-Za-z]\w*\Z", "", path)


def _name(path: str) -> str:
    """Of an image, without folders and suffix: the dicom_id."""
    return _stem(path).rsplit("/", 1)[-1]
