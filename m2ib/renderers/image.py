"""Photographs under a heatmap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from m2ib.contract.regions import Box, Region, check_axes
from m2ib.errors import InputError
from m2ib.renderers.base import scale
from m2ib.renderers.drawing import draw_heat, grey, shown_grid
from m2ib.renderers.outlines import Outline, draw_outlines
from m2ib.renderers.panels import Panel, Part, heat_figure, heat_script, image_tag, picture_figure
from m2ib.renderers.pictures import jpeg_url
from m2ib.renderers.place import upsample
from m2ib.renderers.regions import outlines, restore_regions, store_regions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from m2ib.contract.attribution import Attribution

_LONGEST_VIEW = 1024  # pixels; what is shown need not be larger
PIXELS = (("row", "px"), ("column", "px"))  # the axes of regions


@dataclass(frozen=True, eq=False)
class ImageView:
    """What is shown of an image.

    pixels  (height, width, 3) uint8, upright RGB
    region  (left, top, right, bottom) in pixels of ``pixels``: the part the model sees
    size    (rows, columns) of the model's input
    scale   (horizontal, vertical) pixels of ``pixels`` for one of the raw image
    boxes   drawn over the map, in pixels of the raw image
    regions outlined over the map, their rows and columns in pixels of the raw image
    """

    pixels: np.ndarray
    region: tuple[float, float, float, float]
    size: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    boxes: tuple[Box, ...] = ()
    regions: tuple[Region, ...] = ()

    @classmethod
    def of(
        cls,
        image: Image.Image,
        region: tuple[float, float, float, float],
        size: tuple[int, int],
    ) -> ImageView:
        """A view of an RGB image, made smaller where it is large; ``region`` in pixels of ``image``."""
        factor = min(1.0, _LONGEST_VIEW / max(image.size))
        ratio = (1.0, 1.0)
        if factor < 1:
            width, height = (max(1, round(side * factor)) for side in image.size)
            ratio = (width / image.width, height / image.height)
            region = (
                region[0] * ratio[0],
                region[1] * ratio[1],
                region[2] * ratio[0],
                region[3] * ratio[1],
            )
            image = image.resize((width, height), Image.Resampling.BICUBIC)
        return cls(np.asarray(image.convert("RGB")), region, size, ratio)

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
        return (
            box.x * across,
            box.y * down,
            (box.x + box.width) * across,
            (box.y + box.height) * down,
        )


class ImageRenderer:
    """A grid (rows, cols) over an :class:`ImageView`."""

    name = "image"

    @property
    def script(self) -> str:
        return heat_script()

    def scores(self, grid: np.ndarray, attribution: Attribution) -> np.ndarray:
        """(rows, columns) of the model's input: bilinear, then min-max."""
        return scale(upsample(grid, attribution.view.size))

    def fragment(self, attribution: Attribution, ident: str) -> str:
        label = "heatmap over the image"
        return heat_figure(attribution, ident, [_panel(attribution)], kind="photo", label=label)

    def outlined(self, view: ImageView, regions: Sequence[Region], modality: str) -> ImageView:
        return replace(view, regions=check_axes(regions, PIXELS, modality))

    def picture(self, attribution: Attribution, ident: str) -> Markup:
        return picture_figure([_panel(attribution)], kind="photo", label="the image")

    def draw(self, attribution: Attribution, axes: Axes) -> None:
        view: ImageView = attribution.view
        contrast = attribution.against is not None
        axes.imshow(grey(view.pixels) if contrast else view.pixels)
        draw_over(attribution, axes, view.region, view.pixels.shape[:2])
        height, width = view.pixels.shape[:2]
        draw_outlines(axes, _outlines(view), (width, height), offset=(-0.5, -0.5))

    def store(self, view: ImageView, folder: Path, stem: str) -> Mapping[str, Any]:
        name = f"{stem}.png"
        Image.fromarray(view.pixels).save(folder / name)
        return {
            "pixels": name,
            "region": list(view.region),
            "size": list(view.size),
            "scale": list(view.scale),
            "boxes": [asdict(box) for box in view.boxes],
            "regions": store_regions(view.regions, folder, stem),
        }

    def restore(self, stored: Mapping[str, Any], folder: Path) -> ImageView:
        name = Path(stored["pixels"]).name  # never outside the folder
        with Image.open(folder / name) as image:
            pixels = np.asarray(image.convert("RGB"))
        left, top, right, bottom = stored["region"]
        rows, columns = stored["size"]
        across, down = stored.get("scale", (1.0, 1.0))
        boxes = tuple(Box(**box) for box in stored.get("boxes", ()))
        return ImageView(
            pixels,
            (left, top, right, bottom),
            (rows, columns),
            (across, down),
            boxes,
            restore_regions(stored.get("regions"), folder),
        )


def draw_over(
    attribution: Attribution, axes: Axes, region: tuple[float, float, float, float], size: tuple[int, int]
) -> None:
    """The heat of a grid (rows, cols) over a ``region`` of a picture of ``size`` that is on the axes."""
    left, top, right, bottom = region
    height, width = size
    shown = upsample(shown_grid(attribution), (round(bottom - top) or 1, round(right - left) or 1))
    extent = (left - 0.5, right - 0.5, bottom - 0.5, top - 0.5)
    draw_heat(axes, shown, attribution, extent=extent)
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    axes.set_axis_off()


def _panel(attribution: Attribution) -> Panel:
    view: ImageView = attribution.view
    rows, cols = attribution.grid.shape
    height, width = view.pixels.shape[:2]
    return Panel(
        picture=image_tag(jpeg_url(view.pixels), "the image that is explained", width, height),
        width=width,
        height=height,
        parts=[Part.tiled((rows, cols), view.region)],
        outlines=_outlines(view),
    )


def _outlines(view: ImageView) -> list[Outline]:
    """Boxes and regions, in pixels of the view."""
    across, down = view.scale
    shown = (*view.regions, *(box.region for box in view.boxes))
    return outlines(shown, lambda rows: rows * down, lambda columns: columns * across)
