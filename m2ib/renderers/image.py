"""Photographs under a heatmap."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from m2ib.errors import InputError
from m2ib.renderers.base import scale
from m2ib.renderers.drawing import draw_heat, grey, shown_grid
from m2ib.renderers.panels import Panel, Part, heat_figure, heat_script, image_tag, per_cent
from m2ib.renderers.pictures import jpeg_url
from m2ib.renderers.place import upsample

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from m2ib.attribution import Attribution

_LONGEST_VIEW = 1024  # pixels; what is shown need not be larger


@dataclass(frozen=True)
class Box:
    """A rectangle in an image: its left upper corner and its size, in pixels of the raw image.

    Raises :class:`InputError` for one without an area.
    """

    x: float
    y: float
    width: float
    height: float
    label: str = ""

    def __post_init__(self) -> None:
        numbers = (self.x, self.y, self.width, self.height)
        if not all(map(math.isfinite, numbers)) or self.width <= 0 or self.height <= 0:
            raise InputError(
                f"box {self.label!r}: x, y, width, height are {numbers}; give finite numbers, width and height above 0"
            )


@dataclass(frozen=True, eq=False)
class ImageView:
    """What is shown of an image.

    pixels  (height, width, 3) uint8, upright RGB
    region  (left, top, right, bottom) in pixels of ``pixels``: the part the model sees
    size    (rows, columns) of the model's input
    scale   (horizontal, vertical) pixels of ``pixels`` for one of the raw image
    boxes   drawn over the map, in pixels of the raw image
    """

    pixels: np.ndarray
    region: tuple[float, float, float, float]
    size: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    boxes: tuple[Box, ...] = ()

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
        view: ImageView = attribution.view
        rows, cols = attribution.grid.shape
        height, width = view.pixels.shape[:2]
        panel = Panel(
            picture=image_tag(jpeg_url(view.pixels), "the image that is explained", width, height),
            width=width,
            height=height,
            parts=[Part.tiled((rows, cols), view.region)],
            overlay=Markup("").join(_box_tag(view, box) for box in view.boxes),
        )
        return heat_figure(attribution, ident, [panel], kind="photo", label="heatmap over the image")

    def draw(self, attribution: Attribution, axes: Axes) -> None:
        view: ImageView = attribution.view
        contrast = attribution.against is not None
        axes.imshow(grey(view.pixels) if contrast else view.pixels)
        draw_over(attribution, axes, view.region, view.pixels.shape[:2])
        for box in view.boxes:
            _draw_box(axes, view, box)

    def store(self, view: ImageView, folder: Path, stem: str) -> Mapping[str, Any]:
        name = f"{stem}.png"
        Image.fromarray(view.pixels).save(folder / name)
        return {
            "pixels": name,
            "region": list(view.region),
            "size": list(view.size),
            "scale": list(view.scale),
            "boxes": [asdict(box) for box in view.boxes],
        }

    def restore(self, stored: Mapping[str, Any], folder: Path) -> ImageView:
        name = Path(stored["pixels"]).name  # never outside the folder
        with Image.open(folder / name) as image:
            pixels = np.asarray(image.convert("RGB"))
        left, top, right, bottom = stored["region"]
        rows, columns = stored["size"]
        across, down = stored.get("scale", (1.0, 1.0))
        boxes = tuple(Box(**box) for box in stored.get("boxes", ()))
        return ImageView(pixels, (left, top, right, bottom), (rows, columns), (across, down), boxes)


def draw_over(
    attribution: Attribution, axes: Axes, region: tuple[float, float, float, float], size: tuple[int, int]
) -> None:
    """The heat of a grid (rows, cols) over a ``region`` of a picture of ``size`` that is on the axes."""
    left, top, right, bottom = region
    height, width = size
    shown = upsample(shown_grid(attribution), (round(bottom - top) or 1, round(right - left) or 1))
    extent = (left - 0.5, right - 0.5, bottom - 0.5, top - 0.5)
    draw_heat(axes, shown, contrast=attribution.against is not None, extent=extent)
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    axes.set_axis_off()


def _crowded(view: ImageView, box: Box) -> tuple[bool, bool]:
    """Whether a box leaves no room for its label above it, and little to the right of its left edge."""
    left, top, right, _ = view.edges(box)
    height, width = view.pixels.shape[:2]
    return top < 0.08 * height, left + right > width


def _box_tag(view: ImageView, box: Box) -> Markup:
    left, top, right, bottom = view.edges(box)
    height, width = view.pixels.shape[:2]
    inside, end = _crowded(view, box)
    return Markup(
        '<div class="box{inside}{end}" style="left:{left};top:{top};width:{across};height:{down}">{label}</div>'
    ).format(
        inside=" inside" if inside else "",
        end=" end" if end else "",
        left=per_cent(left, width),
        top=per_cent(top, height),
        across=per_cent(right - left, width),
        down=per_cent(bottom - top, height),
        label=Markup("<span>{}</span>").format(box.label) if box.label else "",
    )


def _draw_box(axes: Axes, view: ImageView, box: Box) -> None:
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import AbstractPathEffect, withStroke

    left, top, right, bottom = (edge - 0.5 for edge in view.edges(box))
    edge: list[AbstractPathEffect] = [withStroke(linewidth=3, foreground="black")]
    frame = Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor="white", linewidth=1.5)
    frame.set_path_effects(edge)
    axes.add_patch(frame)
    inside, end = _crowded(view, box)
    text = axes.annotate(
        box.label,
        (right if end else left, top),
        (-2 if end else 2, -2 if inside else 2),
        textcoords="offset points",
        ha="right" if end else "left",
        va="top" if inside else "bottom",
        color="white",
        fontsize=8,
        parse_math=False,
    )
    text.set_path_effects(edge)
