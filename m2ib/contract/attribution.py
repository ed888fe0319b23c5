"""The numeric result for one input, and what it asks of the renderer that shows it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from m2ib.contract.arrays import at_size, data_array
from m2ib.contract.curve import Curve
from m2ib.contract.layout import Axis, Layout, axes_at
from m2ib.contract.notebook import Side, framed
from m2ib.contract.null import Null
from m2ib.contract.plotting import picture_of
from m2ib.contract.schema import LARGEST, bounded, check_array, require
from m2ib.contract.segments import Segments
from m2ib.contract.words import merge_words, placed_words
from m2ib.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import DataArray


class Renderer(Protocol):
    """How the attributions of one modality are scaled, drawn, put on a page and stored.

    name    goes into the manifest of a saved explanation
    script  JavaScript that a page needs once for all fragments of this renderer; may be empty
    """

    @property
    def name(self) -> str: ...

    @property
    def script(self) -> str: ...

    def scores(self, grid: np.ndarray, attribution: Attribution) -> np.ndarray:
        """``grid`` scaled to [0, 1] at the model's input size."""
        ...

    def fragment(self, attribution: Attribution, ident: str) -> str:
        """The attribution as HTML; ``ident`` is unique on its page. Untrusted text must be escaped."""
        ...

    def draw(self, attribution: Attribution, axes: Axes) -> None:
        """The attribution on matplotlib axes."""
        ...

    def store(self, view: Any, folder: Path, stem: str) -> Mapping[str, Any]:
        """Write the view into ``folder`` (files begin with ``stem``); what is returned must be JSON-able."""
        ...

    def restore(self, stored: Mapping[str, Any], folder: Path) -> Any:
        """The view that ``store`` wrote."""
        ...


@runtime_checkable
class Rastered(Protocol):
    """What a renderer does besides whose raw inputs are divided evenly: into pixels, or characters."""

    def raster(self, attribution: Attribution) -> tuple[tuple[int, ...], tuple[Axis, ...]]:
        """The raw input's own size, and where the cells of the grid lie in it: one axis for each of both.

        Raises :class:`InputError` for an attribution that has none.
        """
        ...


@runtime_checkable
class Checking(Protocol):
    """What a renderer does besides that knows which grids and layouts its views go with."""

    def check_attribution(self, attribution: Attribution) -> None:
        """Raises :class:`AdapterError` for a grid, a layout and a view that do not belong together."""
        ...


def deviation_of(by_seed: np.ndarray) -> np.ndarray:
    """The standard deviation over the first axis, n - 1 in the denominator."""
    apart = by_seed.astype(np.float64) - by_seed[:1]  # exactly 0 where all are the same
    found: np.ndarray = apart.std(0, ddof=1).astype(by_seed.dtype)
    return found


_CELLS = 2**22  # of a map: a page has a number for each


@dataclass(frozen=True, eq=False)
class Attribution:
    """How much each position of one input tells about the other input.

    modality  of the input
    method    that made it
    grid      raw values on the encoder's own grid, unscaled: (rows, cols), (tokens,), ...; with ``shifts``
              each cell is split in as many as there are shifts along its axes, and with ``smooth`` smoothed
    capacity  of the bottleneck: the same at every position of the activation, class and register tokens included,
              never smoothed; with ``shifts`` the mean over them. None for other methods
    against   for a contrast: the grid when the target points the other way, what speaks for the other
              side; None otherwise
    layout    what the positions are
    curve     how the fit went; with ``shifts`` the mean over them. None for methods that fit nothing
    settings  resolved settings, JSON-able
    origin    where the input came from and how it was prepared, JSON-able
    view      what the renderer shows
    renderer  how it is looked at and stored
    unit      of the values: "nats" of the bottleneck, "cosine", "" for none
    additive  whether values add up, so that a word has the sum of its tokens'; otherwise it has their mean
    warnings  what a careful reader has to know: of the input as it was made ready, and of the fit
    full      the value of ``grid`` that full heat takes at least, so that a map that holds next to nothing looks so; heat
              begins at 0 then. Of the bottleneck one bit for each channel of a cell, C ln 2 nats. None: heat goes from
              the map's least value to its greatest
    by_seed   (seeds, *grid): the map of each seed, of which ``grid`` is the mean; None for one seed. Of a method that
              draws nothing they are all the same
    null      the same map against others than this pair's partner; None where that was not asked for
    segments  parts of the input that were asked for as units, with what the map holds in each; None: none were
    """

    modality: str
    method: str
    grid: np.ndarray
    capacity: np.ndarray | None
    layout: Layout
    curve: Curve | None
    settings: Mapping[str, Any]
    view: Any
    renderer: Renderer
    origin: Mapping[str, Any] = field(default_factory=dict)
    against: np.ndarray | None = None
    unit: str = "nats"
    additive: bool = True
    warnings: tuple[str, ...] = ()
    full: float | None = None
    by_seed: np.ndarray | None = None
    null: Null | None = None
    segments: Segments | None = None

    def __post_init__(self) -> None:
        who, grid = f"{self.modality}, {self.method}: ", self.grid
        check_array(f"{who}grid", grid)
        require(grid.size <= _CELLS, f"{who}grid", grid.shape, f"of {_CELLS:,} cells at most")
        if self.against is not None:
            check_array(f"{who}against", self.against, grid.shape)
        if self.full is not None:
            require(bounded([self.full]), f"{who}full", self.full, "a finite number or None")
        if self.capacity is not None:
            check_array(f"{who}capacity", self.capacity)
        if self.by_seed is not None:
            seeds = len(self.by_seed) if self.by_seed.ndim else 0
            check_array(f"{who}by_seed", self.by_seed, (max(seeds, 2), *grid.shape))
        if self.null is not None:
            check_array(f"{who}null.mean", self.null.mean, grid.shape)

    def check(self) -> None:
        """That grid, capacity, layout and view belong together, as those of an encoder do.

        Raises :class:`AdapterError`.
        """
        who, shape, layout = f"{self.modality}, {self.method}: the grid's shape", self.grid.shape, self.layout
        tokens = (len(layout.tokens),)
        require(not layout.tokens or shape == tokens, who, shape, f"{tokens}, a cell for each token")
        if layout.grid is not None:
            require(layout.splits(shape), who, shape, f"{layout.grid}, or that with cells split")
        if self.capacity is not None:
            self._check_positions(self.capacity.size)
        for value in () if self.curve is None else astuple(self.curve):
            values = value if isinstance(value, tuple) else [] if value is None else [value]
            fine = all(abs(each) <= LARGEST**2 for each in values)  # a loss has products of two
            require(fine, f"{self.modality}, {self.method}: the curve", value, "of finite numbers")
        if self.segments is not None:
            placed, axes = self.segments.labels.ndim, len(self.segments.axes)
            require(
                0 < placed <= len(shape) and (axes > 0 or placed == len(shape)),
                f"{self.modality}, {self.method}: the segments' axes",
                placed,
                f"those of the grid, {len(shape)}, or some of them by name",
            )
        if isinstance(self.renderer, Checking):
            self.renderer.check_attribution(self)

    def _check_positions(self, count: int) -> None:
        """That the cells which the layout names are among so many positions."""
        layout, who = self.layout, f"{self.modality}, {self.method}: the capacity's positions"
        picked = count if layout.read is None else min(max(layout.read, 0), count)
        if layout.index is not None:
            first, last = min(layout.index, default=0), max(layout.index, default=-1)
            require(first >= 0 and last < count, f"{who} of cells", (first, last), f"from 0 to {count - 1}")
            picked = len(layout.index)
        wanted = count if layout.grid is None else math.prod(layout.grid)
        require(picked == wanted, f"{who} that are cells: their number", picked, str(wanted))

    @property
    def scores(self) -> np.ndarray:
        """The map in [0, 1] at the model's input size, for looking at: min-max scaled.

        Special tokens of a text are left out of the scale and have the score 0; ``grid`` keeps them.
        """
        return self.renderer.scores(self.grid, self)

    @property
    def signed(self) -> bool:
        """Whether what speaks against is told apart from what does nothing: by ``against``, or by values below 0.

        Values below 0 speak against where they add up to a similarity, as those of ``kernelshap`` and
        ``integrated-gradients`` do. Such a map has two colours, and zero in the middle of its scale.
        """
        adds_up = self.additive and self.full is None and self.unit != "nats"
        return self.against is not None or (adds_up and bool((self.grid < 0).any()))

    @property
    def balance(self) -> np.ndarray:
        """The grid, less ``against`` where there is one: what a signed map shows."""
        return self.grid if self.against is None else np.asarray(self.grid - self.against)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The grid's axes in the raw input's own units (seconds, hertz, pixels, ...); () where unknown."""
        return axes_at(self.layout.axes, self.grid.shape)

    @property
    def tokens(self) -> tuple[str, ...]:
        """Texts: the tokens, specials included, one for each value of ``grid``. Otherwise empty."""
        return tuple(token.text for token in self.layout.tokens)

    @property
    def words(self) -> list[tuple[str, float]]:
        """Texts: (word, value) pairs in reading order, of any script. Otherwise empty.

        Words lie between Unicode's word boundaries and never cut a letter from its marks (see ``m2ib.contract.words``).
        Tokens are merged by their offsets in the text; a word's value is the sum of its tokens' values
        (capacities are nats and add up), or their mean where values do not add up. Special tokens belong to no word.
        """
        if self._text is None:
            return []
        return merge_words(self._text, self.layout.tokens, self.grid, mean=not self.additive)

    @property
    def units(self) -> list[tuple[str, float]]:
        """(name, value) of the segments that :func:`m2ib.explain` was given as ``units``, in their order; empty without.

        A segment's value is the sum of what the map holds in it, each cell by how much of it lies there, or the mean where
        values do not add up. Methods that hide parts of the input have hidden each segment as one, and the value is theirs.
        """
        known = self.segments
        if known is None or known.values is None:
            return []
        return list(zip(known.names, known.values.tolist(), strict=True))

    @property
    def placed_words(self) -> list[tuple[int, int, float]]:
        """Texts: (start, end, value) of ``words``, by their places in ``view["text"]``. Otherwise empty."""
        if self._text is None:
            return []
        return placed_words(self._text, self.layout.tokens, self.grid, mean=not self.additive)

    @property
    def deviation(self) -> np.ndarray | None:
        """The standard deviation over the seeds of each value of ``grid``, n - 1 in the denominator; None for one seed."""
        return None if self.by_seed is None else deviation_of(self.by_seed)

    @property
    def word_deviations(self) -> list[float] | None:
        """Likewise of each of ``words``: of the words' values, not of their tokens'."""
        if self.by_seed is None:
            return None
        if self._text is None:
            return []
        tokens, mean = self.layout.tokens, not self.additive
        values = [
            [value for *_, value in placed_words(self._text, tokens, grid, mean=mean)]
            for grid in self.by_seed
        ]
        found: list[float] = deviation_of(np.array(values)).tolist()
        return found

    @property
    def _text(self) -> str | None:
        """Of a text, unless another renderer keeps it in its own way; None of anything else."""
        known = self.layout.tokens and isinstance(self.view, Mapping) and "text" in self.view
        return str(self.view["text"]) if known else None

    def at_input_size(self, *, density: bool = False) -> np.ndarray:
        """The grid laid out at the raw input's own size: (rows, columns) of the raw image, depth or thermal field,
        upright and not cropped; for a text (characters,), without special tokens.

        density  False: each pixel has its cell's value, in ``unit`` per cell, and NaN where no cell lies (outside the
                 model's crop). True: each cell's value is spread evenly over its pixels, in ``unit`` per pixel, and 0
                 where no cell lies: the sum over an area is what the map holds there

        Values are neither scaled nor smoothed. Raises :class:`InputError` for inputs that have no such raster at hand
        (sounds, motion, films): :attr:`axes` and :meth:`to_xarray` say where their cells lie.
        """
        if not isinstance(self.renderer, Rastered):
            raise InputError(
                f"at_input_size: an input of modality {self.modality!r} is kept without a raster of its own; `axes` and "
                "to_xarray() say where the cells of `grid` lie in it"
            )
        size, axes = self.renderer.raster(self)
        content = [not token.special for token in self.layout.tokens]
        return at_size(self.grid[content] if content else self.grid, axes, size, density=density)

    def to_xarray(self) -> DataArray:
        """The grid as an ``xarray.DataArray``: dimensions by the names of :attr:`axes`, coordinates at the cells' centres.

        ``row``, for instance, has the centres in pixels of the raw input, ``row_start`` and ``row_end`` the borders,
        each with ``attrs["units"]``. A text has the dimension ``token``, with its tokens, ``start``, ``end`` and
        ``special``. Where the axes are unknown dimensions are called ``axis_0``, ... and have no coordinates. Attributes:
        unit, method, modality, layer.

        Needs the package xarray; raises :class:`InputError` where it is missing.
        """
        axes = self.axes
        if not axes and not self.layout.tokens and isinstance(self.renderer, Rastered):
            axes = self.renderer.raster(self)[1]
        layer = self.settings.get("layer")
        attrs = {"unit": self.unit, "method": self.method, "modality": self.modality}
        attrs |= {} if layer is None else {"layer": layer}
        return data_array(self.grid, axes, self.layout.tokens, self.method, attrs)

    def _repr_html_(self) -> str:
        """The map, in a notebook."""
        return framed(repr(self), [[side_of(self, "m0")]])

    def _repr_png_(self) -> bytes:
        """The same as a picture, where HTML is not shown."""
        return picture_of(partial(self.renderer.draw, self), f"{self.modality}: {self.method}")

    def __repr__(self) -> str:
        return (
            f"Attribution({self.modality}, method={self.method!r}, grid={self.grid.shape}, "
            f"total={self.grid.sum():.4g}{self.unit and ' '}{self.unit}, layer={self.settings.get('layer')})"
        )


def side_of(attribution: Attribution, ident: str) -> Side:
    """As HTML; ``ident`` is unique on its page."""
    renderer, told = attribution.renderer, (attribution.modality, attribution.method, attribution.warnings)
    return Side(*told, renderer.fragment(attribution, ident), renderer.script)
