"""What renderers share: the scale of scores, and figures of heat with outlined regions."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from markupsafe import Markup

from m2ib.contract.regions import Region, check_axes
from m2ib.contract.schema import MOST, bounded, require
from m2ib.renderers.interpolation import even_spans, resample
from m2ib.renderers.names import input_name
from m2ib.renderers.panels import Panel, heat_figure, heat_script, picture_figure
from m2ib.renderers.view_storage import restore_view, store_view

if TYPE_CHECKING:
    from m2ib.contract.attribution import Attribution


def scale(values: np.ndarray) -> np.ndarray:
    """Min-max to [0, 1]; zeros for a constant array. float32, the shape of ``values``."""
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if not high > low:
        return np.zeros(values.shape, np.float32)
    return ((values.astype(np.float64) - low) / (high - low)).astype(np.float32)


def seen_size(view: Any) -> tuple[int, int]:
    """(rows, columns) of the model's input that a view's region shows."""
    rows, columns = getattr(view, "read", None) or view.size
    return rows, columns


def check_seen(who: str, view: Any) -> None:
    """That the model's input has a usable ``size``, of which ``read`` is seen. Raises :class:`AdapterError`."""
    sizes = [view.size] if view.read is None else [view.size, view.read]
    for sides in sizes:
        ok = len(sides) == 2 and min(sides) > 0 and math.prod(sides) <= MOST
        require(
            ok,
            f"{who}: the size of the model's input",
            sides,
            f"(rows, columns) with {MOST:,} pixels at most",
        )


def check_region(who: str, region: Sequence[float]) -> None:
    """Raises :class:`AdapterError` for (left, top, right, bottom) without an area, or a vast one."""
    ok = len(region) == 4 and bounded(region) and region[0] < region[2] and region[1] < region[3]
    require(
        ok and (region[2] - region[0]) * (region[3] - region[1]) <= MOST,
        f"{who}: region",
        region,
        f"(left, top, right, bottom), left < right and top < bottom, with {MOST:,} pixels at most",
    )


def check_places(who: str, cells: Sequence[np.ndarray], sizes: Sequence[int], maps: int = 1) -> None:
    """That maps can be drawn whose cells lie at these places (cells,) or (cells, 2) of sides so long.

    Raises :class:`AdapterError`.
    """
    for places, size in zip(cells, sizes, strict=True):
        require(bool(places.size), f"{who}: its map", "empty", "one of a cell or more")
        require(bounded([np.abs(places).max()]), f"{who}: the places of cells", places, "finite numbers")
        require(len(places) * size <= MOST, f"{who}: {len(places)} cells along", size, "fewer")
    values = maps * math.prod(sizes)
    require(
        values <= MOST, f"{who}: its maps at the model's input size", values, f"of {MOST:,} values at most"
    )


def _beyond(cells: np.ndarray, length: int) -> np.ndarray:
    """(length,) bool: the pixels whose centres no cell covers."""
    centres = np.arange(length) + 0.5
    return np.asarray((centres < cells.min()) | (centres > cells.max()))


Limits = tuple[float, float]


def heat_range(attribution: Attribution, values: np.ndarray) -> Limits:
    """Where the heat of ``values`` begins, and where it is full: see ``Attribution.full``; of a signed map alike on both sides of 0."""
    low, high = float(values.min()), float(values.max())
    if attribution.signed:
        return -max(-low, high), max(-low, high)
    return (low, high) if attribution.full is None else (min(low, 0.0), max(high, attribution.full))


def heat_of(attribution: Attribution, values: np.ndarray, limits: Limits | None = None) -> np.ndarray:
    """``values`` as heat in [0, 1], of a signed map with 0 at .5; alike where there is no range.

    limits  where it begins and where it is full; None: see :func:`heat_range`
    """
    low, high = limits or (heat_range(attribution, values) if values.size else (0.0, 0.0))
    nothing = 0.5 if attribution.signed else 0.0
    return np.asarray((values - low) / (high - low) if high > low else np.full(values.shape, nothing)).clip(
        0, 1
    )


def shade_style(attribution: Attribution, shade: float) -> str:
    """CSS of something shaded by its heat in [0, 1]; below the middle of a signed map in the other hue, and from the other end."""
    if not attribution.signed:
        return f"--value:{shade:.3f}"
    value = 2 * shade - 1
    return f"--value:{abs(value):.3f}" + (";--shade:var(--against);--way:left" if value < 0 else "")


class HeatRenderer(ABC):
    """Heat over a view that is a dataclass with the ``size`` (rows, columns) of the model's input."""

    name: ClassVar[str]
    view_type: ClassVar[type]

    @property
    def script(self) -> str:
        return heat_script()

    def scores(self, grid: np.ndarray, attribution: Attribution) -> np.ndarray:
        """(rows, columns) of the model's input, or (maps, rows, columns): bilinear, then min-max over all.

        What lies beyond the last cell, at the end of an input that whole cells do not fill, is not read and has 0.
        """
        size = attribution.view.size
        rows, columns = self.cells(attribution, grid.shape[-2:])
        y, x = rows.mean(1), columns.mean(1)
        maps = [resample(each, y, x, size) for each in grid.reshape(-1, *grid.shape[-2:])]
        scores = scale(np.stack(maps).reshape(*grid.shape[:-2], *size))
        scores[..., _beyond(rows, size[0]), :] = 0
        scores[..., _beyond(columns, size[1])] = 0
        return scores

    def check_attribution(self, attribution: Attribution) -> None:
        grid, who = attribution.grid, f"{attribution.modality}, {self.name}"
        require(
            grid.ndim in (2, 3),
            f"{who}: the grid's shape",
            grid.shape,
            "(rows, columns) or (maps, rows, columns)",
        )
        cells = self.cells(attribution, grid.shape[-2:]) if grid.size else (grid, grid)
        check_places(who, cells, attribution.view.size, math.prod(grid.shape[:-2]))

    def cells(self, attribution: Attribution, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """(rows, 2) and (columns, 2): start and end of each cell of a map, in pixels of the model's input."""
        high, wide = seen_size(attribution.view)
        return even_spans(shape[0], 0, high), even_spans(shape[1], 0, wide)

    def store(self, view: Any, folder: Path, stem: str) -> Mapping[str, Any]:
        return store_view(view, folder, stem)

    def restore(self, stored: Mapping[str, Any], folder: Path) -> Any:
        return restore_view(self.view_type, stored, folder)


class OutliningRenderer(HeatRenderer):
    """Heat over a view with ``regions``, whose input can be shown without it.

    kind         of figure: a class for the style sheet
    heat         what the map is called
    region_axes  (name, unit) of the axes that regions must have
    """

    kind: ClassVar[str]
    heat: ClassVar[str] = "heatmap"
    region_axes: ClassVar[tuple[tuple[str, str], ...]]

    def check_attribution(self, attribution: Attribution) -> None:
        check_axes(attribution.view.regions, self.region_axes, attribution.modality)
        super().check_attribution(attribution)

    @abstractmethod
    def panels(self, attribution: Attribution, ident: str) -> list[Panel]:
        """The pictures and where their maps lie."""

    def label(self, view: Any) -> str:
        """What the heat lies over, to those who do not see it."""
        return f"the {self.kind}"

    def below(self, view: Any) -> Markup:
        """HTML between panels and knobs."""
        return Markup("")

    def fragment(self, attribution: Attribution, ident: str) -> str:
        view = attribution.view
        return heat_figure(
            attribution,
            ident,
            self.panels(attribution, ident),
            kind=self.kind,
            label=f"{self.heat} over {self.label(view)}",
            under=self.below(view),
        )

    def picture(self, attribution: Attribution, ident: str) -> Markup:
        view, panels = attribution.view, self.panels(attribution, ident)
        label = f"{input_name(attribution)}: {self.label(view)}"
        return picture_figure(panels, kind=self.kind, label=label, under=self.below(view))

    def outlined(self, view: Any, regions: Sequence[Region], modality: str) -> Any:
        return replace(view, regions=check_axes(regions, self.region_axes, modality))
