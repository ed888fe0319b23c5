"""Figures of several explanations: one pair in several ways, and many pairs in rows."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from m2ib.contract.attribution import Attribution
from m2ib.page.figure import draw_map, write_text
from m2ib.page.titles import settings_of
from m2ib.renderers.looks import Looks, measure_of
from m2ib.renderers.plotting import in_own_style, map_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches: a word's bar, and the least and greatest height of anything.
_WORD, _LEAST, _TALLEST = 0.24, 0.9, 300
_LINE = 22  # characters of a caption beside its row


@dataclass(frozen=True)
class Row:
    """Maps beside each other, what stands before them, and below that in grey; a map may be lacking."""

    caption: str
    detail: str
    maps: Sequence[Attribution | None]


@in_own_style
def draw_rows(
    rows: Sequence[Row],
    heads: Sequence[str],
    *,
    swept: str | None = None,
    title: str = "",
    cmap: str | None = None,
    scale: Any = "own",
) -> Figure:
    """Rows of maps, each under its method and settings.

    heads        over the columns
    swept        a setting that the heads tell already
    title        over all of them
    cmap, scale  see :meth:`m2ib.renderers.looks.Looks.of`
    """
    shown = [each for row in rows for each in row.maps if each is not None]
    count, looks = len(heads), Looks.of(shown, cmap, scale)
    wide = 3.4 if count < 4 else 2.7  # inches
    longest = min(max(len(text) for row in rows for text in (row.caption, row.detail)), _LINE)
    before = 0.5 + 0.075 * longest  # inches
    figure = map_figure(before + count * (wide + 0.75), 4, looks)
    grid = figure.add_gridspec(len(rows), 1 + count, width_ratios=[before, *[wide + 0.75] * count])
    heights = []
    for place, row in enumerate(rows):
        told = [_settings_lines(each, swept) for each in row.maps]
        lines = max(map(len, told))
        _write_caption(figure.add_subplot(grid[place, 0]), row)
        tall = _LEAST
        for column, attribution in enumerate(row.maps):
            axes = figure.add_subplot(grid[place, 1 + column])
            if attribution is None:
                axes.set_axis_off()
                continue
            draw_map(attribution, axes)
            if attribution.words:
                axes.locator_params(axis="x", nbins=4)
            if column and attribution.words:
                axes.tick_params(labelleft=False)  # they stand before the row's first bars
            _write_head(axes, heads[column] if place == 0 else "", told[column], lines)
            tall = max(tall, _height(attribution, axes, wide))
        heights.append(tall + 0.35)
    grid.set_height_ratios(heights)
    figure.set_figheight(min(sum(heights) + 0.9, _TALLEST))
    if title:
        figure.suptitle(title, fontsize=11)
    if len(shown) > 1:
        figure.supxlabel(_scales(shown, looks, scale), fontsize=8, color="0.35")
    return figure


def _write_caption(axes: Axes, row: Row) -> None:
    axes.set_axis_off()
    lines = textwrap.wrap(row.caption, _LINE, max_lines=8, placeholder=" …") or [""]
    how: dict[str, Any] = {"transform": axes.transAxes, "ha": "left", "clip_on": False}
    write_text(
        lambda text, **look: axes.text(0, 0.5, text, **look),
        "\n".join(lines),
        fontsize=10,
        va="bottom",
        **how,
    )
    write_text(
        lambda text, **look: axes.text(0, 0.47, text, **look),
        row.detail,
        fontsize=8,
        va="top",
        color="0.35",
        **how,
    )


def _settings_lines(attribution: Attribution | None, swept: str | None) -> list[str]:
    return [] if attribution is None else textwrap.wrap(settings_of(attribution, (swept,)), 44)


def _write_head(axes: Axes, head: str, told: Sequence[str], lines: int) -> None:
    """The method, and under it in small letters its settings, in so many lines at most."""
    write_text(axes.set_title, "\n".join(told) or " ", fontsize=8, color="0.25")
    if head:
        place: dict[str, Any] = {
            "xytext": (0, 6 + 11 * lines),
            "textcoords": "offset points",
            "ha": "center",
            "va": "bottom",
        }
        write_text(
            lambda text, **look: axes.annotate(text, (0.5, 1), xycoords="axes fraction", **place, **look),
            head, fontsize=11, fontweight="bold", annotation_clip=False,
        )  # fmt: skip


def _height(attribution: Attribution, axes: Axes, wide: float) -> float:
    """Inches that a map needs: as its picture is shaped, or enough for its words."""
    if attribution.words:
        return 0.5 + _WORD * len(attribution.words)
    if axes.get_aspect() == "auto":
        return 0.75 * wide
    return min(float(axes.get_data_ratio()), 2.0) * wide


def _scales(shown: Sequence[Attribution], looks: Looks, scale: Any) -> str:
    """Which maps can be compared by their colours, in words."""
    if scale == "own":
        return "Each map has a scale of its own: compare where it is high, not how high."
    if scale != "shared":
        return f"Heat is full at {scale:g} in every map; an arrow on a colour bar: there are values beyond."
    units = {(modality, unit): None for modality, unit, _ in map(measure_of, shown)}
    if len(units) == len({modality for modality, _ in units}):
        return "All maps of one kind of input have one scale."
    return "Maps of one kind of input and unit have one scale; those of another unit have another."
