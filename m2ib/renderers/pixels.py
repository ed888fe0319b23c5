"""Heat over one picture of pixels: what photographs and measured fields share."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from m2ib.contract.layout import Axis, axes_at
from m2ib.contract.regions import Region
from m2ib.contract.schema import bounded, require
from m2ib.renderers.base import OutliningRenderer, check_places, check_region, check_seen, seen_size
from m2ib.renderers.drawing import blended, dimmed, draw_heat, grey
from m2ib.renderers.interpolation import cell_weights
from m2ib.renderers.media import MOST_PIXELS, image_tag, jpeg_url
from m2ib.renderers.names import input_name
from m2ib.renderers.outlines import Outline, draw_outlines
from m2ib.renderers.panels import Panel, Part, sketch_tag
from m2ib.renderers.units import outlines_over

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from m2ib.contract.attribution import Attribution


_AXES = (("row", "px"), ("column", "px"))
_STRIP = 256  # rows of a large picture that are worked on at once


def input_axes(axes: tuple[Axis, ...], view: Any) -> tuple[Axis, ...]:
    """A layout's rows and columns, in pixels of the raw input, as those of the model's input; () for other axes.

    view  has the ``region`` that the model sees, the ``size`` of its input and the ``scale``
    """
    if tuple((axis.name, axis.unit) for axis in axes) != _AXES:
        return ()
    left, top, right, bottom = view.region
    found = []
    for axis, scale, low, high, side in zip(
        axes, view.scale[::-1], (top, left), (bottom, right), seen_size(view), strict=True
    ):
        spans = (np.array(axis.spans) * scale - low) / (high - low) * side  # (cells, 2)
        found.append(Axis(axis.name, "", tuple((start, end) for start, end in spans.tolist())))
    return tuple(found)


def check_picture(who: str, view: Any, shape: tuple[int, ...]) -> None:
    """What pictures of (height, width, ...) have in common. Raises :class:`AdapterError`."""
    check_seen(who, view)
    check_region(who, view.region)
    height, width = shape[:2]
    require(
        0 < height * width <= MOST_PIXELS, f"{who}: its picture", shape, f"of {MOST_PIXELS:,} pixels at most"
    )
    ok = len(view.scale) == 2 and bounded(view.scale) and min(view.scale) > 0
    raw = (width / view.scale[0]) * (height / view.scale[1]) if ok else 0
    require(
        0 < raw <= MOST_RAW,
        f"{who}: scale",
        view.scale,
        f"pixels for one of a raw input of {MOST_RAW:,} at most",
    )


MOST_RAW = 2**27  # pixels of what it was made of


class PixelRenderer(OutliningRenderer):
    """A grid (rows, cols) over a view of which the model sees a ``region``, ``scale`` pixels for one of the raw input."""

    region_axes = _AXES

    @abstractmethod
    def pixels(self, view: Any) -> np.ndarray:
        """(height, width, 3) uint8."""

    def check_attribution(self, attribution: Attribution) -> None:
        super().check_attribution(attribution)
        who, shape = f"{attribution.modality}, {self.name}", attribution.grid.shape
        require(len(shape) == 2, f"{who}: the grid's shape", shape, "(rows, columns)")
        y, x, (left, top, right, bottom) = self._placed(attribution)
        check_region(f"{who}: what the cells cover", (left, top, right, bottom))
        check_places(who, (y, x), (round(bottom - top) or 1, round(right - left) or 1))

    def shown_regions(self, view: Any) -> tuple[Region, ...]:
        """What is outlined."""
        return tuple(view.regions)

    def panels(self, attribution: Attribution, ident: str) -> list[Panel]:
        view = attribution.view
        pixels = self.pixels(view)
        height, width = pixels.shape[:2]
        y, x, region = self._placed(attribution)
        part = Part(0, region, y, x)
        return [
            Panel(
                picture=image_tag(
                    jpeg_url(pixels), f"{input_name(attribution)}: {self.alt(view)}", width, height
                ),
                width=width,
                height=height,
                parts=[part],
                outlines=self._outlines(attribution),
            )
        ]

    def cells(self, attribution: Attribution, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Where the layout says that they are, or equal shares of what the model sees."""
        axes = axes_at(input_axes(attribution.layout.axes, attribution.view), shape)
        if tuple(len(axis.spans) for axis in axes) != tuple(shape):
            return super().cells(attribution, shape)
        rows, columns = (np.array(axis.spans) for axis in axes)
        return rows, columns

    def _placed(
        self, attribution: Attribution
    ) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float, float]]:
        """Centres (rows,) and (columns,) of the cells, and the part that they cover, in pixels of the view."""
        view = attribution.view
        left, top, right, bottom = view.region
        rows, columns = self.cells(attribution, attribution.grid.shape)
        high, wide = seen_size(view)
        y = top + rows / high * (bottom - top)  # (rows, 2)
        x = left + columns / wide * (right - left)
        covered = (float(x.min()), float(y.min()), float(x.max()), float(y.max()))
        return y.mean(1), x.mean(1), covered

    def raster(self, attribution: Attribution) -> tuple[tuple[int, ...], tuple[Axis, ...]]:
        """The raw picture's (rows, columns), and the cells in its pixels."""
        view = attribution.view
        rows, columns = self.cells(attribution, attribution.grid.shape)
        left, top, right, bottom = view.region
        axes, size = [], []
        for name, cells, low, high, seen, scale, length in zip(
            ("row", "column"),
            (rows, columns),
            (top, left),
            (bottom, right),
            seen_size(view),
            view.scale[::-1],
            self.pixels(view).shape[:2],
            strict=True,
        ):
            spans = (low + cells / seen * (high - low)) / scale  # (cells, 2)
            axes.append(Axis(name, "px", tuple((start, end) for start, end in spans.tolist())))
            size.append(round(length / scale))
        return tuple(size), tuple(axes)

    def overlay(self, attribution: Attribution, size: tuple[int, int]) -> np.ndarray:
        """The picture under its map as (rows, columns, 3) uint8 of this size; what the model does not see is greyed."""
        pixels = self.shown(attribution)
        shown = np.array(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BICUBIC))
        y, x, region = self._placed(attribution)
        down, across = size[0] / pixels.shape[0], size[1] / pixels.shape[1]
        rows, columns = cell_weights(y * down, size[0]), cell_weights(x * across, size[1])
        seen, grid = _inside(region, pixels.shape, size), attribution.balance
        for start in range(0, size[0], _STRIP):
            part = slice(start, start + _STRIP)
            shown[part] = blended(attribution, shown[part], rows[part] @ grid @ columns.T, seen[part])
        return shown

    def sketch(self, attribution: Attribution, longest: int) -> Markup:
        height, width = self.pixels(attribution.view).shape[:2]
        share = min(1.0, longest / max(height, width))
        rows, columns = max(1, round(height * share)), max(1, round(width * share))
        return sketch_tag(attribution, self.overlay(attribution, (rows, columns)), longest, stretched=False)

    def alt(self, view: Any) -> str:
        """The picture to those who do not see it."""
        return f"{self.label(view)} that is explained"

    def _outlines(self, attribution: Attribution) -> list[Outline]:
        """In pixels of the view."""
        view = attribution.view
        across, down = view.scale

        high, wide = self.raster(attribution)[0]
        return outlines_over(
            attribution,
            self.shown_regions(view),
            (("row", 0, high), ("column", 0, wide)),
            lambda rows: rows * down,
            lambda columns: columns * across,
        )

    def draw(self, attribution: Attribution, axes: Axes) -> None:
        """The picture, without its colours under a signed map, and the heat over what the cells cover."""
        pixels = self.shown(attribution)
        height, width = size = pixels.shape[:2]
        y, x, region = self._placed(attribution)
        seen = _inside(region, size, size)
        axes.imshow(dimmed(pixels, seen))
        heat = cell_weights(y, height) @ attribution.balance @ cell_weights(x, width).T
        draw_heat(axes, np.where(seen, heat, np.nan), attribution)
        axes.set_axis_off()
        draw_outlines(axes, self._outlines(attribution), (width, height), offset=(-0.5, -0.5))

    def places(self, attribution: Attribution) -> np.ndarray:
        y, x, _ = self._placed(attribution)
        return np.stack([*np.meshgrid(x, y)], -1).reshape(-1, 2) - 0.5

    def shown(self, attribution: Attribution) -> np.ndarray:
        """The picture (height, width, 3) uint8 as it lies under the map."""
        pixels = self.pixels(attribution.view)
        return grey(pixels) if attribution.signed else pixels


def _inside(
    region: tuple[float, float, float, float], of: tuple[int, ...], size: tuple[int, ...]
) -> np.ndarray:
    """bool, of this size: the pixels whose centres lie in a region of a picture ``of`` (height, width)."""
    left, top, right, bottom = region
    down, across = size[0] / of[0], size[1] / of[1]
    high, wide = np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5
    return np.asarray(
        ((high >= top * down) & (high < bottom * down))[:, None]
        & (wide >= left * across)
        & (wide < right * across)
    )
