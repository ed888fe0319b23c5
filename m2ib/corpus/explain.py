"""Chunks of pairs explained, and :func:`explain_many`, which is no more than that."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple, Unpack, overload

from m2ib.api import Options, plan_for, shows_options
from m2ib.contract.inputs import Item
from m2ib.contract.model import Model
from m2ib.corpus.backends import backend_for, whole_number
from m2ib.corpus.engine import Failed, Halving, chunks_of, stream
from m2ib.corpus.rows import PairRow, rows_of
from m2ib.errors import M2IBError, SettingError
from m2ib.execution.memory import give_back_memory
from m2ib.pipeline import PreparedInputs, explain_batch, prepare
from m2ib.progress import progress
from m2ib.registry.discovery import check_model
from m2ib.registry.plan import Plan
from m2ib.results.explanation import Explanation

Errors = Literal["raise", "keep"]
_ERRORS = ("raise", "keep")


class Found(NamedTuple):
    """What one method found for one pair, and the seconds that it took, as a share of its batch's."""

    explanation: Explanation | Failed
    seconds: float


@dataclass(frozen=True)
class ExplainPairs:
    """A job: rows to explanations, by one method or several.

    calls  for each method the options of :func:`m2ib.explain`
    raises whether errors that are not m2ib's own go on
    """

    model: Model
    calls: Sequence[Mapping[str, Any]]
    raises: bool = False

    @cached_property
    def plans(self) -> list[Plan]:
        return [plan_for(**options) for options in self.calls]

    @cached_property
    def _explaining(self) -> list[Callable[[Sequence[PreparedInputs]], list[Explanation | Failed]]]:
        def by(plan: Plan) -> Callable[[Sequence[PreparedInputs]], list[Explanation | Failed]]:
            def explained(pairs: Sequence[PreparedInputs]) -> list[Explanation]:
                return explain_batch(self.model, pairs, plan, lambda total: lambda: None)

            return Halving(explained, self._caught)

        return [by(plan) for plan in self.plans]

    @property
    def _caught(self) -> type[Exception]:
        return M2IBError if self.raises else Exception

    def __call__(self, rows: Sequence[PairRow]) -> list[list[Found]]:
        """For each row what each method found."""
        began, made = time.perf_counter(), dict[Any, Item]()
        ready = [self._ready(row, made) for row in rows]
        shared = (time.perf_counter() - began) / max(1, len(rows)) / len(self.plans)
        found: list[list[Found]] = [[] for _ in rows]
        good = [each for each in ready if not isinstance(each, Failed)]
        for explaining in self._explaining:
            began = time.perf_counter()
            done = iter(explaining(good) if good else [])
            seconds = (time.perf_counter() - began) / max(1, len(good)) + shared
            for mine, each in zip(found, ready, strict=True):
                mine.append(Found(each, shared) if isinstance(each, Failed) else Found(next(done), seconds))
        give_back_memory()
        return found

    def setting_fault(self, modalities: tuple[str, str]) -> SettingError | None:
        """Why no pair of two kinds can be explained so."""
        try:
            for plan in self.plans:
                for modality in modalities:
                    plan.settings(self.model, modality, modalities)
                if plan.pairs is not None:
                    plan.pairs.settings(self.model, modalities)
        except SettingError as error:
            return error
        except M2IBError:  # of a kind that the model does not take
            return None
        return None

    def _ready(self, row: PairRow, made: dict[Any, Item]) -> PreparedInputs | Failed:
        """Both inputs made ready, those that are the same in several rows once."""
        if row.inputs is None:
            assert row.fault is not None
            return Failed.of(row.fault)
        try:
            first, *others = self.plans
            ready = prepare(self.model, [*row.inputs], first, made)
            for plan in others:
                for modality, _ in row.inputs:
                    plan.settings(self.model, modality, (row.inputs[0][0], row.inputs[1][0]))
        except Warning:
            raise
        except self._caught as error:
            return Failed.of(error)
        return ready

    def __reduce__(self) -> tuple[Any, ...]:
        return ExplainPairs, (self.model, self.calls, self.raises)


@overload
def explain_many(
    model: Model,
    pairs: Any,
    *,
    batch_size: int = 16,
    errors: Literal["raise"] = "raise",
    workers: int = 1,
    ray: str | None = None,
    show_progress: bool = True,
    **options: Unpack[Options],
) -> Iterator[Explanation]: ...
@overload
def explain_many(
    model: Model,
    pairs: Any,
    *,
    batch_size: int = 16,
    errors: Errors,
    workers: int = 1,
    ray: str | None = None,
    show_progress: bool = True,
    **options: Unpack[Options],
) -> Iterator[Explanation | Failed]: ...
@shows_options
def explain_many(
    model: Model,
    pairs: Any,
    *,
    batch_size: int = 16,
    errors: Errors = "raise",
    workers: int = 1,
    ray: str | None = None,
    show_progress: bool = True,
    **options: Unpack[Options],
) -> Iterator[Explanation | Failed]:
    """Explain many pairs, ``batch_size`` at a time, in order and lazily; the results are those of ``explain``.

    pairs    an iterable of ``(("image", x), ("text", y))`` or of dicts ``{"image": x, "text": y}``; what
             :func:`m2ib.data.open_pairs` gives, or its path; a table of pandas, polars or pyarrow, or a ``datasets.Dataset``,
             with columns named by modality; a torch ``DataLoader``, whose batches are taken apart
    errors   "raise": a pair that cannot be used raises :class:`InputError` naming its position, after all pairs before it have been
             given out. "keep": a :class:`m2ib.Failed` stands in its place
    workers  so many processes of this machine, each with a model of its own; 1: this one
    ray      the address of a Ray cluster, "local" for one that is begun here; ``workers`` of its actors

    The other keywords are those of :func:`explain`, for all pairs.
    """
    check_model(model, "explain_many")
    size = whole_number("batch_size", batch_size)
    check_errors(errors)
    if isinstance(method := options.get("method"), (list, tuple)):
        raise SettingError(
            f"explain_many: takes one method, not {method!r:.60}; m2ib.run takes several, and m2ib.explain of one pair"
        )
    backend = backend_for(workers, ray, model)
    job = ExplainPairs(model, [options], raises=errors == "raise")
    _ = job.plans  # what is wrong with them shows now
    found = rows_of(pairs, "explain_many")
    return _explanations(found.rows, found.total, size, job, backend, errors, show_progress)


def _explanations(
    rows: Iterable[PairRow],
    total: int | None,
    size: int,
    job: ExplainPairs,
    backend: Any,
    errors: Errors,
    show_progress: bool,
) -> Iterator[Explanation | Failed]:
    with progress("explain", total=total, show=show_progress) as bar:
        results = itertools.chain.from_iterable(stream(chunks_of(rows, size), job, backend))
        for row, result in results:
            found = result if isinstance(result, Failed) else result[0].explanation
            if isinstance(found, Failed) and errors == "raise":
                raise found.raised(row.name)
            bar.advance()
            bar.waiting = True
            yield found
            bar.waiting = False


def check_errors(given: Any) -> None:
    """Raises :class:`SettingError`."""
    if given not in _ERRORS:
        raise SettingError(f"errors: {given!r:.60} is unknown; it is {' or '.join(map(repr, _ERRORS))}")
