"""Heat on matplotlib axes, alike for every kind of input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from m2ib.renderers.base import heat_of, heat_range
from m2ib.renderers.plotting import library

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.image import AxesImage

    from m2ib.contract.attribution import Attribution


# The hues of the page: blue for the other, orange for this one.
_BOTH_WAYS = ("#00328c", "#006ee6", "#f7f7f7", "#eb8200", "#964600")


def shown_grid(attribution: Attribution) -> np.ndarray:
    """What a figure shows: the grid; of a contrast, what speaks for this less what speaks for the other."""
    grid, against = attribution.grid, attribution.against
    return grid if against is None else np.asarray(grid - against)


def draw_heat(
    axes: Axes, shown: np.ndarray, attribution: Attribution, *, blank: bool = False, **place: Any
) -> AxesImage:
    """``shown`` (height, width) over what is on the axes, NaN left out, with a colour bar.

    blank  there is white paper and no picture behind it
    place  further arguments of ``imshow``
    """
    bare = np.isnan(shown)
    filled = np.where(bare, np.nanmin(shown), shown)
    opacity = np.full(filled.shape, 0.75)
    unit = attribution.unit or attribution.method
    if attribution.against is not None:
        most = float(np.abs(filled).max()) or 1.0
        colours: dict[str, Any] = {"cmap": _both_ways(), "vmin": -most, "vmax": most}
        label = f"{unit} per position:\nfor this one, less for the other"
    else:
        low, high = heat_range(attribution, filled)
        colours = {"cmap": "YlOrRd" if blank else "inferno", "vmin": low, "vmax": high}
        opacity = opacity if blank else 0.35 + 0.5 * heat_of(attribution, filled)
        whole = attribution.segments is not None and attribution.segments.hidden
        label = f"{unit} of a cell's unit" if whole else f"{unit} per position"
    heat = axes.imshow(filled, alpha=np.where(bare, 0.0, opacity), **colours, **place)
    axes.figure.colorbar(heat, ax=axes, fraction=0.046, pad=0.02).set_label(label)
    return heat


def blended(
    attribution: Attribution, picture: np.ndarray, maps: Sequence[np.ndarray], seen: np.ndarray
) -> np.ndarray:
    """A picture (height, width, 3) uint8 under heat, as a page shows it; of a contrast in two hues, by each side's lead.

    picture  or a part of it
    maps     (height, width) of the grid, and of ``against`` where there is one
    seen     bool (height, width): what the model looks at; the rest lies under grey
    """
    steps = np.linspace(0, 1, 256)
    grid, against = attribution.grid, attribution.against
    if against is None:
        low, high = heat_range(attribution, grid)
        levels = (maps[0] - low) / ((high - low) or 1.0)
        colours, opacity = library().colormaps["inferno"](0.1 + 0.9 * steps)[:, :3], 0.12 + 0.95 * steps
    else:
        levels = 0.5 + (maps[0] - maps[1]) / (float(np.abs(grid - against).max()) or 1.0) / 2
        colours, opacity = _both_ways()(steps)[:, :3], 1.4 * np.abs(2 * steps - 1) ** 0.7
    opacity = np.append(_STRENGTH * opacity.clip(0, 1), _UNSEEN)
    colours = np.append(colours, [[0.5] * 3], 0)
    place = np.where(seen, np.rint(levels.clip(0, 1) * 255), 256).astype(np.intp)  # (height, width)
    heat = (255 * colours * opacity[:, None]).astype(np.float32)
    shown = picture * (1 - opacity).astype(np.float32)[place][..., None] + heat[place]
    return np.asarray(np.rint(shown), np.uint8)


_STRENGTH, _UNSEEN = 0.75, 0.55  # opacity of heat on a page, and of the grey over what is not seen


def _both_ways() -> LinearSegmentedColormap:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("both ways", _BOTH_WAYS)


def annotate_below(axes: Axes, text: str) -> None:
    """A line under axes without ticks."""
    place: dict[str, Any] = {"xycoords": "axes fraction", "ha": "center", "va": "top"}
    axes.annotate(text, (0.5, -0.02), fontsize=8, parse_math=False, **place)


def heat_pixels(scores: np.ndarray) -> np.ndarray:
    """(height, width) in [0, 1] -> (height, width, 3) uint8 in the hues of heat."""
    return np.asarray(library().colormaps["inferno"](scores, bytes=True)[..., :3])


def grey(pixels: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 without its colours."""
    return np.repeat(pixels.mean(-1, keepdims=True).astype(np.uint8), 3, -1)
