"""Videos: a strip of frames, each under its heatmap."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from m2ib.contract.schema import check_array, require
from m2ib.renderers.base import HeatRenderer, check_places, check_region, check_seen
from m2ib.renderers.drawing import annotate_below, blended, dimmed, draw_heat, grey
from m2ib.renderers.formatting import format_time
from m2ib.renderers.interpolation import cell_centres, resample
from m2ib.renderers.media import image_tag, jpeg_url
from m2ib.renderers.names import input_name
from m2ib.renderers.panels import Panel, Part, Region, heat_figure, sketch_tag

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from m2ib.contract.attribution import Attribution


_FRAMES = 2**12


@dataclass(frozen=True, eq=False)
class FilmView:
    """What is shown of a video.

    frames  (moments, frames, height, width, 3) uint8: the frames that the model sees, by moment in the video
    times   (moments, frames) seconds from the beginning
    parts   for each clip of the model's input, in order: its moment, and the region (left, top, right,
            bottom) of the frames that it shows, in their pixels. Clips of one moment show different regions
    size    (rows, columns) of the model's input
    read    (rows, columns) of the model's input that a region shows, from the first on; None: all of them
    """

    frames: np.ndarray
    times: np.ndarray
    parts: tuple[tuple[int, Region], ...]
    size: tuple[int, int]
    read: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        check_array("FilmView: frames", self.frames, (None, None, None, None, 3), "u")
        require(bool(self.frames.size), "FilmView: frames", self.frames.shape, "of one frame or more")
        check_array("FilmView: times", self.times, self.frames.shape[:2])
        check_seen("FilmView", self)
        count = math.prod(self.frames.shape[:2])
        require(
            count <= _FRAMES, "FilmView: frames", count, f"{_FRAMES:,} at most; a page has a picture of each"
        )
        moments, _, height, width, _ = self.frames.shape
        for moment, region in self.parts:
            require(
                0 <= moment < moments,
                "FilmView: the moment of a part",
                moment,
                f"one of {moments}, from 0 on",
            )
            check_region("FilmView", region)
            left, top, right, bottom = region
            seen = left < width - 0.5 and right > 0.5 and top < height - 0.5 and bottom > 0.5
            require(seen, "FilmView: region", region, f"within the frames of {width}x{height}")
        shown = {moment for moment, _ in self.parts}
        require(len(shown) == moments, "FilmView: the moments of parts", sorted(shown), f"all of {moments}")


class FilmRenderer(HeatRenderer):
    """A grid (clips, rows, cols) over a :class:`FilmView`, or (rows, cols) for one clip."""

    name = "film"
    view_type = FilmView

    def check_attribution(self, attribution: Attribution) -> None:
        super().check_attribution(attribution)
        maps, parts = math.prod(attribution.grid.shape[:-2]), len(attribution.view.parts)
        require(
            maps == parts,
            f"{attribution.modality}, film: its maps",
            maps,
            f"{parts}, one for each part of the view",
        )
        height, width = attribution.view.frames.shape[2:4]
        rows, columns = attribution.grid.shape[-2:]
        check_places(f"{attribution.modality}, film", (np.zeros(rows), np.zeros(columns)), (height, width))

    def fragment(self, attribution: Attribution, ident: str) -> str:
        view: FilmView = attribution.view
        rows, cols = attribution.grid.shape[-2:]
        moments, frames, height, width = view.frames.shape[:4]
        panels = []
        whole = float(view.times.max())
        for moment in range(moments):
            parts = [
                Part.tiled((rows, cols), region, number)
                for number, (at, region) in enumerate(view.parts)
                if at == moment
            ]
            for frame in range(frames):
                time = format_time(view.times[moment, frame], whole, 2)
                source = jpeg_url(view.frames[moment, frame])
                panels.append(
                    Panel(
                        picture=image_tag(
                            source, f"{input_name(attribution)}: the video at {time}", width, height
                        ),
                        width=width,
                        height=height,
                        parts=parts,
                        note=time,
                        caption=time if frame else f"clip {moment + 1} of {moments}: {time}",
                    )
                )
        return heat_figure(
            attribution,
            ident,
            panels,
            kind="film",
            label="heatmap over the video",
            together=frames,
            under=Markup('<p class="hint">{}</p>').format(_sharing(view)),
        )

    def sketch(self, attribution: Attribution, longest: int) -> Markup:
        """The first frame of the clip in the middle."""
        view: FilmView = attribution.view
        moment = len(view.frames) // 2
        frame = view.frames[moment, 0]
        heat = _mean_map(attribution, attribution.balance, moment)
        shown = grey(frame) if attribution.signed else frame
        pixels = blended(attribution, shown, np.nan_to_num(heat), ~np.isnan(heat))
        return sketch_tag(attribution, pixels, longest, stretched=False)

    def draw(self, attribution: Attribution, axes: Axes) -> None:
        """The first frame of each moment (of at most six, from beginning to end), row by row."""
        view: FilmView = attribution.view
        moments, _, height, width = view.frames.shape[:4]
        chosen = _chosen(view)
        columns = min(3, len(chosen))
        gap = max(1, width // 40)
        whole = float(view.times.max())
        rows = -(-len(chosen) // columns)
        size = (rows * (height + 4 * gap) - gap, columns * (width + gap) - gap)
        paper = np.full((*size, 3), 255, np.uint8)
        heat = np.full(size, np.nan)
        for n, moment in enumerate(chosen):
            top, left = _corner(view, n)
            frame = view.frames[moment, 0]
            here = slice(top, top + height), slice(left, left + width)
            heat[here] = _mean_map(attribution, attribution.balance, int(moment))
            paper[here] = dimmed(grey(frame) if attribution.signed else frame, ~np.isnan(heat[here]))
            time = format_time(view.times[moment, 0], whole, 2)
            axes.text(left, top + height + gap, time, fontsize=8, va="top")
        axes.imshow(paper)
        draw_heat(axes, heat, attribution)
        axes.set_xlim(-0.5, size[1] - 0.5)
        axes.set_ylim(size[0] + 3 * gap - 0.5, -0.5)
        axes.set_axis_off()
        first = "the first frame of each clip" if moments == len(chosen) else "the first frame of some clips"
        annotate_below(axes, first)

    def places(self, attribution: Attribution) -> np.ndarray:
        """In the shown frame that is nearest in time."""
        view: FilmView = attribution.view
        rows, columns = attribution.grid.shape[-2:]
        found = []
        for moment, (left, top, right, bottom) in view.parts:
            down, across = _corner(view, int(np.abs(_chosen(view) - moment).argmin()))
            x, y = across + cell_centres(columns, left, right), down + cell_centres(rows, top, bottom)
            found.append(np.stack([*np.meshgrid(x, y)], -1).reshape(-1, 2))
        return np.concatenate(found) - 0.5


def _chosen(view: FilmView) -> np.ndarray:
    """Which moments a figure shows: six at most, from beginning to end."""
    moments = len(view.frames)
    return np.unique(np.linspace(0, moments - 1, min(moments, 6)).round().astype(int))


def _corner(view: FilmView, number: int) -> tuple[int, int]:
    """Top and left of the frame that is shown as the n-th."""
    height, width = view.frames.shape[2:4]
    columns, gap = min(3, len(_chosen(view))), max(1, width // 40)
    return number // columns * (height + 4 * gap), number % columns * (width + gap)


def _sharing(view: FilmView) -> str:
    """What the maps of a clip have in common."""
    moments, frames = view.frames.shape[:2]
    windows = len(view.parts) // moments
    said = ["the frames of a clip share one map"] if frames > 1 else []
    if windows > 1:
        said += [f"the model sees {windows} windows of each clip; where they overlap, the map is their mean"]
    return "; ".join(said)


def _mean_map(attribution: Attribution, grids: np.ndarray, moment: int) -> np.ndarray:
    """(height, width) of a frame: the mean of the maps that show it, NaN where none does."""
    view: FilmView = attribution.view
    height, width = view.frames.shape[2:4]
    grids = grids.reshape(-1, *grids.shape[-2:])  # (clips, rows, cols)
    total, count = np.zeros((height, width)), np.zeros((height, width))
    for grid, (at, (left, top, right, bottom)) in zip(grids, view.parts, strict=True):
        if at != moment:
            continue
        y, x = cell_centres(grid.shape[0], top, bottom), cell_centres(grid.shape[1], left, right)
        rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5
        seen = np.outer((rows >= top) & (rows < bottom), (columns >= left) & (columns < right))
        total += np.where(seen, resample(grid, y, x, (height, width)), 0.0)
        count += seen
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
