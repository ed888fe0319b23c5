"""What a check finds, and how it says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from m2ib.errors import M2IBError


class ConformanceError(AssertionError):
    """An adapter breaks the contract; the message has a line for each failure."""


@dataclass(frozen=True)
class Result:
    """One check of one modality: ``failure`` is empty if it passed, else it says why."""

    modality: str
    check: str
    failure: str = ""

    def __str__(self) -> str:
        return f"{self.modality}: {self.check}: {self.failure or 'passed'}"


class Broken(Exception):
    """A check found something."""


def require(condition: bool, message: str) -> None:
    """Raise :class:`Broken` unless the condition holds."""
    if not condition:
        raise Broken(message)


def run(modality: str, name: str, check: Callable[[], None]) -> Result:
    """The result of one check, whatever it raises."""
    try:
        check()
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
