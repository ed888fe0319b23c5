"""Segments of a picture out of a file: a label image, an array of labels, masks by name, COCO's objects."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from m2ib.data.coco import read_coco
from m2ib.data.coco_objects import segmentation_of
from m2ib.data.rle import mask_of
from m2ib.errors import InputError, decoding
from m2ib.paths import file_fault, local_path

_MOST = 2**27  # pixels


def read_segments(path: str | PathLike[str], source: str) -> np.ndarray | dict[str, np.ndarray]:
    """Labels (rows, columns), or masks (rows, columns) bool by name.

    ``.npy``: labels, or one mask. ``.npz``: masks by name. ``.json``: COCO's objects on the image that ``source`` names, each a mask.
    Anything else: an image of one channel, whose values or colours of a palette are labels; 0 stands for none.

    Raises :class:`InputError`.
    """
    place = local_path(path)
    who = f"units {str(place)!r}"
    try:
        if fault := file_fault(place, whole=True):
            raise InputError(f"{who} {fault}")
    except OSError as error:
        raise InputError(f"{who} cannot be read: {error.strerror or error}") from None
    suffix = place.suffix.lower()
    if suffix == ".json":
        return _of_coco(place, source, who)
    with decoding(who):
        if suffix not in (".npy", ".npz"):
            return _of_image(place, who)
        found = np.load(place, allow_pickle=False)
        return {name: found[name] for name in found.files} if suffix == ".npz" else np.asarray(found)


def _of_image(path: Path, who: str) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        if image.width * image.height > _MOST:
            raise InputError(f"{who} has {image.width}x{image.height} pixels; {_MOST:,} are the most")
        if len(image.getbands()) != 1 or image.mode == "F":
            raise InputError(f"{who} is {image.mode}; labels are an image of one channel, as of 8 or 16 bits")
        return np.array(image)


def _of_coco(path: Path, source: str, who: str) -> dict[str, np.ndarray]:
    """Objects by category, numbered where there are several of one."""
    found = read_coco(path)
    named = [key for key, image in found.images.items() if _stem(image.get("file_name")) == _stem(source)]
    if len(named) != 1:
        raise InputError(f"{who} has {len(named)} images called {_stem(source)!r:.80}; one is needed")
    image = found.images[named[0]]
    width, height = image.get("width"), image.get("height")
    if not isinstance(width, int) or not isinstance(height, int) or min(width, height) < 1:
        raise InputError(f"{who}: its image has no width and height but {width!r:.40} and {height!r:.40}")
    masks: dict[str, np.ndarray] = {}
    for name, some in found.objects(named[0]).items():
        for number, each in enumerate(some, 1):
            called = f"{name} {number}" if len(some) > 1 else name
            masks[called] = mask_of([segmentation_of(each)], (height, width))
    if not masks:
        raise InputError(f"{who} has nothing on the image {_stem(source)!r:.80}")
    return dict(
        sorted(masks.items(), key=lambda each: -int(each[1].sum()))
    )  # smaller ones lie over larger ones


def _stem(name: Any) -> str:
    return Path(str(name)).stem
