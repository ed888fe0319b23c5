"""Pairs for evaluation: two raw inputs that belong together, and where one shows what the other says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from m2ib.data.seen import SeenIds
from m2ib.errors import InputError, SettingError
from m2ib.paths import printable

if TYPE_CHECKING:
    from m2ib.contract.regions import Box, Region


@dataclass(frozen=True, eq=False)
class Pair:
    """Two raw inputs.

    id       stable, unique in its data: the file's own, or the number of the row from 0
    inputs   ((modality, raw), (modality, raw)), as ``m2ib.explain`` takes them
    boxes    over the only image, in pixels of the raw image: where it shows what the other input says
    regions  the same as masks, by the input's position: 0 or 1
    others   by position, masks of what else is there
    filler   by position, a mask of what says nothing of anything
    along    the only axis of the masks that counts, on which they are true where they are true anywhere; "": all axes
    """

    id: str
    inputs: tuple[tuple[str, Any], tuple[str, Any]]
    boxes: tuple[Box, ...] = ()
    regions: Mapping[int, Region] = field(default_factory=dict)
    others: Mapping[int, Sequence[Region]] = field(default_factory=dict)
    filler: Mapping[int, Region] = field(default_factory=dict)
    along: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", printable(self.id))


@dataclass(frozen=True)
class BadRow:
    """A row that gives no pair.

    place   "line 12", "annotation 3", ...
    reason  why
    """

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


@dataclass(frozen=True)
class Row:
    """A row that nobody has looked at yet.

    place  "line 12", "annotation 3", ...
    read   gives its pair; raises :class:`InputError` for a bad row, with the reason as the message
    """

    place: str
    read: Callable[[], Pair]


def _unknown() -> None:
    return None


def refuse(reason: str) -> Pair:
    """What reads a row that gives no pair. Raises :class:`InputError`."""
    raise InputError(reason)


def count_rows(rows: Callable[[], Iterable[Row]]) -> int:
    """How many rows there are, for a format whose rows are gone through without reading an input."""
    return sum(1 for _ in rows())


def read_rows(rows: Iterable[Row], *, numbered: bool = False) -> Iterator[tuple[str, Pair | InputError]]:
    """("line 12", the pair, or why it is none) of each; an id that comes twice is the first one's.

    numbered  the ids are numbers of rows: no two can be the same
    """
    seen = SeenIds()
    for row in rows:
        found: Pair | InputError
        try:
            found = row.read()
            identity: str | None = found.id
        except InputError as error:
            found, identity = error.with_traceback(None), error.pair
        if identity is not None and not numbered:
            first = seen.before(identity, row.place)
            if first is not None and isinstance(found, InputError):
                found.pair = None
            elif first is not None:
                found = InputError(f"its id {identity!r} is that of {first or 'an earlier row'}")
        yield row.place, found


class Pairs:
    """Pairs in a fixed order, each read when it is asked for. Iterating again begins anew.

    name        how to call them in a table
    modalities  of the two inputs
    located     whether pairs carry boxes or regions
    bad         the bad rows met so far, each once, in order
    """

    def __init__(
        self,
        name: str,
        modalities: tuple[str, str],
        rows: Callable[[], Iterable[Row]],
        *,
        located: bool = False,
        numbered: bool = False,
        total: Callable[[], int | None] = _unknown,
    ) -> None:
        """
        rows      gives all rows from the first one, as often as it is called
        numbered  the ids are numbers of rows: no two can be the same
        total     gives the number of rows, or None

        They can be pickled where ``rows`` and ``total`` can.
        """
        self.name = printable(name)
        self.modalities = modalities
        self.located = located
        self.bad: list[BadRow] = []
        self._rows = rows
        self._numbered = numbered
        self._total = total
        self._listed: set[str] = set()

    def __iter__(self) -> Iterator[Pair]:
        for place, found in self.each():
            if isinstance(found, InputError):
                self._list(place, str(found))
            else:
                yield found

    def each(self) -> Iterator[tuple[str, Pair | InputError]]:
        """("line 12", the pair, or why it is none) of every row, in order; ``bad`` stays as it is."""
        return read_rows(self._rows(), numbered=self._numbered)

    def total(self) -> int | None:
        """How many rows there are, bad ones too; None where only reading the inputs would tell."""
        return self._total()

    def __repr__(self) -> str:
        return f"Pairs({self.name!r}, {' and '.join(self.modalities)})"

    def _list(self, place: str, reason: str) -> None:
        if place not in self._listed:
            self._listed.add(place)
            self.bad.append(BadRow(place, reason))


class _Part(Pairs):
    """Some of the pairs of others, with whom it shares the bad rows."""

    def __init__(self, whole: Pairs, start: int, stop: int | None) -> None:
        super().__init__(whole.name, whole.modalities, tuple, located=whole.located)
        self.bad = whole.bad
        self._whole = whole
        self._range = start, stop

    def __iter__(self) -> Iterator[Pair]:
        yield from islice(self._whole, *self._range)

    def each(self) -> Iterator[tuple[str, Pair | InputError]]:
        """The rows after the last pair of those that are skipped, to its own last one: parts that follow share none."""
        start, stop = self._range
        pairs = 0  # so far
        for place, found in self._whole.each() if stop is None or stop > start else ():
            if pairs >= start:
                yield place, found
            pairs += not isinstance(found, InputError)
            if pairs == stop:
                return

    def total(self) -> int | None:
        """Which rows are bad decides where a part ends: known where it cannot end before the last one."""
        start, stop = self._range
        rows = self._whole.total()
        return rows if rows is not None and start == 0 and (stop is None or rows <= stop) else None


def take(pairs: Pairs, limit: int | None, *, skip: int = 0) -> Pairs:
    """The first ``limit`` pairs after the first ``skip``; None: all of them. Bad rows count for neither.

    They share ``bad`` with ``pairs``. Raises :class:`SettingError` for what is no whole number from 0.
    """
    for name, number in (("limit", 0 if limit is None else limit), ("skip", skip)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise SettingError(f"data: {name}={number!r} is out of range; give a whole number from 0")
    return _Part(pairs, skip, None if limit is None else skip + limit)
