"""Heat on matplotlib axes, alike for every kind of input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from m2ib.renderers.base import heat_of, heat_range
from m2ib.renderers.looks import UNSEEN, Looks, looks_of, shaded
from m2ib.renderers.names import is_contrast

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.image import AxesImage

    from m2ib.contract.attribution import Attribution


def draw_heat(axes: Axes, shown: np.ndarray, attribution: Attribution, **place: Any) -> AxesImage:
    """``shown`` (height, width) over what is on the axes, NaN left out, with a colour bar.

    place  further arguments of ``imshow``
    """
    bare, looks = np.isnan(shown), looks_of(axes)
    filled = np.ma.array(np.where(bare, np.nanmin(shown), shown), mask=bare)
    low, high = looks.range(attribution, shaded(attribution))
    colours, opaque = looks.heat(signed=attribution.signed), looks.bar(signed=attribution.signed)
    heat = axes.imshow(filled, cmap=colours, vmin=low, vmax=high, **place)
    whole = attribution.segments is not None and attribution.segments.hidden
    of = "of a cell's unit" if whole else "per position"
    colour_bar(axes, heat, attribution, f"{of}{less(attribution)}", opaque)
    return heat


def colour_bar(axes: Axes, heat: AxesImage, attribution: Attribution, label: str, cmap: Colormap) -> None:
    """Beside the axes, in these colours; an arrow where values lie beyond its end."""
    from matplotlib.cm import ScalarMappable

    values, (low, high) = shaded(attribution), heat.get_clim()
    beyond = (
        float(values.min()) < low - _ROUNDING * abs(low),
        float(values.max()) > high + _ROUNDING * abs(high),
    )
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[
        beyond
    ]
    colours = ScalarMappable(heat.norm, cmap)
    place = axes.inset_axes((1.02, 0.0, 0.035, 1.0))  # as tall as what is beside it
    bar = axes.figure.colorbar(colours, cax=place, extend=extend)
    bar.set_label(f"{attribution.unit or attribution.method} {label}", parse_math=False)
    heat.colorbar = bar


_ROUNDING = 1e-4


def less(attribution: Attribution) -> str:
    """What is taken off the values of a signed map, for a label; "" for nothing."""
    if attribution.against is None:
        return ""
    other = "for the other" if is_contrast(attribution) else "against it"
    return f":\nfor this one, less {other}"


def blended(attribution: Attribution, picture: np.ndarray, shown: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """A picture (height, width, 3) uint8 under heat, as a page shows it.

    picture  or a part of it
    shown    (height, width) of the map's ``balance``
    seen     bool (height, width): what the model looks at; the rest lies under grey
    """
    levels = heat_of(attribution, shown, heat_range(attribution, attribution.balance))
    heat = np.asarray(Looks().heat(signed=attribution.signed).colors, float)  # (levels, 4)
    table = np.append(heat, [[0.5, 0.5, 0.5, UNSEEN]], 0)
    place = np.where(seen, np.rint(levels * (len(table) - 2)), len(table) - 1).astype(
        np.intp
    )  # (height, width)
    opacity = table[:, 3:].astype(np.float32)
    colours = (255 * table[:, :3]).astype(np.float32) * opacity
    return np.asarray(np.rint(picture * (1 - opacity)[place] + colours[place]), np.uint8)


def dimmed(picture: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """A picture (height, width, 3) uint8 under grey where the model does not look, as on a page."""
    return np.where(seen[..., None], picture, np.rint((1 - UNSEEN) * picture + UNSEEN * 127.5)).astype(
        np.uint8
    )


def annotate_below(axes: Axes, text: str) -> None:
    """A line under axes without ticks."""
    place: dict[str, Any] = {"xycoords": "axes fraction", "ha": "center", "va": "top"}
    axes.annotate(text, (0.5, -0.02), fontsize=8, parse_math=False, **place)


def heat_pixels(scores: np.ndarray, *, signed: bool = False) -> np.ndarray:
    """(height, width) in [0, 1] -> (height, width, 3) uint8 in the hues of heat, or of a signed map."""
    return np.asarray(Looks().bar(signed=signed)(scores, bytes=True)[..., :3])


def grey(pixels: np.ndarray, colour: float = 0.0) -> np.ndarray:
    """(..., 3) uint8 without its colours, or with so much of them: as CSS's ``grayscale`` and ``saturate`` have it."""
    light = (pixels @ _LUMA)[..., None]
    return np.asarray(np.rint(light + colour * (pixels - light)).clip(0, 255), np.uint8)


_LUMA = np.array([0.2126, 0.7152, 0.0722])
