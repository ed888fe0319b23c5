"""What a check finds, and how it says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from m2ib.errors import M2IBError


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
class LeftOut:
    """What was not done, and why: mostly because it would have failed for the reason of an earlier failure."""

    modality: str
    what: str
    reason: str


@dataclass(frozen=True)
class Checked:
    """All that was checked, in order, and what was not."""

    results: Sequence[Result]
    left_out: Sequence[LeftOut] = ()

    @property
    def failures(self) -> list[Result]:
        """Those that say why."""
        return [result for result in self.results if result.failure]


class Broken(Exception):
    """A check found something."""


class Absent(Exception):
    """The encoder does not have what a check is of."""


def require(condition: bool, message: str) -> None:
    """Raise :class:`Broken` unless the condition holds."""
    if not condition:
        raise Broken(message)


def run(modality: str, name: str, check: Callable[[], None]) -> Result:
    """The result of one check, whatever it raises."""
    try:
        check()
    except Absent:
        return Result(modality, name, applies=False)
    except (Broken, M2IBError) as finding:
        return Result(modality, name, str(finding).removeprefix(f"{modality}: "))
    except Exception as error:  # a stranger's code may raise anything: that, too, is a finding
        return Result(modality, name, f"raised {type(error).__name__}: {error}")
    return Result(modality, name)


def shape_of(value: Any) -> str:
    """The shape of a tensor, or what it is instead of a tensor."""
    return str(tuple(value.shape)) if isinstance(value, Tensor) else f"a {type(value).__name__}"


def difference(value: Tensor, reference: Tensor) -> float:
    """The largest difference over the reference's largest value."""
    value, reference = value.double(), reference.double()
    return float((value - reference).abs().max() / reference.abs().max().clamp_min(1e-12))
