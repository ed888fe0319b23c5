"""Measured fields under a heatmap: depth, temperature, anything with one value a pixel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from m2ib.contract.plotting import library
from m2ib.contract.regions import Region
from m2ib.contract.schema import bounded, check_array, require
from m2ib.renderers.drawing import annotate_below, grey
from m2ib.renderers.formatting import format_short
from m2ib.renderers.interpolation import cell_centres
from m2ib.renderers.media import hatch
from m2ib.renderers.panels import Panel
from m2ib.renderers.pixels import PixelRenderer, check_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from m2ib.contract.attribution import Attribution

_READ_OUT = 64  # values along each side that the pointer can read
_COLOUR = 0.25  # so much of its colours is left under heat
_ROUNDING = 1e-3  # of the range of colours; what is less far beyond it is no clipping


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
    read     (rows, columns) of the model's input that ``region`` shows, from the first on; None: all of them
    limits   (lowest, highest) value that the model tells apart, between which the colours run; None: the values' own
    """

    values: np.ndarray
    label: str
    unit: str
    colours: str
    region: tuple[float, float, float, float]
    size: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    regions: tuple[Region, ...] = ()
    read: tuple[int, ...] | None = None
    limits: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        check_array("FieldView: values", self.values, (None, None), "f", nan=True)
        check_picture("FieldView", self, self.values.shape)
        if self.limits is not None:
            ok = bounded(self.limits) and self.limits[0] <= self.limits[1]
            require(ok, "FieldView: limits", self.limits, "(lowest, highest)")


class FieldRenderer(PixelRenderer):
    """A grid (rows, cols) over a :class:`FieldView`."""

    name = kind = "field"
    view_type = FieldView

    def restore(self, stored: Mapping[str, Any], folder: Path) -> FieldView:
        import matplotlib

        found: FieldView = super().restore(stored, folder)
        if found.colours not in matplotlib.colormaps:
            raise ValueError(f"view.colours is {found.colours!r:.60}, no colour map of matplotlib")
        return found

    def label(self, view: FieldView) -> str:
        return view.label

    def alt(self, view: FieldView) -> str:
        return f"{view.label}, the field that is explained"

    def below(self, view: FieldView) -> Markup:
        """The colours' meaning."""
        if math.isnan(_limits(view)[0]):
            return Markup('<p class="key">{}: nothing was measured</p>').format(view.label)
        colours = _colours(view, np.linspace(0, 1, 12)).tolist()
        stops = ",".join(f"rgb({red},{green},{blue})" for red, green, blue in colours)
        missing = Markup('<span class="none">not measured</span>') if np.isnan(view.values).any() else ""
        return Markup(
            '<p class="key"><span>{label} {ends[0]} {unit}</span><span class="colours" style="background:linear-gradient('
            'to right,{stops})"></span><span>{ends[1]} {unit}</span>{missing}</p>'
        ).format(
            label=view.label,
            ends=_ends(view),
            unit=view.unit,
            stops=stops,
            missing=missing,
        )

    def pixels(self, view: FieldView) -> np.ndarray:
        """(height, width, 3) uint8: the values in their colours, stripes where there are none."""
        low, high = _limits(view)
        height, width = view.values.shape
        measured = np.isfinite(view.values)
        shares = np.where(measured, (view.values.clip(low, high) - low) / ((high - low) or 1.0), 0.0)
        stripes = hatch(height, width, max(height, width) // 48)
        return np.where(measured[..., None], _colours(view, shares), stripes)

    def panels(self, attribution: Attribution, ident: str) -> list[Panel]:
        view: FieldView = attribution.view
        (panel,) = super().panels(attribution, ident)
        return [replace(panel, values=_coarse(view.values), unit=view.unit)]

    def shown(self, attribution: Attribution) -> np.ndarray:
        return grey(self.pixels(attribution.view), _COLOUR)

    def draw(self, attribution: Attribution, axes: Axes) -> None:
        """The field with little of its colours, its heat, and what dark and light are."""
        super().draw(attribution, axes)
        view: FieldView = attribution.view
        ends = _ends(view)  # of dark and light, unless light is low
        if _colours(view, np.zeros(1)).mean() > _colours(view, np.ones(1)).mean():
            ends.reverse()
        legend = f"{view.label}, from dark to light: {ends[0]} to {ends[1]} {view.unit}"
        if np.isnan(view.values).any():
            legend += "; striped: not measured"
        annotate_below(axes, legend)


def _extremes(view: FieldView) -> tuple[float, float]:
    """Lowest and highest value; NaN where nothing was measured."""
    measured = view.values[np.isfinite(view.values)]
    return (float(measured.min()), float(measured.max())) if measured.size else (math.nan, math.nan)


def _limits(view: FieldView) -> tuple[float, float]:
    """Between which values the colours run; NaN where nothing was measured."""
    extremes = _extremes(view)
    return extremes if view.limits is None or math.isnan(extremes[0]) else view.limits


def _ends(view: FieldView) -> list[str]:
    """The two limits in words: "≥ 8" where values lie beyond."""
    (low, high), (least, most) = _limits(view), _extremes(view)
    slack = _ROUNDING * (high - low)
    below, above = least < low - slack, most > high + slack
    return ["≤ " * below + format_short(low), "≥ " * above + format_short(high)]


def _colours(view: FieldView, shares: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 of the view's colour map at ``shares`` (...) in [0, 1]."""
    return np.asarray(library().colormaps[view.colours](shares, bytes=True)[..., :3])


def _coarse(values: np.ndarray) -> list[list[float | None]]:
    """The values nearest to the centres of at most 64 x 64 tiles; None where nothing was measured."""
    centres = [np.floor(cell_centres(min(side, _READ_OUT), 0, side)).astype(int) for side in values.shape]
    return [
        [float(f"{value:.4g}") if math.isfinite(value) else None for value in row]
        for row in values[np.ix_(*centres)].tolist()
    ]
