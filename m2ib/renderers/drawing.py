"""Heat on matplotlib axes, alike for every kind of input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from m2ib.renderers.base import heat_of, heat_range
from m2ib.renderers.names import is_contrast
from m2ib.renderers.plotting import library

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.image import AxesImage

    from m2ib.contract.attribution import Attribution


# The hues of the page: blue for the other, orange for this one.
_BOTH_WAYS = ("#00328c", "#006ee6", "#f7f7f7", "#eb8200", "#964600")


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
    low, high = heat_range(attribution, filled)
    cmap: Any = both_ways() if attribution.signed else "YlOrRd" if blank else "inferno"
    if not (attribution.signed or blank):
        opacity = 0.35 + 0.5 * heat_of(attribution, filled)
    heat = axes.imshow(filled, alpha=np.where(bare, 0.0, opacity), cmap=cmap, vmin=low, vmax=high, **place)
    whole = attribution.segments is not None and attribution.segments.hidden
    label = f"{unit} of a cell's unit" if whole else f"{unit} per position"
    label += less(attribution)
    axes.figure.colorbar(heat, ax=axes, fraction=0.046, pad=0.02).set_label(label)
    return heat


def less(attribution: Attribution) -> str:
    """What is taken off the values of a signed map, for a label; "" for nothing."""
    if attribution.against is None:
        return ""
    other = "for the other" if is_contrast(attribution) else "against it"
    return f":\nfor this one, less {other}"


def blended(attribution: Attribution, picture: np.ndarray, shown: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """A picture (height, width, 3) uint8 under heat, as a page shows it; of a signed map in two hues.

    picture  or a part of it
    shown    (height, width) of the map's ``balance``
    seen     bool (height, width): what the model looks at; the rest lies under grey
    """
    steps = np.linspace(0, 1, 256)
    low, high = heat_range(attribution, attribution.balance)
    levels = (shown - low) / ((high - low) or 1.0) + (0.5 if attribution.signed and high == low else 0.0)
    if attribution.signed:
        colours, opacity = both_ways()(steps)[:, :3], 1.4 * np.abs(2 * steps - 1) ** 0.7
    else:
        colours, opacity = library().colormaps["inferno"](0.1 + 0.9 * steps)[:, :3], 0.12 + 0.95 * steps
    opacity = np.append(_STRENGTH * opacity.clip(0, 1), _UNSEEN)
    colours = np.append(colours, [[0.5] * 3], 0)
    place = np.where(seen, np.rint(levels.clip(0, 1) * 255), 256).astype(np.intp)  # (height, width)
    heat = (255 * colours * opacity[:, None]).astype(np.float32)
    found = picture * (1 - opacity).astype(np.float32)[place][..., None] + heat[place]
    return np.asarray(np.rint(found), np.uint8)


_STRENGTH, _UNSEEN = 0.75, 0.55  # opacity of heat on a page, and of the grey over what is not seen


def both_ways() -> LinearSegmentedColormap:
    """Blue below 0, orange above it."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("both ways", _BOTH_WAYS)


def annotate_below(axes: Axes, text: str) -> None:
    """A line under axes without ticks."""
    place: dict[str, Any] = {"xycoords": "axes fraction", "ha": "center", "va": "top"}
    axes.annotate(text, (0.5, -0.02), fontsize=8, parse_math=False, **place)


def heat_pixels(scores: np.ndarray, *, signed: bool = False) -> np.ndarray:
    """(height, width) in [0, 1] -> (height, width, 3) uint8 in the hues of heat, or of a signed map."""
    colours = both_ways() if signed else library().colormaps["inferno"]
    return np.asarray(colours(scores, bytes=True)[..., :3])


def grey(pixels: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 without its colours."""
    return np.repeat(pixels.mean(-1, keepdims=True).astype(np.uint8), 3, -1)
