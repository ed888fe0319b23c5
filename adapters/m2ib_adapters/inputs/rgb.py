"""Pictures of any depth and mode as RGB of 8 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageOps

from m2ib.errors import InputError
from m2ib_adapters.bounds import check_pixels
from m2ib_adapters.inputs.image_files import Picture
from m2ib_adapters.inputs.levels import Limits, levels_of
from m2ib_adapters.inputs.options import saying

_AT_ONCE = 2**22  # values
_DEEP = (np.uint16, np.int16, np.int32, np.uint32)


def checked_array(array: np.ndarray) -> Image.Image | np.ndarray:
    """An array of a picture: as a PIL image where it has 8 bits, else as it is."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or array.size == 0:
        several = array.ndim in (3, 4) and array.size
        way = f"; of several pages, say which: {saying('image', 'page', 0)}" if several else ""
        raise InputError(
            f"image: an array has the shape (H, W), (H, W, 3) or (H, W, 4), not {tuple(array.shape)}{way}"
        )
    check_pixels("image", array.shape[1], array.shape[0])
    if np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all():
            raise InputError("image: the array holds NaN or infinite values")
        return array
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype in _DEEP:
        return array
    if array.dtype != np.uint8:
        raise InputError(
            f"image: pixels are uint8, uint16, bool or floating point, not {array.dtype}; with a sign, int16 or int32"
        )
    return Image.fromarray(np.ascontiguousarray(array))


def to_rgb(picture: Picture, limits: Limits, name: str) -> tuple[Image.Image, dict[str, Any]]:
    """Upright, 8 bits; and which values became black and white, where that had to be decided."""
    image, levels = picture.pixels, {}
    if isinstance(image, Image.Image):
        image = ImageOps.exif_transpose(image)
        check_pixels(name, image.width, image.height)
        if image.mode == "F" or image.mode.startswith("I"):
            image = np.asarray(image)
        elif limits != (None, None):
            image = np.asarray(_flat(image))
    if isinstance(image, np.ndarray):
        if np.issubdtype(image.dtype, np.floating) and not np.isfinite(image).all():
            raise InputError(f"{name}: holds NaN or infinite values")
        colours = image if image.ndim == 2 else image[..., :3]
        found = levels_of(colours, picture.told, name, minimum=limits[0], maximum=limits[1])
        shown = np.empty(image.shape, np.uint8)
        step = max(1, _AT_ONCE * len(image) // image.size)  # rows; what is computed takes eight bytes a value
        for start in range(0, len(image), step):
            rows = slice(start, start + step)
            shares = found.shares(image[rows])
            if image.ndim == 3 and image.shape[2] == 4:
                shares[..., 3] = (image[rows][..., 3] / found.white).clip(0, 1)
            shown[rows] = np.round(shares * 255)
        image, levels = Image.fromarray(np.ascontiguousarray(shown)), {"levels": found.origin}
    return _flat(image), levels


def _flat(image: Image.Image) -> Image.Image:
    """RGB, what is transparent laid on white."""
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layered = image.convert("RGBA")
        paper = Image.new("RGBA", layered.size, (255, 255, 255, 255))
        return Image.alpha_composite(paper, layered).convert("RGB")
    return image.convert("RGB")
