"""``m2ib.run``: many pairs explained into a folder of Parquet shards, which grows where it was cut off."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from m2ib.api import METHOD, Options, shows_options
from m2ib.contract.model import Model
from m2ib.corpus.backends import backend_for, check_workers, whole_number
from m2ib.corpus.engine import Failed, chunks_of, stream
from m2ib.corpus.explain import Errors, ExplainPairs, Found, check_errors
from m2ib.corpus.rows import PairRow, rows_of
from m2ib.corpus.shards import Part, Shards, Written, hash_of, open_shards
from m2ib.data.files import counted
from m2ib.errors import M2IBError, SettingError
from m2ib.notices import ignored_warnings, warn
from m2ib.paths import local_path, printable
from m2ib.pipeline import provenance_of
from m2ib.progress import Bar, going_on, progress
from m2ib.registry.calls import OF_PAIRS, calls_of
from m2ib.registry.discovery import check_model
from m2ib.results.explanation import Explanation
from m2ib.results.query import require_arrow
from m2ib.results.resume import model_facts, plain, version_facts
from m2ib.results.rows import KeptView, Row, explained, name_of
from m2ib.results.table import ResultTable
from m2ib.results.table import open as open_results

BATCH, BATCH_ON_DEVICE = 16, 64  # pairs of a chunk
_PREPARING = ("numpy", "pillow", "scipy")  # besides what adapters use and tell themselves


@shows_options
def run(
    model: Model,
    pairs: Any,
    folder: str | Path,
    *,
    workers: int = 1,
    ray: str | None = None,
    batch_size: int | None = None,
    limit: int | None = None,
    shard: str | tuple[int, int] | None = None,
    errors: Errors = "keep",
    retry_errors: bool = False,
    keep_inputs: bool = False,
    force: bool = False,
    show_progress: bool = True,
    **options: Unpack[Options],
) -> ResultTable:
    """Explain many pairs into ``folder``; what is done there already is not done again.

    pairs    whatever :func:`m2ib.explain_many` takes
    workers  so many processes of this machine, each with a model of its own; 1: this one
    ray      the address of a Ray cluster, "local" for one that is begun here; ``workers`` of its actors
    batch_size   pairs worked on together; None: 16, on a device 64. Fewer where memory does not suffice; a run may go on with another
                 number
    limit    the first so many rows of the data; None: all
    shard    "3/16": the third of sixteen runs that share the pairs, and may share the folder
    errors   "keep": a pair that cannot be explained is a row with an error. "raise": it ends the run
    retry_errors  pairs whose row has an error are tried again, as they are with errors="raise"
    keep_inputs   keep what is shown of files too, so that pages need neither them nor the model
    force    begin anew over the results of another run
    method   one name, or several with commas between; of the settings each takes those it has

    The other keywords are those of :func:`m2ib.explain`. A pair is the same as before where its id, its texts and the names and sizes of
    its files are; one that has changed is explained again.

    Gives the table, as :func:`m2ib.results.open` does. Raises :class:`SettingError`, :class:`InputError` for what are no pairs,
    :class:`StorageError` for the folder of another run, and with ``errors="raise"`` a pair's own error.
    """
    check_model(model, "run")
    part = check_run(workers, ray, batch_size, limit, shard, errors)
    size = batch_size or (BATCH if model.device.type == "cpu" else BATCH_ON_DEVICE)
    backend = backend_for(workers, ray, model)
    if options.get("units") is not None:
        raise SettingError(
            "run: units are not kept in tables of many pairs; explain_many gives explanations that have them"
        )
    calls = calls_of({"method": METHOD, **options})
    work = ExplainPairs(model, list(calls.values()))
    _ = work.plans  # what is wrong with them shows now
    found = rows_of(pairs, "run")
    total = found.total if limit is None or found.total is None else min(found.total, limit)
    rows = itertools.islice(found.rows, limit)
    ahead = list(itertools.islice(rows, size))
    _check_settings(work, ahead)
    about = {"data": found.name, "provenance": provenance_of(model), "recipe": model.recipe}
    opened = open_shards(local_path(folder), asked_of(model, calls), about, part, size, force=force)
    with ExitStack() as stack:
        shards = stack.enter_context(opened)
        bar = stack.enter_context(progress("run", total=total, show=show_progress))
        again = retry_errors or errors == "raise"  # those with an error
        going_on("run", shards.known.count(failed=not again), total, "pairs", show=show_progress)
        mine = _of_part(itertools.chain(ahead, rows), shards, part, bar)
        left = _todo(chunks_of(mine, size), shards, again, bar)
        job = WriteRows(work, tuple(calls), provenance_of(model), keep_inputs)
        try:
            for chunk in stack.enter_context(closing(stream(left, job, backend))):
                made: list[Written] = []
                for row, written in chunk:
                    if errors == "raise" and isinstance(fault := _fault(written), Failed):
                        shards.add(made)
                        raise fault.raised(row.name)
                    if isinstance(written, Failed):  # of a worker that died
                        lost = {**_named(row), **_failure(row, written)}
                        written = Written(row.ids, [{**lost, "method": name} for name in calls])
                    made.append(written)
                shards.add(made)
                for each in made:
                    bar.advance(failed=any(row["error"] is not None for row in each.rows))
                shards.flush_if_due()
        finally:
            shards.flush()
        if others := shards.known.others:
            warn(
                f"run: {counted(others, 'pair')} of {str(folder)!r} {'is' if others == 1 else 'are'} not among those given now, and "
                "in its tables all the same; give them again, or begin anew with --force (force=True)"
            )
    return open_results(folder)


def check_run(workers: Any, ray: str | None, batch_size: Any, limit: Any, shard: Any, errors: Any) -> Part:
    """Options of :func:`run`, before a model is loaded; gives the part of the pairs. Raises :class:`SettingError`."""
    require_arrow("run")
    check_workers(workers, ray)
    for name, given, least in (("batch_size", batch_size, 1), ("limit", limit, 0)):
        if given is not None:
            whole_number(name, given, least)
    check_errors(errors)
    return Part.of(shard)


def _fault(written: Any) -> Failed | None:
    if isinstance(written, Failed):
        return written
    return next(
        (Failed(each["error_kind"], each["error"]) for each in written.rows if each["error"] is not None),
        None,
    )


def _check_settings(work: ExplainPairs, rows: Sequence[PairRow]) -> None:
    """Raises :class:`SettingError` for what would be wrong with each of them."""
    kinds = dict.fromkeys((row.inputs[0][0], row.inputs[1][0]) for row in rows if row.inputs is not None)
    faults = [work.setting_fault(modalities) for modalities in kinds]
    if faults and all(faults) and faults[0] is not None:
        raise faults[0]


def _of_part(rows: Iterable[PairRow], shards: Shards, part: Part, bar: Bar) -> Iterator[PairRow]:
    """Those of this part, which is divided from the others as it was when the folder was begun."""
    for number, row in enumerate(rows):
        if number // shards.division % part.total == part.number - 1:
            yield row
        else:
            shards.known.meet(row.ids)
            bar.advance(skipped=True)


def _todo(
    chunks: Iterable[Sequence[PairRow]], shards: Shards, retry_errors: bool, bar: Bar
) -> Iterator[list[PairRow]]:
    """What is left of each chunk: with one batch size chunks are the same in every run, so that results are."""
    for chunk in chunks:
        todo = []
        for row in chunk:
            known = shards.known.meet(row.ids)
            if known is None or (retry_errors and known[1]) or (known[0] and known[0] != key_of(row)):
                todo.append(row)
        for _ in range(len(chunk) - len(todo)):
            bar.advance(skipped=True)
        if todo:
            yield todo


def key_of(row: PairRow) -> int:
    """What a result belongs to: texts, names and sizes of files, numbers of arrays, in 63 bits; 0 where that cannot be told."""
    try:
        told = [[modality, plain(raw, times=False)] for modality, raw in row.inputs or ()]
    except TypeError:
        return 0
    return hash_of(json.dumps(told)) >> 1 or 1


def asked_of(model: Model, calls: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Everything that changes a result."""

    def told(value: Any) -> Any:
        try:
            return plain(value)
        except TypeError:
            raise SettingError(
                f"run: what a result belongs to cannot be told of a {type(value).__name__} among the options; give paths or arrays"
            ) from None

    every = [dict(options) for options in calls.values()]
    methods = {
        name: {"settings": each.pop("settings"), "reference": told(each.pop("reference"))}
        for name, each in zip(calls, every, strict=True)
    }
    shared = {
        name: value
        for name, value in every[0].items()
        if name != "method" and (value or name not in OF_PAIRS)
    }
    return {
        "model": model_facts(model),
        "methods": methods,
        "options": {"seed": 0, "seeds": 1, "truncate": False, "fast": True, **shared},
        "versions": {**version_facts(), **{name: version(name) for name in _PREPARING}},
    }


@dataclass(frozen=True)
class WriteRows:
    """A job: rows to what is written of them.

    names  of the methods
    known  provenance that stands in the manifest
    """

    work: ExplainPairs
    names: tuple[str, ...]
    known: Mapping[str, Any]
    keep_inputs: bool

    def __call__(self, rows: Sequence[PairRow]) -> list[Written]:
        stored: dict[int, KeptView] = {}
        with ignored_warnings():  # they stand in the rows
            found = self.work(rows)
            return [self._written(row, each, stored) for row, each in zip(rows, found, strict=True)]

    def _written(self, row: PairRow, found: Sequence[Found], stored: dict[int, KeptView]) -> Written:
        named = _named(row)
        made: list[Row] = []
        arrays: dict[str, np.ndarray] = {}
        views: list[KeptView] = []
        for name, (explanation, seconds) in zip(self.names, found, strict=True):
            own, beside, kept = self._columns(row, explanation, stored)
            about = {"method": name, "seconds": seconds, "arrays": "yes" if beside else None}
            made.append({**named, **about, **own})
            arrays |= {f"{row.number}.{name}.{column}": array for column, array in beside.items()}
            views += kept
        return Written(row.ids, made, arrays, views)

    def _columns(
        self, row: PairRow, explanation: Explanation | Failed, stored: dict[int, KeptView]
    ) -> tuple[Row, dict[str, np.ndarray], list[KeptView]]:
        """See :func:`m2ib.results.rows.explained`. What a renderer cannot store is a row with an error, as any other."""
        if isinstance(explanation, Failed):
            return _failure(row, explanation), {}, []
        assert row.inputs is not None
        raws = row.inputs[0][1], row.inputs[1][1]
        try:
            return explained(explanation, raws, self.known, stored, keep=self.keep_inputs)
        except M2IBError as error:
            return _failure(row, Failed.of(error)), {}, []


def _named(row: PairRow) -> Row:
    return {"id": row.id, "number": row.number, "key": key_of(row), "error": None, "error_kind": None}


def _failure(row: PairRow, failed: Failed) -> Row:
    """The columns of a pair that could not be explained."""
    made: Row = {"error": printable(failed.message), "error_kind": failed.kind}
    for n, (modality, raw) in enumerate(row.inputs or (), 1):
        made[f"modality_{n}"], made[f"input_{n}"] = modality, name_of(raw)
    return made
