"""In which colours a map is shown, and between which limits: the same on a page and in a figure.

``m2ib/page/heatmap.js`` and ``m2ib/page/page.css`` have the colours once more, for what a page paints itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from m2ib.contract.abilities import Shading
from m2ib.contract.plotting import library
from m2ib.errors import SettingError, did_you_mean
from m2ib.renderers.base import Limits, heat_range

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import ListedColormap

    from m2ib.contract.attribution import Attribution

# Of heat, from nothing to full; of a signed map, of what speaks for, and of what speaks against.
RAMP = (
    (20, 11, 54), (87, 16, 110), (148, 38, 103), (203, 65, 73), (242, 107, 34), (252, 165, 10), (246, 215, 70), (252, 255, 164)
)  # fmt: skip
FOR = ((150, 70, 0), (235, 130, 0), (255, 196, 70))
AGAINST = ((0, 50, 140), (0, 110, 230), (120, 200, 255))
SHADE, SHADE_AGAINST = (232, 150, 40), (80, 160, 245)  # of words and numbers, on white paper
# Opacity: of full heat, of the grey over what is not seen, of a full shade.
STRENGTH, UNSEEN, SHADED = 0.75, 0.55, 0.85
_LEVELS = 1025  # an odd number, so that one of them is 0 in a signed map

Measure = tuple[str, str, bool]
Scale: TypeAlias = Literal["own", "shared"] | float


def measure_of(attribution: Attribution) -> Measure:
    """What maps have in common whose values can be compared: the kind of input, the unit, and whether they are signed."""
    return attribution.modality, attribution.unit or attribution.method, attribution.signed


@dataclass(frozen=True)
class Looks:
    """How the maps of a figure are shown.

    cmap    matplotlib's name of a colour map; None: the page's colours
    limits  between which values, by what is measured; of all others each map's own
    """

    cmap: str | None = None
    limits: Mapping[Measure, Limits] = field(default_factory=dict)

    @classmethod
    def of(cls, shown: Iterable[Attribution], cmap: Any = None, scale: Any = "own") -> Looks:
        """Raises :class:`SettingError` for a colour map that matplotlib has not, and for what is no scale."""
        known = library().colormaps
        if cmap is not None and (not isinstance(cmap, str) or cmap not in known):
            raise SettingError(
                f"figure: the colour map {cmap!r:.60} is unknown{did_you_mean(cmap, sorted(known))} matplotlib has viridis, cividis, "
                "magma, inferno, coolwarm, ...; None gives the page's colours"
            )
        limits: dict[Measure, Limits] = {}
        if scale == "own":
            return cls(cmap)
        number = scale if isinstance(scale, (int, float)) and not isinstance(scale, bool) else 0
        if scale != "shared" and not 0 < number < np.inf:
            raise SettingError(
                f"figure: the scale {scale!r:.60} is not possible; give 'own' (each map its own), 'shared' (one for all maps of a unit), "
                "or a number > 0, at which heat is full"
            )
        for each in shown:
            measure, values = measure_of(each), shaded(each)
            if not values.size:
                continue
            low, high = heat_range(each, values)
            if scale == "shared":
                least, most = limits.get(measure, (low, high))
                limits[measure] = min(least, low), max(most, high)
            else:
                limits[measure] = (-float(number) if each.signed else 0.0), float(number)
        return cls(cmap, limits)

    def range(self, attribution: Attribution, values: np.ndarray) -> Limits:
        """Between which the heat of ``values`` runs."""
        return self.limits.get(measure_of(attribution)) or heat_range(attribution, values)

    def heat(self, *, signed: bool) -> ListedColormap:
        """Of what lies over a picture, with its opacity."""
        levels = _levels(signed)
        return _listed(self._colours(levels, signed), STRENGTH * _opacity(levels, signed))

    def bar(self, *, signed: bool) -> ListedColormap:
        """The same for its colour bar, opaque."""
        levels = _levels(signed)
        colours = self._colours(levels, signed)
        return _listed(
            _on_white(colours, _opacity(levels, signed)) if signed and self.cmap is None else colours
        )

    def shade(self, *, signed: bool) -> ListedColormap:
        """Of words and numbers, on white paper."""
        levels = _levels(signed)
        if self.cmap is not None:
            return _listed(self._colours(levels, signed))
        hues = np.where(levels[:, None] < 0, np.array(SHADE_AGAINST), np.array(SHADE)) / 255
        return _listed(_on_white(hues, SHADED * np.abs(levels)))

    def _colours(self, levels: np.ndarray, signed: bool) -> np.ndarray:
        """(levels, 3) in [0, 1]."""
        if self.cmap is not None:
            shares = (levels + 1) / 2 if signed else levels
            return np.asarray(library().colormaps[self.cmap](shares)[:, :3])
        if not signed:
            return _along(RAMP, levels)
        return np.where(levels[:, None] < 0, _along(AGAINST, -levels), _along(FOR, levels))


def shaded(attribution: Attribution) -> np.ndarray:
    """The values whose least and greatest are the ends of a map's own scale: a text's are those of its words."""
    renderer = attribution.renderer
    found: np.ndarray = renderer.shaded(attribution) if isinstance(renderer, Shading) else attribution.balance
    return found


def looks_of(axes: Axes) -> Looks:
    """Those of the figure that they are on."""
    found = getattr(axes.get_figure(), "looks", None)
    return found if isinstance(found, Looks) else Looks()


def _levels(signed: bool) -> np.ndarray:
    return np.linspace(-1.0 if signed else 0.0, 1.0, _LEVELS)


def _opacity(levels: np.ndarray, signed: bool) -> np.ndarray:
    """As heatmap.js has it, before the strength."""
    sizes = np.abs(levels)
    return np.asarray(np.minimum(1, 1.4 * sizes**0.7 if signed else 0.12 + 0.95 * sizes))


def _along(ramp: tuple[tuple[int, int, int], ...], levels: np.ndarray) -> np.ndarray:
    """(levels, 3) in [0, 1]: linear between the colours of a ramp."""
    places = np.linspace(0, 1, len(ramp))
    return np.stack([np.interp(levels, places, channel) for channel in np.array(ramp).T / 255], 1)


def _on_white(colours: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    return np.asarray(1 + (colours - 1) * opacity[:, None], float)


def _listed(colours: np.ndarray, opacity: np.ndarray | None = None) -> ListedColormap:
    """Nothing where there is no value, as any of matplotlib's."""
    from matplotlib.colors import ListedColormap

    return ListedColormap(colours if opacity is None else np.column_stack([colours, opacity]))
