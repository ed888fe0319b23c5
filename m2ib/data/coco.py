"""COCO: images and what is on them, with a mask for each object; or with captions.

Of instances, each category on an image gives a pair: the image and "a <category>". Its region is where any of its objects
is, crowds too; the image's other categories are what else is there. An object without a segmentation is taken to be where
its box is. Of captions, each gives a pair, an image's one after another; its region, where instances are given too, is where
any object is. Masks are made when a pair is read. Images may have been made smaller, but not cropped.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from m2ib.data.cells import id_in, text_in
from m2ib.data.coco_objects import Objects
from m2ib.data.files import called, folder_of, listed, load_coco, path_of
from m2ib.data.pairs import Pair, Pairs, Row, count_rows, refuse
from m2ib.errors import InputError, SettingError, did_you_mean
from m2ib.notices import warn

_CATEGORY = "{category}"
_TEMPLATE = f"a {_CATEGORY}"
_AN = re.compile(r"(?!eu|uni|us[aeb]|ut[ei]|one\b)[aeiou]|h(our|onest|eir)|x-", re.IGNORECASE)


def open_coco(
    annotations: Any,
    images: Any,
    *,
    captions: Any = None,
    template: str = _TEMPLATE,
    categories: Any = None,
    least: float = 0.0,
) -> Pairs:
    """Images, phrases, and where the image shows what the phrases name. Boxes are those of the objects.

    annotations  COCO's JSON of instances; or one of captions, for pairs without regions
    images       the folder of the images
    captions     COCO's JSON of captions, for pairs of them with the regions of the instances
    template     of a phrase, with {category}; "a" before it becomes "an" where that is right
    categories   those that are asked for, with commas between; None: all. The others stay what else is there
    least        the share of the image, from 0 to 1, that a category's objects cover together; smaller ones are not asked for

    A pair's id is "<image id>-<category>", of captions the caption's own. Raises :class:`InputError` and
    :class:`SettingError`.
    """
    path, folder = path_of(annotations, "annotations"), folder_of(images, "images")
    found = read_coco(path)
    if not isinstance(template, str) or _CATEGORY not in template:
        raise SettingError(f"data format 'coco': template={template!r} lacks {_CATEGORY}")
    if isinstance(least, bool) or not isinstance(least, (int, float)) or not 0 <= least <= 1:
        raise SettingError(f"data format 'coco': least={least!r} is no share of the image, from 0 to 1")
    if found.captioned and captions is not None:
        raise InputError(
            f"{called(path)} holds captions; annotations are the JSON of instances where captions are given too"
        )
    if captions is not None and template != _TEMPLATE:
        raise SettingError(
            "data format 'coco': template= makes phrases of categories, and captions are texts themselves"
        )
    usual = {"template": template == _TEMPLATE, "categories": categories is None, "least": least == 0}
    for option, left_out in usual.items():
        if found.captioned and not left_out:
            raise SettingError(
                f"data format 'coco': {option}= is for instances, and {called(path)} holds captions"
            )
    asked = _Asked(_names(categories, found, path), float(least))
    if found.captioned:
        rows: Callable[[], Iterator[Row]] = partial(_captions, found, None, asked, folder)
    elif captions is not None:
        where = path_of(captions, "captions")
        said = read_coco(where)
        if not said.captioned:
            raise InputError(f"{called(where)} holds no captions")
        rows = partial(_captions, said, found, asked, folder)
    else:
        rows = partial(_instances, found, asked, template, folder)
    total = partial(count_rows, rows)
    return Pairs(path.stem, ("image", "text"), rows, located=not found.captioned, total=total)


@dataclass(frozen=True)
class _File:
    """What a file says.

    images       by id, in order
    annotations  by the image's id, with their numbers in the file
    categories   names by id
    faults       (place, reason) of what belongs to no image
    """

    images: Mapping[str, Mapping[str, Any]]
    annotations: Mapping[str, Sequence[tuple[int, Mapping[str, Any]]]]
    categories: Mapping[str, str]
    faults: Sequence[tuple[str, str]]
    captioned: bool

    def objects(self, image: str) -> dict[str, list[Mapping[str, Any]]]:
        """An image's annotations by category, in the file's order of these. Raises :class:`InputError`."""
        found: dict[str, list[Mapping[str, Any]]] = {name: [] for name in self.categories.values()}
        for number, each in self.annotations.get(image, ()):
            name = self.categories.get(str(each.get("category_id")))
            if name is None:
                raise InputError(f"annotation {number}: there is no category {each.get('category_id')!r:.60}")
            found[name].append(each)
        return {name: some for name, some in found.items() if some}

    def refused(self) -> Iterator[Row]:
        for place, reason in self.faults:
            yield Row(place, partial(refuse, reason))


@dataclass(frozen=True)
class _Asked:
    """Which categories are asked for; None: all."""

    names: frozenset[str] | None
    least: float

    def of(self, objects: Objects) -> list[str]:
        names = [name for name in objects.annotations if self.names is None or name in self.names]
        return [name for name in names if not self.least or objects.share(name) >= self.least]


def read_coco(path: Path) -> _File:
    content = load_coco(path, _compact)
    faults: list[tuple[str, str]] = []
    images: dict[str, Mapping[str, Any]] = {}
    for number, each in enumerate(content["images"]):
        if not isinstance(each, dict) or "id" not in each:
            faults.append((f"image {number}", f"it is no image with an id but {each!r:.60}"))
        elif str(each["id"]) in images:
            faults.append((f"image {number}", f"its id {each['id']!r} is that of an earlier image"))
        else:
            images[str(each["id"])] = each
    annotations: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
    for number, each in enumerate(content["annotations"]):
        if not isinstance(each, dict):
            faults.append((f"annotation {number}", f"it is no annotation but {each!r:.60}"))
        elif str(each.get("image_id")) not in images:
            faults.append(
                (f"annotation {number}", f"there is no image with its image_id {each.get('image_id')!r:.60}")
            )
        else:
            annotations.setdefault(str(each["image_id"]), []).append((number, each))
    known = content.get("categories")
    categories = {
        str(each["id"]): text_in(each["name"], "category's name")
        for each in (known if isinstance(known, list) else ())
        if isinstance(each, dict) and "id" in each and "name" in each
    }
    every = [each for some in annotations.values() for _, each in some]
    if not every and not faults:
        raise InputError(f"{called(path)} has no annotations")
    captioned = any("caption" in each for each in every)
    if not captioned:
        if every and not categories:
            raise InputError(f"{called(path)} has neither categories nor captions")
        boxed = sum(not each.get("segmentation") for each in every)
        if boxed:
            warn(
                f"{called(path)}: {boxed} of {len(every)} annotations have no segmentation; their boxes stand in"
            )
    return _File(images, annotations, categories, faults, captioned)


def _compact(found: dict[str, Any]) -> dict[str, Any]:
    """Polygons in 8 bytes a number; as lists, those of COCO's own files take some gigabytes."""
    polygons = found.get("segmentation")
    if isinstance(polygons, list):
        with suppress(TypeError, OverflowError):  # of what is none; told when the pair is read
            found["segmentation"] = [array("d", polygon) for polygon in polygons]
    return found


def _names(categories: Any, found: _File, path: Path) -> frozenset[str] | None:
    if categories is None:
        return None
    known = list(found.categories.values())
    names = [name.strip() for name in str(categories).split(",")]
    for name in names:
        if name not in known:
            raise SettingError(
                f"{called(path)} has no category {name!r}{did_you_mean(name, known)} It has {listed(known)}"
            )
    return frozenset(names)


def _instances(found: _File, asked: _Asked, template: str, folder: Path) -> Iterator[Row]:
    yield from found.refused()
    for key, image in found.images.items():
        try:
            objects = Objects(image, folder, found.objects(key))
            names = asked.of(objects)
        except InputError as error:
            yield Row(f"image {key}", partial(refuse, str(error)))
            continue
        for name in names:
            yield Row(
                f"image {key}, {name}", partial(_of_category, key, name, _phrase(template, name), objects)
            )


def _of_category(key: str, name: str, phrase: str, objects: Objects) -> Pair:
    regions = dict(objects.regions)
    region = regions.pop(name)
    if not region.mask.any():
        raise InputError(f"its masks of {name!r} hold no pixel")
    inputs = (("image", objects.path), ("text", phrase))
    return Pair(f"{key}-{name}", inputs, objects.boxes([name]), {0: region}, {0: tuple(regions.values())})


def _captions(said: _File, found: _File | None, asked: _Asked, folder: Path) -> Iterator[Row]:
    yield from said.refused()
    for key, image in said.images.items():
        try:
            there = {} if found is None else found.objects(key)
            objects = Objects((found or said).images.get(key, image), folder, there)
            names = asked.of(objects)
        except InputError as error:
            yield Row(f"image {key}", partial(refuse, str(error)))
            continue
        for number, each in said.annotations.get(key, ()):
            yield Row(f"annotation {number}", partial(_of_caption, number, each, names, objects))


def _of_caption(number: int, each: Mapping[str, Any], names: Sequence[str], objects: Objects) -> Pair:
    from m2ib.contract.regions import Region

    caption = text_in(each.get("caption"), "caption").strip()
    identity = id_in(each["id"]) if "id" in each else str(number)
    inputs = (("image", objects.path), ("text", caption))
    if not names:
        return Pair(identity, inputs)
    parts = [objects.regions[name] for name in names]
    every = Region("objects", np.any([part.mask for part in parts], axis=0), parts[0].axes)
    return Pair(identity, inputs, objects.boxes(names), {0: every} if every.mask.any() else {})


def _phrase(template: str, category: str) -> str:
    words = category.replace("_", " ")
    if _AN.match(words):
        template = re.sub(rf"\b([aA])(?= {re.escape(_CATEGORY)})", r"\1n", template)
    return template.replace(_CATEGORY, words)
