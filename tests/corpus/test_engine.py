"""The engine: order, what happens to a row that cannot be worked on, and to a worker."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import m2ib
from m2ib.corpus.engine import Backend, Failed, Halving, Here, chunks_of, stream
from m2ib.corpus.processes import Processes
from m2ib.corpus.ray_data import RayData
from m2ib.errors import InputError, OutOfMemoryError, PluginError
from m2ib.execution.memory import memory_told


def backend(name: str) -> Backend:
    if name == "ray":
        return RayData("local", 2)
    return Here() if name == "here" else Processes(2)


@pytest.fixture(scope="module", autouse=True)
def one_cluster() -> Iterator[None]:
    """For all tests here, for it takes seconds to begin one."""
    import ray

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def doubled(rows: Sequence[int]) -> list[Any]:
    return [2 * row for row in rows]


def results(rows: Sequence[int], job: Any, where: Backend, size: int = 3) -> list[tuple[int, Any]]:
    return [each for chunk in stream(chunks_of(rows, size), job, where) for each in chunk]


@pytest.mark.parametrize("name", ["here", "processes", "ray"])
def test_results_come_in_order(name: str) -> None:
    assert results(range(20), doubled, backend(name)) == [(n, 2 * n) for n in range(20)]
    assert results([], doubled, backend(name)) == []


def kept_kernels(rows: Sequence[int]) -> list[Any]:
    return [os.environ.get("ONEDNN_PRIMITIVE_CACHE_CAPACITY")] * len(rows)


@pytest.mark.parametrize(("given", "expected"), [(None, "256"), ("32", "32")])
def test_workers_keep_few_kernels(given: str | None, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    if given is not None:
        monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", given)
    assert results([0], kept_kernels, Processes(1)) == [(0, expected)]


def test_rows_are_taken_as_they_are_needed() -> None:
    taken = []

    def rows() -> Any:
        for n in range(1000):
            taken.append(n)
            yield n

    first = next(stream(chunks_of(rows(), 4), doubled, Here()))
    assert [row for row, _ in first] == [0, 1, 2, 3] == taken
    taken.clear()
    with_workers = stream(chunks_of(rows(), 4), doubled, Processes(2))
    next(with_workers)
    assert len(taken) <= 40  # of a thousand
    with_workers.close()


def test_what_reads_the_rows_may_fail() -> None:
    def rows() -> Any:
        yield from range(7)
        raise InputError("the disk is gone")

    for name in ("here", "processes", "ray"):
        chunks = stream(chunks_of(rows(), 3), doubled, backend(name))
        assert [*next(chunks), *next(chunks)] == [(n, 2 * n) for n in range(6)]
        with pytest.raises(InputError, match="the disk is gone"):
            next(chunks)


def test_rows_that_nobody_waits_for_any_more() -> None:
    """Of rows without an end: what feeds Ray stops, and says nothing."""
    chunks = stream(chunks_of(itertools.count(), 3), doubled, backend("ray"))
    assert next(chunks) == [(0, 0), (1, 2), (2, 4)]
    chunks.close()
    until = time.monotonic() + 30
    while any("feed" in each.name for each in threading.enumerate()) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any("feed" in each.name for each in threading.enumerate())


class Fragile:
    """Fails over 5 and 6; with memory for so many rows."""

    def __init__(self, most: int = 100) -> None:
        self.most = most
        self.sizes: list[int] = []

    def __call__(self, rows: Sequence[int]) -> list[int]:
        self.sizes.append(len(rows))
        if len(rows) > self.most:
            with memory_told(f"{len(rows)} rows"):
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        if {5, 6} & {*rows}:
            raise ValueError(f"no {min({5, 6} & {*rows})}")
        return [2 * row for row in rows]


def test_a_row_that_fails_is_alone() -> None:
    found = Halving(Fragile())(range(16))
    assert found[5] == Failed("ValueError", "no 5")
    assert found[6] == Failed("ValueError", "no 6")
    assert [each for n, each in enumerate(found) if n not in (5, 6)] == [
        2 * n for n in range(16) if n not in (5, 6)
    ]
    with pytest.raises(ValueError, match="no 5"):
        Halving(Fragile(), InputError)(range(16))


def test_chunks_shrink_to_what_memory_holds() -> None:
    job = Fragile(most=3)
    halving = Halving(job)
    for _ in range(2):
        found = halving([0, 1, 2, 3, 4, 7, 8, 9])
        assert found == [0, 2, 4, 6, 8, 14, 16, 18]
    assert job.sizes == [8, 4, *[2] * 8]  # remembered
    (one,) = Halving(Fragile(most=0))([1])
    assert one.kind == "OutOfMemoryError"
    assert one.message.startswith(
        "1 rows: there is not the memory (OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB)"
    )


def test_other_errors_of_torch_are_no_want_of_memory() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_told("x"):
        raise RuntimeError("shapes cannot be multiplied")
    for error in (
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: not enough memory: you tried"),
        RuntimeError("MPS backend out of memory"),
    ):
        with pytest.raises(OutOfMemoryError, match=r"^x: there is not the memory"), memory_told("x"):
            raise error


class Deadly:
    """Kills the process that works on 4, and once the one that works on 8."""

    def __init__(self, place: Path) -> None:
        self.mark = place / "once"

    def __call__(self, rows: Sequence[int]) -> list[int]:
        if 4 in rows:
            os.kill(os.getpid(), signal.SIGKILL)
        if 8 in rows and not self.mark.exists():
            self.mark.touch()
            os._exit(3)
        return [2 * row for row in rows]


@pytest.mark.parametrize("name", ["processes", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_worker_that_dies_takes_one_row_with_it(name: str, tmp_path: Path) -> None:
    found = dict(results(range(12), Deadly(tmp_path), backend(name)))
    assert found.pop(4) == Failed(
        "WorkerDied",
        "the process that worked on it was ended by signal 9, 2 times; signal 9 often means that memory ran out",
    )
    assert found == {n: 2 * n for n in range(12) if n != 4}


class Unloadable:
    def __reduce__(self) -> Any:
        return int, ("no number",)


class Broken:
    def __call__(self, rows: Sequence[int]) -> list[int]:
        raise KeyError("of the job itself")


def test_what_is_no_rows_fault_ends_the_run() -> None:
    with pytest.raises(PluginError, match=r"^a worker cannot begin: ValueError: invalid literal"):
        results(range(3), Unloadable(), Processes(2))
    with pytest.raises(KeyError, match="of the job itself"):
        results(range(3), Broken(), Processes(2))


def test_failures_say_where() -> None:
    ours = Failed.of(InputError("image 'x.png' does not exist")).raised("pair 3")
    assert isinstance(ours, InputError)
    assert str(ours) == "pair 3: image 'x.png' does not exist"
    theirs = ZeroDivisionError("by zero")
    assert Failed.of(theirs).raised("pair 3") is theirs
    told = Failed("ZeroDivisionError", "by zero").raised("pair 3")  # of another process
    assert isinstance(told, PluginError)
    assert str(told) == "pair 3: by zero"


def test_a_cluster_that_is_not_there() -> None:
    import ray

    ray.shutdown()  # the last test here
    with pytest.raises(
        m2ib.SettingError, match=r"^ray: there is no cluster at '127.0.0.1:1': .*refused.*; give its address"
    ):
        results(range(3), doubled, RayData("127.0.0.1:1", 1))
