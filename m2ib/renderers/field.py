"""Measured fields under a heatmap: depth, temperature, anything with one value a pixel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from m2ib.contract.regions import Region, check_axes
from m2ib.renderers.arrays import restore_arrays, store_arrays
from m2ib.renderers.base import scale
from m2ib.renderers.drawing import grey
from m2ib.renderers.image import PIXELS, draw_over
from m2ib.renderers.outlines import Outline, draw_outlines
from m2ib.renderers.panels import Panel, Part, heat_figure, heat_script, image_tag, picture_figure
from m2ib.renderers.pictures import hatch, jpeg_url
from m2ib.renderers.place import brief, even, upsample
from m2ib.renderers.regions import outlines, restore_regions, store_regions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from m2ib.contract.attribution import Attribution

_READ_OUT = 64  # values along each side that the pointer can read


@dataclass(frozen=True, eq=False)
class FieldView:
    """What is shown of a field.

    values   (height, width) float32 in ``unit``, upright; NaN where nothing was measured
    label    what is measured, e.g. "depth"
    unit     of the values, e.g. "m"
    colours  the name of a matplotlib colour map
    region   (left, top, right, bottom) in pixels of ``values``: the part the model sees
    size     (rows, columns) of the model's input
    scale    (horizontal, vertical) pixels of ``values`` for one of the raw input
    regions  outlined over the map, their rows and columns in pixels of the raw input
    """

    values: np.ndarray
    label: str
    unit: str
    colours: str
    region: tuple[float, float, float, float]
    size: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    regions: tuple[Region, ...] = ()


class FieldRenderer:
    """A grid (rows, cols) over a :class:`FieldView`."""

    name = "field"

    @property
    def script(self) -> str:
        return heat_script()

    def scores(self, grid: np.ndarray, attribution: Attribution) -> np.ndarray:
        """(rows, columns) of the model's input: bilinear, then min-max."""
        return scale(upsample(grid, attribution.view.size))

    def fragment(self, attribution: Attribution, ident: str) -> str:
        view: FieldView = attribution.view
        label, panels = f"heatmap over {view.label}", [_panel(attribution)]
        return heat_figure(attribution, ident, panels, kind="field", label=label, under=_key(view))

    def outlined(self, view: FieldView, regions: Sequence[Region], modality: str) -> FieldView:
        return replace(view, regions=check_axes(regions, PIXELS, modality))

    def picture(self, attribution: Attribution, ident: str) -> Markup:
        view: FieldView = attribution.view
        return picture_figure([_panel(attribution)], kind="field", label=view.label, under=_key(view))

    def draw(self, attribution: Attribution, axes: Axes) -> None:
        view: FieldView = attribution.view
        axes.imshow(grey(_pixels(view)))
        draw_over(attribution, axes, view.region, view.values.shape)
        height, width = view.values.shape
        draw_outlines(axes, _outlines(view), (width, height), offset=(-0.5, -0.5))
        low, high = _limits(view)
        ends = [brief(low), brief(high)]  # of dark and light, unless the colours are the lighter the lower
        if _colours(view, np.zeros(1)).mean() > _colours(view, np.ones(1)).mean():
            ends.reverse()
        legend = f"{view.label}, from dark to light: {ends[0]} to {ends[1]} {view.unit}"
        if np.isnan(view.values).any():
            legend += "; striped: not measured"
        place: dict[str, Any] = {"xycoords": "axes fraction", "ha": "center", "va": "top"}
        axes.annotate(legend, (0.5, -0.02), fontsize=8, parse_math=False, **place)

    def store(self, view: FieldView, folder: Path, stem: str) -> Mapping[str, Any]:
        return {
            "arrays": store_arrays(folder, stem, {"values": view.values}),
            "label": view.label,
            "unit": view.unit,
            "colours": view.colours,
            "region": list(view.region),
            "size": list(view.size),
            "scale": list(view.scale),
            "regions": store_regions(view.regions, folder, stem),
        }

    def restore(self, stored: Mapping[str, Any], folder: Path) -> FieldView:
        (values,) = restore_arrays(folder, stored["arrays"], ["values"])
        left, top, right, bottom = stored["region"]
        rows, columns = stored["size"]
        across, down = stored["scale"]
        return FieldView(
            values,
            stored["label"],
            stored["unit"],
            stored["colours"],
            (left, top, right, bottom),
            (rows, columns),
            (across, down),
            restore_regions(stored.get("regions"), folder),
        )


def _panel(attribution: Attribution) -> Panel:
    view: FieldView = attribution.view
    rows, cols = attribution.grid.shape
    height, width = view.values.shape
    return Panel(
        picture=image_tag(
            jpeg_url(_pixels(view)), f"{view.label}, the field that is explained", width, height
        ),
        width=width,
        height=height,
        parts=[Part.tiled((rows, cols), view.region)],
        values=_coarse(view.values),
        unit=view.unit,
        outlines=_outlines(view),
    )


def _outlines(view: FieldView) -> list[Outline]:
    """In pixels of the view."""
    across, down = view.scale
    return outlines(view.regions, lambda rows: rows * down, lambda columns: columns * across)


def _limits(view: FieldView) -> tuple[float, float]:
    """Lowest and highest value; NaN where nothing was measured."""
    measured = view.values[np.isfinite(view.values)]
    return (float(measured.min()), float(measured.max())) if measured.size else (math.nan, math.nan)


def _colours(view: FieldView, shares: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 of the view's colour map at ``shares`` (...) in [0, 1]."""
    import matplotlib

    return np.asarray(matplotlib.colormaps[view.colours](shares, bytes=True)[..., :3])


def _pixels(view: FieldView) -> np.ndarray:
    """(height, width, 3) uint8: the values in their colours, stripes where there are none."""
    low, high = _limits(view)
    height, width = view.values.shape
    measured = np.isfinite(view.values)
    shares = np.where(measured, (view.values - low) / ((high - low) or 1.0), 0.0)
    return np.where(
        measured[..., None], _colours(view, shares), hatch(height, width, max(height, width) // 48)
    )


def _coarse(values: np.ndarray) -> list[list[float | None]]:
    """The values nearest to the centres of at most 64 x 64 tiles; None where nothing was measured."""
    rows, columns = (
        np.floor(even(min(side, _READ_OUT), 0, side)).astype(int) for side in values.shape
    )  # of the tiles' centres
    return [
        [float(f"{value:.4g}") if math.isfinite(value) else None for value in row]
        for row in values[np.ix_(rows, columns)].tolist()
    ]


def _key(view: FieldView) -> Markup:
    """The colours' meaning."""
    low, high = _limits(view)
    if math.isnan(low):
        return Markup('<p class="key">{}: nothing was measured</p>').format(view.label)
    stops = ",".join(
        f"rgb({red},{green},{blue})" for red, green, blue in _colours(view, np.linspace(0, 1, 12)).tolist()
    )
    missing = Markup('<span class="none">not measured</span>') if np.isnan(view.values).any() else ""
    return Markup(
        '<p class="key"><span>{label} {low} {unit}</span><span class="colours" style="background:linear-gradient('
        'to right,{stops})"></span><span>{high} {unit}</span>{missing}</p>'
    ).format(label=view.label, low=brief(low), high=brief(high), unit=view.unit, stops=stops, missing=missing)
