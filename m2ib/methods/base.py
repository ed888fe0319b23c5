"""What a method is: from N inputs of one modality, and what each is explained against, to a map for each.

To write one: a function ``prepare(batch, settings)`` that gives a :class:`PreparedBatch`, a :class:`Method` around it, and
a :class:`m2ib.MethodSpec` that a plugin registers, with the settings it has. ``controls.py`` is the shortest example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from m2ib.activations.capture import record
from m2ib.activations.reference import References
from m2ib.contract.curve import Curve
from m2ib.contract.degradation import Degradation, Fading
from m2ib.contract.encoder import Encoder
from m2ib.contract.inputs import Inputs, Item, each_tensor, row
from m2ib.contract.layout import Layout
from m2ib.contract.model import Model
from m2ib.contract.targets import Targets as Targets  # for methods of plugins
from m2ib.errors import AdapterError, InputError, SettingError


class Settings(SimpleNamespace):
    """Resolved settings, as attributes."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in vars(self).items()}


@dataclass(frozen=True)
class Batch:
    """N inputs of one modality and one shape.

    model       that takes them
    modality    theirs
    items       ready inputs
    inputs      the same as one batch (N, ...) on the model's device
    references  the caller's raw inputs of the usual kind, for what needs them
    fast        whether an encoder's own tail may be used
    """

    model: Model
    modality: str
    items: Sequence[Item]
    inputs: Inputs
    references: References = field(default_factory=References)
    fast: bool = True

    @property
    def encoder(self) -> Encoder:
        return self.model.encoder(self.modality)

    @property
    def layouts(self) -> list[Layout]:
        return [item.layout for item in self.items]

    def __len__(self) -> int:
        return len(self.items)

    def singles(self) -> Iterator[Batch]:
        """Each input as a batch of its own."""
        for number, item in enumerate(self.items):
            yield replace(self, items=[item], inputs=row(self.inputs, number))

    def embed(self) -> Tensor:
        """(N, D), unnormalised, without gradient; an input that is the same object at several places is embedded once."""
        first, numbers = distinct(self.items)
        with torch.no_grad():
            if len(first) == len(self):
                return self.encoder.embed(self.inputs)
            return self.encoder.embed(each_tensor(self.inputs, itemgetter(first)))[numbers]

    def grids(self, layer: int) -> list[tuple[int, ...]]:
        """The shape of each input's map; ``layer`` decides where the layout leaves it to the activation."""
        if all(layout.grid is not None for layout in self.layouts):
            return [layout.grid for layout in self.layouts if layout.grid is not None]
        activation = record(self.encoder, row(self.inputs, 0), layer).activation  # (1, ...)
        axis = self.encoder.layer(layer).channel_axis % activation.ndim
        positions = tuple(length for place, length in enumerate(activation.shape) if place not in (0, axis))
        return [layout.to_grid(np.empty(positions)).shape for layout in self.layouts]


def distinct(items: Sequence[Item]) -> tuple[list[int], list[int]]:
    """Where each of N inputs is first, one that is the same object at several places counting once, and which of those is at
    each place."""
    first: dict[int, int] = {}
    for place, item in enumerate(items):
        first.setdefault(id(item), place)
    order = {identity: number for number, identity in enumerate(first)}
    return [*first.values()], [order[id(item)] for item in items]


@dataclass(frozen=True)
class Map:
    """What a method found for one input.

    grid      raw values on the layout's grid
    capacity  the bottleneck's information at every position; None for other methods
    curve     how a fit went; None where there is none
    warnings  what a careful reader of this map has to know
    remarks   likewise, but no more than that: they stand on the map and are not issued in Python
    full      what full heat takes at least, see :class:`m2ib.Attribution`
    by_seed   (seeds, *grid) of the mean of several
    segments  (segments,) what each of the input's segments was found to hold by hiding it as one, which the cells' values say
              of the segments that they are in and do not add up to; None: it is read off the grid
    """

    grid: np.ndarray
    capacity: np.ndarray | None = None
    curve: Curve | None = None
    warnings: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    full: float | None = None
    by_seed: np.ndarray | None = None
    segments: np.ndarray | None = None

    @classmethod
    def of_seeds(cls, maps: Sequence[Map]) -> Map:
        """The mean of an input's maps by several seeds; one alone is itself."""
        if len(maps) == 1:
            return maps[0]
        grids = np.stack([each.grid for each in maps])
        capacities = [each.capacity for each in maps if each.capacity is not None]
        curves = [each.curve for each in maps if each.curve is not None]
        fulls = [each.full for each in maps if each.full is not None]
        segments = [each.segments for each in maps if each.segments is not None]
        return cls(
            grids.mean(0),
            np.mean(capacities, axis=0) if len(capacities) == len(maps) else None,
            Curve.mean(curves) if len(curves) == len(maps) else None,
            _said_of_seeds([each.warnings for each in maps]),
            _said_of_seeds([each.remarks for each in maps]),
            max(fulls, default=None),
            grids,
            np.mean(segments, axis=0) if len(segments) == len(maps) else None,
        )

    def checked(self, who: str, layout: Layout) -> Map:
        """The same in plain real numbers. Raises :class:`InputError` for NaN, and :class:`AdapterError` for what is no map of
        this layout.

        who  names the method and the modality
        """
        grid = _numbers(self.grid, f"{who} is")
        own = layout.grid or (0,) * (len(layout.axes) or grid.ndim)
        cells = "no cells" if not grid.size else f"the shape {grid.shape}"
        if len(own) != grid.ndim or not grid.size or not all(map(_divides, own, grid.shape)):
            kind = f"{own}" if layout.grid else f"{len(own)} axes"
            raise AdapterError(f"{who} has {cells}, the input's grid {kind}; give a value for each cell")
        if layout.tokens and grid.shape != own:
            raise AdapterError(f"{who} has {cells}, for {len(layout.tokens)} tokens; give a value for each")
        capacity = None if self.capacity is None else _numbers(self.capacity, f"{who}: its capacity is")
        by_seed = None if self.by_seed is None else _numbers(self.by_seed, f"{who}: its `by_seed` is")
        if by_seed is not None and by_seed.shape[1:] != grid.shape:
            raise AdapterError(
                f"{who}: its `by_seed` has the shape {by_seed.shape}; give (seeds, *{grid.shape})"
            )
        if self.curve is not None:
            for name in ("fit", "information", "loss", "noise"):
                if (values := getattr(self.curve, name)) is not None:
                    _numbers(values, f"{who}: its curve's {name} is")
        if self.full is not None:
            _numbers(self.full, f"{who}: its `full` is")
        segments = None if self.segments is None else _numbers(self.segments, f"{who}: its `segments` is")
        return replace(self, grid=grid, capacity=capacity, by_seed=by_seed, segments=segments)


def _said_of_seeds(said: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """What is said of the maps of several seeds, the first one's numbers standing for all."""
    some = [each for each in said if each]
    if not some or len({*said}) == 1:
        return said[0]
    return tuple(f"{message} ({len(some)} of {len(said)} seeds)" for message in some[0])


def _divides(cells: int, found: int) -> bool:
    """A cell may be split in several, as shifts do; 0 stands for any number of cells."""
    return not cells or found % cells == 0


def _numbers(given: Any, what: str) -> np.ndarray:
    """Finite real ones, as floats of 64 bits at most."""
    if isinstance(given, Tensor):
        given = given.detach().cpu()
        given = given.float().numpy() if given.dtype is torch.bfloat16 else given.numpy()
    values = np.asarray(given)
    if values.dtype.kind not in "fiub":
        kind = "complex" if values.dtype.kind == "c" else f"of dtype {values.dtype}"
        raise AdapterError(f"{what} {kind}; give real numbers")
    if values.dtype not in (np.float16, np.float32):
        values = values.astype(np.float64)
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise InputError(
            f"{what} NaN or infinite in {bad} of {values.size} places; check the input, the settings and the method"
        )
    return values


@dataclass(frozen=True)
class PreparedBatch:
    """What a method has once it has seen its inputs, and before it knows what they are explained against.

    embedding  (N, D), or sets (N, K, D), of the inputs as they are, unnormalised
    maps       (targets, advance) -> a map for each input towards its target: ``targets(embeddings)`` says how close
               embeddings are to it. Calls ``advance`` once for each of the method's steps
    reference  which reference inputs had a part in it, JSON-able; None for none
    """

    embedding: Tensor
    maps: Callable[[Targets, Callable[[], None]], list[Map]]
    reference: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Method:
    """One way to make maps.

    prepare   (batch, settings) -> :class:`PreparedBatch`
    unit      of the values: "nats", "" for none; "cosine" stands for the model's similarity, whatever that is
    settings  makes of the resolved settings, given by name, what ``prepare`` takes
    refuse    why the method is not defined for an encoder; None where it is
    check     (model, modality, settings, references): raises what must be said before an input is read
    steps     of ``maps``, for progress
    additive  whether the values of a word's tokens add up to the word's; otherwise it has their mean
    draws     whether the maps depend on the seed
    signs     how it tells what speaks against: by its map for the opposite "target", by the "values" below 0 of the one map,
              or "none": not at all
    for_maps_alone  of settings those of the very same maps, for whoever looks at nothing beside their values
    prepare_seeds  (batch, settings that differ in their seed alone) -> as ``prepare``, with the maps that
              :meth:`Map.of_seeds` makes; None: one seed is prepared after the other
    """

    prepare: Callable[[Batch, Any], PreparedBatch]
    unit: str = ""
    settings: Callable[..., Any] = Settings
    refuse: Callable[[Encoder], str | None] = lambda encoder: None
    check: Callable[[Model, str, Any, References], None] = lambda model, modality, settings, references: None
    steps: Callable[[Any], int] = lambda settings: 1
    additive: bool = True
    draws: bool = False
    signs: Literal["target", "values", "none"] = "target"
    for_maps_alone: Callable[[Any], Any] = lambda settings: settings
    prepare_seeds: Callable[[Batch, Sequence[Any]], PreparedBatch] | None = None


def needs_attention(encoder: Encoder) -> str | None:
    """For :attr:`Method.refuse`."""
    return None if encoder.attention is not None else "it reads attention, and this encoder shows none"


def degradation_of(encoder: Encoder) -> Degradation:
    """What the encoder's adapter says; numbers fade to 0 by default."""
    return Fading() if encoder.degradation is None else encoder.degradation


def refused(name: str, model: Model, modality: str, reason: str) -> SettingError:
    """A method that is not defined for an encoder."""
    return SettingError(
        f"method {name!r} is not defined for {modality} of the model {model.origin.get('adapter', '')!r}: {reason}"
    )
