"""What a check finds, and how it says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from m2ib.contract.similarity import present
from m2ib.errors import M2IBError, PluginError, one_line
from m2ib.registry.foreign import plugin_code


class ConformanceError(AssertionError):
    """An adapter breaks the contract; the message has a line for each failure."""


@dataclass(frozen=True)
class Result:
    """One check of one modality: ``failure`` is empty if it passed, else it says why.

    applies  False where there was nothing to look at: the encoder does not have what the check is of
    """

    modality: str
    check: str
    failure: str = ""
    applies: bool = True

    @property
    def outcome(self) -> str:
        """In a word or three."""
        return "failed" if self.failure else "passed" if self.applies else "nothing to check"

    def __str__(self) -> str:
        return f"{self.modality}: {self.check}: {self.failure or 'passed'}"


@dataclass(frozen=True)
class Skipped:
    """What was not done, and why: mostly because it would have failed for the reason of an earlier failure."""

    modality: str
    what: str
    reason: str


class CheckFailed(Exception):
    """A check found something."""


class NotApplicable(Exception):
    """The encoder does not have what a check is of."""


@dataclass(frozen=True)
class CheckResults:
    """All that was checked, in order, and what was not."""

    results: Sequence[Result]
    skipped: Sequence[Skipped] = ()

    @property
    def failures(self) -> list[Result]:
        """Those that say why."""
        return [result for result in self.results if result.failure]


def require(condition: bool, message: str) -> None:
    """Raise :class:`CheckFailed` unless the condition holds."""
    if not condition:
        raise CheckFailed(message)


def run_check(modality: str, name: str, check: Callable[[], None]) -> Result:
    """The result of one check, whatever it raises."""
    try:
        with plugin_code(name):  # a stranger's code may raise anything: that, too, is a finding
            check()
    except M2IBError as error:
        finding = (error.__cause__ or error) if isinstance(error, PluginError) else error
        if isinstance(finding, NotApplicable):
            return Result(modality, name, applies=False)
        if isinstance(finding, (CheckFailed, M2IBError)):
            return Result(modality, name, str(finding).removeprefix(f"{modality}: "))
        return Result(modality, name, f"raised {one_line(finding, kind=True)}")
    return Result(modality, name)


def require_embedding(out: Any, rows: int, who: str, given: str, *, sets: bool) -> None:
    """Raise :class:`CheckFailed` unless ``who`` gave (rows, D) for what was ``given``, or (rows, K, D) for ``sets``."""
    fits = isinstance(out, Tensor) and out.ndim == 2 + sets and out.shape[0] == rows
    require(fits, f"{who} gives {shape_of(out)} for {given}; it must be ({rows}, {'K, ' if sets else ''}D)")


def shape_of(value: Any) -> str:
    """The shape of a tensor, or what it is instead of a tensor."""
    return str(tuple(value.shape)) if isinstance(value, Tensor) else f"a {type(value).__name__}"


def difference(value: Tensor, reference: Tensor) -> float:
    """The largest difference over the reference's largest value; of sets of vectors (K, D), without what only fills them up."""
    value, reference = value.double(), reference.double()
    if value.shape != reference.shape:
        value, reference = (each[present(each)] for each in (value, reference))
    if value.shape != reference.shape:
        return float("inf")
    return float((value - reference).abs().max() / reference.abs().max().clamp_min(1e-12))
