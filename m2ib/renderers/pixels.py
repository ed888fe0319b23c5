"""Heat over one picture of pixels: what photographs and measured fields share."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from m2ib.contract.regions import Region
from m2ib.renderers.base import OutliningRenderer
from m2ib.renderers.drawing import draw_heat, grey, shown_grid
from m2ib.renderers.interpolation import upsample
from m2ib.renderers.media import jpeg_url
from m2ib.renderers.outlines import Outline, draw_outlines, outlines_of
from m2ib.renderers.panels import Panel, Part, image_tag

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from m2ib.contract.attribution import Attribution


class PixelRenderer(OutliningRenderer):
    """A grid (rows, cols) over a view of which the model sees a ``region``, ``scale`` pixels for one of the raw input."""

    region_axes = (("row", "px"), ("column", "px"))

    @abstractmethod
    def pixels(self, view: Any) -> np.ndarray:
        """(height, width, 3) uint8."""

    def shown_regions(self, view: Any) -> tuple[Region, ...]:
        """What is outlined."""
        return tuple(view.regions)

    def panels(self, attribution: Attribution, ident: str) -> list[Panel]:
        view = attribution.view
        pixels = self.pixels(view)
        height, width = pixels.shape[:2]
        part = Part.tiled(attribution.grid.shape, view.region)
        return [
            Panel(
                picture=image_tag(jpeg_url(pixels), self.alt(view), width, height),
                width=width,
                height=height,
                parts=[part],
                outlines=self._outlines(view),
            )
        ]

    def alt(self, view: Any) -> str:
        """The picture to those who do not see it."""
        return f"{self.label(view)} that is explained"

    def _outlines(self, view: Any) -> list[Outline]:
        """In pixels of the view."""
        across, down = view.scale
        regions = self.shown_regions(view)
        return outlines_of(regions, lambda rows: rows * down, lambda columns: columns * across)

    def draw(self, attribution: Attribution, axes: Axes) -> None:
        """The picture, grey under a contrast, and the heat over its ``region``."""
        view = attribution.view
        pixels = self.pixels(view)
        axes.imshow(pixels if self.coloured(attribution) else grey(pixels))
        left, top, right, bottom = view.region
        height, width = pixels.shape[:2]
        shown = upsample(shown_grid(attribution), (round(bottom - top) or 1, round(right - left) or 1))
        draw_heat(axes, shown, attribution, extent=(left - 0.5, right - 0.5, bottom - 0.5, top - 0.5))
        axes.set_xlim(-0.5, width - 0.5)
        axes.set_ylim(height - 0.5, -0.5)
        axes.set_axis_off()
        draw_outlines(axes, self._outlines(view), (width, height), offset=(-0.5, -0.5))

    def coloured(self, attribution: Attribution) -> bool:
        """Whether a figure has the picture in its colours."""
        return attribution.against is None
