"""Which unit of one input acts together with which unit of the other: a signed matrix beside the two maps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from m2ib.contract.schema import bounded, check_array, require
from m2ib.errors import InputError, did_you_mean

_MOST = 2**22  # numbers of a matrix: a page has them all


@dataclass(frozen=True)
class Units:
    """What one input is divided into.

    modality  of the input
    shape     of the grid that they are cells of: (words,) of a text, (rows, columns) of an image, ...; their layout is the
              attribution's, whose grid may be finer or coarser
    names     of a text its words, in reading order; () for cells, which have a place and no name
    """

    modality: str
    shape: tuple[int, ...]
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        who = f"interactions: the units of {self.modality}"
        require(bool(self.shape) and min(self.shape) > 0, who, self.shape, "one along each axis or more")
        named = len(self.names) in (0, self.number)
        require(named, f"{who}: names", len(self.names), f"none, or {self.number}")

    @property
    def number(self) -> int:
        return math.prod(self.shape)

    def index(self, unit: int | str | tuple[int, ...]) -> int:
        """Its number in flattened order: of a number itself, a place (row, column), or a name that is there once.

        Raises :class:`InputError`.
        """
        if isinstance(unit, str):
            found = [number for number, name in enumerate(self.names) if name == unit]
            if len(found) != 1:
                hint = f"is there {len(found)} times; give its number" if found else "is none of them"
                close = "" if found else did_you_mean(unit, self.names)
                raise InputError(f"interactions: the unit {unit!r:.60} of {self.modality} {hint}{close}")
            return found[0]
        place: tuple[int, ...] = ()
        if isinstance(unit, tuple):
            place = unit
        elif 0 <= unit < self.number:
            place = self.place(unit)
        if len(place) != len(self.shape) or any(
            not 0 <= at < size for at, size in zip(place, self.shape, strict=True)
        ):
            raise InputError(
                f"interactions: {unit!r:.60} is no unit of {self.modality}, which has {self.shape}; give a number below "
                f"{self.number}, a place with {len(self.shape)} numbers, or a name"
            )
        return int(np.ravel_multi_index(place, self.shape))

    def place(self, number: int) -> tuple[int, ...]:
        """Of a unit, by its number."""
        return tuple(int(at) for at in np.unravel_index(number, self.shape))

    def name(self, number: int) -> str:
        """How a unit is called: a word, or its place."""
        return self.names[number] if self.names else ", ".join(map(str, self.place(number)))


class Link(NamedTuple):
    """Two units and how they act together. The units are numbers in flattened order, of the first and the second input."""

    first: int
    second: int
    value: float


@dataclass(frozen=True, eq=False)
class Interactions:
    """A pair's matrix.

    matrix    (units of the first input, units of the second), signed: above 0 where the two together raise the
              similarity, below where they lower it
    units     of the first input and of the second
    method    that made it
    unit      of the values: "cosine" or the model's similarity; "nats"
    settings  resolved, JSON-able; by modality where they are a side's own
    warnings  what a careful reader has to know
    """

    matrix: np.ndarray
    units: tuple[Units, Units]
    method: str
    unit: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_array("interactions: matrix", self.matrix, tuple(each.number for each in self.units))
        require(
            self.matrix.size <= _MOST,
            "interactions: matrix",
            self.matrix.shape,
            f"of {_MOST:,} numbers at most",
        )
        require(bounded([float(np.abs(self.matrix).max())]), "interactions: matrix", "too large", "finite")

    def of(self, unit: int | str | tuple[int, ...], at: int | str | None = None) -> np.ndarray:
        """How one unit acts together with each unit of the other input, in that one's shape.

        unit  a word, a number, or a place (row, column)
        at    which input it is of: its modality, or 0 or 1. None: the one whose units have names

        Raises :class:`InputError`.
        """
        side = self._side(at)
        number = self.units[side].index(unit)
        row = self.matrix[number] if side == 0 else self.matrix[:, number]
        return np.asarray(row.reshape(self.units[1 - side].shape))

    def marginal(self, at: int | str) -> np.ndarray:
        """The sum over the other input's units, for each unit of one, in its shape."""
        side = self._side(at)
        return np.asarray(self.matrix.sum(1 - side).reshape(self.units[side].shape))

    def links(self, count: int = 10) -> list[Link]:
        """The strongest, whatever their sign, strongest first."""
        order = np.argsort(-np.abs(self.matrix), axis=None, kind="stable")[:count]
        places = zip(*np.unravel_index(order, self.matrix.shape), strict=True)
        return [Link(int(first), int(second), float(self.matrix[first, second])) for first, second in places]

    def _side(self, at: int | str | None) -> int:
        if at is None:
            named = [side for side, each in enumerate(self.units) if each.names]
            if len(named) != 1:
                raise InputError("interactions: say which input the unit is of, as in of(3, at=0)")
            return named[0]
        modalities = [each.modality for each in self.units]
        if at in (0, 1) and not isinstance(at, bool):
            return int(at)
        if modalities.count(at) == 1:  # type: ignore[arg-type]
            return modalities.index(at)  # type: ignore[arg-type]
        raise InputError(
            f"interactions: at={at!r:.60} is not one of {', '.join(map(repr, dict.fromkeys(modalities)))}, 0 or 1"
        )

    def __repr__(self) -> str:
        first, second = (f"{each.modality} {each.shape}" for each in self.units)
        return f"Interactions({first} x {second}, method={self.method!r}, unit={self.unit!r})"
