"""Measurements over time: several traces, shaded by their value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from m2ib.contract.regions import Region, check_axes
from m2ib.contract.schema import MOST, check_array, require
from m2ib.renderers.base import OutliningRenderer, check_places, scale
from m2ib.renderers.drawing import blended, draw_heat
from m2ib.renderers.formatting import format_short, format_time, time_ticks
from m2ib.renderers.interpolation import axis_centres, cell_centres, cell_weights
from m2ib.renderers.looks import UNSEEN
from m2ib.renderers.media import image_tag, png_url, polyline_points
from m2ib.renderers.names import described, input_name
from m2ib.renderers.outlines import Outline, draw_outlines
from m2ib.renderers.panels import Panel, Part, Ruler, mapped, per_cent
from m2ib.renderers.units import outlines_over

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from m2ib.contract.attribution import Attribution

_DARK, _INK = "#101216", "#f2f0ea"  # as on a page
_TOP, _BOTTOM = 0.4, 0.9  # of a lane: where its highest and lowest values lie, the name above them


@dataclass(frozen=True, eq=False)
class TracesView:
    """What is shown of measurements over time.

    samples  (traces, n) float32 as they were measured
    times    (n,) seconds from the beginning
    names    of the traces, e.g. "accelerometer x"
    units    of the traces, e.g. "m/s²"
    span     (start, end) in seconds: the part the model sees
    size     samples of the model's input in that span
    regions  outlined: which traces, counted from 0, and when
    """

    samples: np.ndarray
    times: np.ndarray
    names: tuple[str, ...]
    units: tuple[str, ...]
    span: tuple[float, float]
    size: int
    regions: tuple[Region, ...] = ()

    def __post_init__(self) -> None:
        who = "TracesView: "
        check_array(f"{who}samples", self.samples, (None, None), "f", nan=True)
        traces, count = self.samples.shape
        ok = 0 < self.samples.size <= MOST // 4 and traces <= _TRACES
        require(ok, f"{who}the samples' shape", self.samples.shape, f"above 0, with {_TRACES} traces at most")
        check_array(f"{who}times", self.times, (count,))
        require(np.abs(self.times).max() <= _LONGEST, f"{who}times", self.times, f"{_LONGEST:g} s at most")
        for name in ("names", "units"):
            values = getattr(self, name)
            require(len(values) == traces, f"{who}{name}", values, f"one for each of {traces} traces")
        ok = len(self.span) == 2 and -_LONGEST <= self.span[0] < self.span[1] <= _LONGEST
        require(ok, f"{who}span", self.span, f"(start, end) in seconds, {_LONGEST:g} at most")
        require(0 < self.size <= MOST, f"{who}size", self.size, f"from 1 to {MOST:,}")


_LONGEST = 1e9  # seconds
_TRACES = 256


class TracesRenderer(OutliningRenderer):
    """A grid (windows,) over a :class:`TracesView`."""

    name = kind = "traces"
    heat = "heat"
    region_axes = (("trace", ""), ("time", "s"))
    view_type = TracesView

    def check_attribution(self, attribution: Attribution) -> None:
        view: TracesView = attribution.view
        check_axes(view.regions, self.region_axes, attribution.modality)
        who, shape = f"{attribution.modality}, traces", attribution.grid.shape
        require(len(shape) == 1, f"{who}: the grid's shape", shape, "(windows,)")
        cells = tuple(len(axis.spans) for axis in attribution.axes)
        require(cells in ((), shape), f"{who}: the cells of its axes", cells, f"{shape}, as the grid has")
        check_places(who, (_moments(attribution),), (max(view.size, 1000),))

    def scores(self, grid: np.ndarray, attribution: Attribution) -> np.ndarray:
        """(size,) samples of the model's input: linear between the windows' centres, min-max."""
        view: TracesView = attribution.view
        start, end = view.span
        centres = (_moments(attribution) - start) / (end - start) * view.size
        return scale(cell_weights(centres, view.size) @ grid.astype(np.float64))

    def panels(self, attribution: Attribution, ident: str) -> list[Panel]:
        view: TracesView = attribution.view
        count = len(view.names)
        first, last = _ends(view)
        start, end = view.span
        lanes = _lanes(view)
        line = Markup('<polyline fill="none" vector-effect="non-scaling-stroke" points="{}"/>')
        points = [polyline_points(view.times - first, n + drop) for n, drop in enumerate(_drops(view))]
        curves = Markup("").join(map(line.format, points))
        shapes = Markup(
            '<defs><g id="{ident}-curves">{curves}</g></defs><use class="halo" href="#{ident}-curves"/>'
            '<use class="ink" href="#{ident}-curves"/>'
        ).format(ident=ident, curves=curves)
        lane = Markup('<div class="lane" style="top:{}"><span>{}</span></div>')
        named = zip(view.names, view.units, strict=True)
        names = [f"{name}, {unit}" if unit else name for name, unit in named]
        labels = Markup("").join(lane.format(per_cent(n, count), name) for n, name in enumerate(names))
        region = (start - first, 0, end - first, count)
        maps = mapped(attribution, lambda grid: _soft(attribution, grid)[None, None])
        return [
            Panel(
                picture=Markup(
                    '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" '
                    'aria-label="{}: the traces that are explained">{}</svg>'
                ).format(f"{last - first:.6g}", count, input_name(attribution), shapes),
                width=last - first,
                height=count,
                shape=7.5 / count,
                lines=True,
                parts=[Part(0, region, np.array([count / 2]), _moments(attribution) - first)],
                x=Ruler([0, last - first], [first, last], "s"),
                xticks=[(moment - first, format_time(moment, last)) for moment in time_ticks(first, last, 6)],
                yticks=[
                    (n + at, format_short(value))
                    for n, (low, high) in enumerate(lanes)
                    for at, value in ((_TOP, high), (_BOTTOM, low))
                ],
                overlay=labels,
                outlines=_outlines(attribution),
                soft=maps if _width(attribution) > 1 else None,
                caption=_smoothing(attribution),
            )
        ]

    def sketch(self, attribution: Attribution, longest: int) -> Markup:
        """The traces over a strip of heat."""
        view: TracesView = attribution.view
        first, last = _ends(view)
        start, end = view.span
        moments = first + (np.arange(longest) + 0.5) / longest * (last - first)
        centres = (_moments(attribution) - first) / (last - first) * longest
        weights = cell_weights(centres, longest)
        row = (weights @ _soft(attribution, attribution.balance))[None]
        seen = ((moments >= start) & (moments < end))[None]
        heat = blended(attribution, np.full((1, longest, 3), 16, np.uint8), row, seen)
        line = Markup('<polyline class="ink" vector-effect="non-scaling-stroke" points="{}"/>')
        points = [polyline_points(view.times - first, n + drop, 60) for n, drop in enumerate(_drops(view))]
        return Markup(
            '<div class="alone stage lines">{}<svg viewBox="0 0 {:.6g} {}" preserveAspectRatio="none" aria-hidden="true">{}</svg></div>'
        ).format(
            image_tag(png_url(heat), f"heat over the traces: {described(attribution)}", longest, 1),
            last - first,
            len(view.names),
            Markup("").join(map(line.format, points)),
        )

    def shaded(self, attribution: Attribution) -> np.ndarray:
        return _soft(attribution, attribution.balance)

    def places(self, attribution: Attribution) -> np.ndarray:
        moments = _moments(attribution)
        return np.stack([moments, np.full(len(moments), len(attribution.view.names) / 2)], 1)

    def draw(self, attribution: Attribution, axes: Axes) -> None:
        """The traces one under the other, on the map as a background."""
        from matplotlib.patheffects import withStroke

        view: TracesView = attribution.view
        count = len(view.names)
        first, last = _ends(view)
        start, end = view.span
        columns = 1000
        centres = (_moments(attribution) - start) / (end - start) * columns
        row = cell_weights(centres, columns) @ _soft(attribution, attribution.balance)
        place = (start, end, count, 0)
        axes.set_facecolor(_DARK)
        draw_heat(axes, row[None], attribution, aspect="auto", extent=place)
        for n, drop in enumerate(_drops(view)):
            (line,) = axes.plot(view.times, n + drop, color=_INK, linewidth=0.8)
            line.set_path_effects([withStroke(linewidth=2.2, foreground=_DARK)])
        draw_outlines(axes, _outlines(attribution), (last - first, count), offset=(first, 0.0))
        for left, right in ((first, start), (end, last)):
            if right > left:  # the model does not see this
                axes.axvspan(left, right, color="0.5", alpha=UNSEEN, linewidth=0)
        names = [f"{name}\n{unit}" for name, unit in zip(view.names, view.units, strict=True)]
        axes.set_yticks(np.arange(count) + 0.5, names, fontsize=8, parse_math=False)
        axes.set_xlim(first, last)
        axes.set_ylim(count, 0)
        grey = "; grey: not seen by the model" if first < start or end < last else ""
        axes.set_xlabel(f"seconds{grey}")


def _ends(view: TracesView) -> tuple[float, float]:
    """First and last moment shown, in seconds: all that was measured and all that the model sees."""
    return min(float(view.times[0]), view.span[0]), max(float(view.times[-1]), view.span[1])


def _outlines(attribution: Attribution) -> list[Outline]:
    """In lanes and seconds from the first moment shown."""
    view: TracesView = attribution.view
    (first, last), count = _ends(view), len(view.names)

    return outlines_over(
        attribution,
        view.regions,
        (("trace", 0, count), ("time", first, last)),
        lambda traces: traces.clip(0, count),
        lambda times: times.clip(first, last) - first,
    )


def _moments(attribution: Attribution) -> np.ndarray:
    """(windows,) centres in seconds."""
    if attribution.axes:
        return axis_centres(attribution.axes[-1])
    return cell_centres(attribution.grid.shape[-1], *attribution.view.span)


def _width(attribution: Attribution) -> int:
    """How many windows are shaded alike: an odd number, so that about 50 shades can be told apart."""
    return int(attribution.grid.shape[-1]) // 100 * 2 + 1


def _soft(attribution: Attribution, grid: np.ndarray) -> np.ndarray:
    """(windows,) twice the mean of a window and its neighbours; the outer windows count on beyond the ends."""
    width = _width(attribution)
    soft = grid.astype(np.float64).reshape(-1)
    for _ in range(2):
        soft = np.convolve(np.pad(soft, width // 2, mode="edge"), np.ones(width) / width, "valid")
    return soft


def _smoothing(attribution: Attribution) -> str:
    width = _width(attribution)
    return f"smooth: the shade is a running mean over {2 * width - 1} windows" if width > 1 else ""


def _lanes(view: TracesView) -> list[tuple[float, float]]:
    """(low, high) of each trace's lane: around its own values, and equally wide for all traces of a unit."""
    ends = [(np.nanmin(samples), np.nanmax(samples)) for samples in view.samples.astype(np.float64)]
    width: dict[str, float] = {}
    for (low, high), unit in zip(ends, view.units, strict=True):
        width[unit] = max(width.get(unit, 0.0), float(high - low))
    sums = [(low + high, width[unit]) for (low, high), unit in zip(ends, view.units, strict=True)]
    return [(float(both - wide) / 2, float(both + wide) / 2) for both, wide in sums]


def _drops(view: TracesView) -> list[np.ndarray]:
    """How far below the top of its lane each trace (n,) is, in lanes."""
    return [
        _BOTTOM - (_BOTTOM - _TOP) * (samples - low) / ((high - low) or 1.0)
        for samples, (low, high) in zip(view.samples.astype(np.float64), _lanes(view), strict=True)
    ]
