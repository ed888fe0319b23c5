"""Photographs under a heatmap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from m2ib.contract.regions import Box, Region, check_outlines
from m2ib.contract.schema import check_array
from m2ib.errors import InputError
from m2ib.renderers.media import picture, picture_pixels
from m2ib.renderers.pixels import PixelRenderer, check_picture
from m2ib.renderers.view_storage import restore_fields, store_fields, stored_bytes

_LONGEST_VIEW = 1024  # pixels; what is shown need not be larger
_LONGEST_CONDENSED, _QUALITY = 512, 90  # pixels, and of JPEG
_SMALL = 2**14  # bytes of a PNG that is kept as it is


@dataclass(frozen=True, eq=False)
class ImageView:
    """What is shown of an image.

    pixels  (height, width, 3) uint8, upright RGB
    region  (left, top, right, bottom) in pixels of ``pixels``: the part the model sees
    size    (rows, columns) of the model's input
    scale   (horizontal, vertical) pixels of ``pixels`` for one of the raw image
    boxes   drawn over the map, in pixels of the raw image
    regions outlined over the map, their rows and columns in pixels of the raw image
    read    (rows, columns) of the model's input that ``region`` shows, from the first on; None: all of them
    """

    pixels: np.ndarray
    region: tuple[float, float, float, float]
    size: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    boxes: tuple[Box, ...] = ()
    regions: tuple[Region, ...] = ()
    read: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        check_array("ImageView: pixels", self.pixels, (None, None, 3), "u")
        check_picture("ImageView", self, self.pixels.shape)

    @classmethod
    def of(
        cls,
        image: Image.Image,
        region: tuple[float, float, float, float],
        size: tuple[int, int],
        longest: int = _LONGEST_VIEW,
    ) -> ImageView:
        """A view of an RGB image, made smaller where it is larger than ``longest``; ``region`` in pixels of ``image``."""
        factor = min(1.0, longest / max(image.size))
        ratio = (1.0, 1.0)
        if factor < 1:
            width, height = (max(1, round(side * factor)) for side in image.size)
            ratio = (width / image.width, height / image.height)
            left, top, right, bottom = region
            region = (left * ratio[0], top * ratio[1], right * ratio[0], bottom * ratio[1])
            image = image.resize((width, height), Image.Resampling.BICUBIC)
        return cls(np.asarray(image.convert("RGB")), region, size, ratio)

    def reduced(self, longest: int) -> ImageView:
        """The same with so many pixels at most along its longer side."""
        made = ImageView.of(Image.fromarray(self.pixels), self.region, self.size, longest)
        across, down = self.scale[0] * made.scale[0], self.scale[1] * made.scale[1]
        return replace(self, pixels=made.pixels, region=made.region, scale=(across, down))

    def with_boxes(self, boxes: Iterable[Box]) -> ImageView:
        """The same view with these boxes in place of its own.

        Raises :class:`InputError` for a box that lies outside the image altogether.
        """
        boxes = tuple(boxes)
        height, width = self.pixels.shape[:2]
        for box in boxes:
            left, top, right, bottom = self.edges(box)
            if left >= width or top >= height or right <= 0 or bottom <= 0:
                size = f"{round(width / self.scale[0])}x{round(height / self.scale[1])}"
                raise InputError(
                    f"box {box.label!r} at x {box.x:g}, y {box.y:g} with {box.width:g}x{box.height:g} pixels lies "
                    f"outside the image of {size}; give pixels of the raw image, counted from its left upper corner"
                )
        return replace(self, boxes=boxes)

    def edges(self, box: Box) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) of a box in pixels of ``pixels``."""
        across, down = self.scale
        return box.x * across, box.y * down, (box.x + box.width) * across, (box.y + box.height) * down


class ImageRenderer(PixelRenderer):
    """A grid (rows, cols) over an :class:`ImageView`."""

    name = "image"
    kind = "photo"
    view_type = ImageView
    _condensed = False

    def label(self, view: ImageView) -> str:
        return "the image"

    def pixels(self, view: ImageView) -> np.ndarray:
        return view.pixels

    def shown_regions(self, view: ImageView) -> tuple[Region, ...]:
        return (*view.regions, *(box.region for box in view.boxes))

    def condensed(self) -> Self:
        """A renderer that stores 512 pixels at most along the longer side, as PNG up to 16 KiB, else as JPEG."""
        made = copy(self)
        made._condensed = True
        return made

    def store(self, view: ImageView, folder: Path, stem: str) -> Mapping[str, Any]:
        view = view.reduced(_LONGEST_CONDENSED) if self._condensed else view
        name, content = f"{stem}.png", picture(view.pixels, "PNG")
        if self._condensed and len(content) > _SMALL:
            name, content = f"{stem}.jpg", picture(view.pixels, "JPEG", quality=_QUALITY, subsampling=0)
        (folder / name).write_bytes(content)
        return {"pixels": name, **store_fields(view, folder, stem)}

    def restore(self, stored: Mapping[str, Any], folder: Path) -> ImageView:
        rest = dict(stored)
        pixels = picture_pixels(stored_bytes(folder, rest.pop("pixels", None)))
        found: ImageView = restore_fields(ImageView, rest, folder, pixels=pixels)
        check_outlines([box.region for box in found.boxes])
        return found.with_boxes(found.boxes)
