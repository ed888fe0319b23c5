"""Chunks worked on by Ray Data: an actor pool holds the models, Ray streams the chunks through it and holds back what is ahead.

Ray only schedules: results come to this process, in order. A chunk that Ray gives up is :class:`~m2ib.corpus.engine.Failed`.
"""

from __future__ import annotations

import logging
import signal
import socket
import threading
import warnings
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cloudpickle

from m2ib.corpus.engine import Failed, Job
from m2ib.corpus.processes import Worker, threads_each
from m2ib.errors import PluginError, SettingError, one_line

LOCAL = "local"
_AHEAD = 3  # chunks for each actor that wait for it
_NUMBER, _CHUNK, _RESULT = "number", "chunk", "result"


def require_ray() -> None:
    """Raises :class:`SettingError` naming what to install where Ray is missing."""
    try:
        import ray
        import ray.data  # noqa: F401
    except ImportError as error:
        raise SettingError(
            f"ray: it needs {error.name or 'ray'}, which cannot be imported: pip install 'm2ib[ray]'"
        ) from error


class RayData:
    """So many actors.

    address  of a cluster, as ``ray.init`` takes it; "local": one that is begun here and ended again
    gpus     that an actor needs
    """

    def __init__(self, address: str, actors: int, gpus: float = 0) -> None:
        require_ray()
        self._address = address
        self._actors = actors
        self._gpus = gpus

    def map(self, job: Job, chunks: Iterable[Sequence[Any]]) -> Generator[Sequence[Any]]:
        import ray
        from ray.util.queue import Queue

        with ExitStack() as stack:
            stack.enter_context(_quiet_data())
            stack.enter_context(self._cluster())
            queue = Queue(_AHEAD * self._actors, actor_options={"num_cpus": 0})
            stack.callback(queue.shutdown, force=True)
            sizes: list[int] = []
            fault: list[BaseException] = []

            def feed() -> None:
                try:
                    for number, chunk in enumerate(chunks):
                        sizes.append(len(chunk))
                        queue.put((number, cloudpickle.dumps(chunk)))
                except BaseException as error:
                    fault.append(error)
                finally:
                    with suppress(Exception):  # where nobody listens any more
                        queue.put(None)

            feeding = threading.Thread(target=feed, daemon=True)
            feeding.start()
            given = 0
            try:
                for number, found in self._results(ray.put(cloudpickle.dumps(job)), queue):
                    for lost in sizes[given:number]:
                        yield _lost(lost)
                    if isinstance(found, Exception):
                        raise found
                    yield found
                    given = number + 1
            except ray.exceptions.RayError as error:
                raise PluginError(f"ray: {one_line(error, kind=True)}") from error
            feeding.join()
            for lost in sizes[given:]:
                yield _lost(lost)
            if fault:
                raise fault[0]

    def _results(self, job: Any, queue: Any) -> Iterator[tuple[int, Any]]:
        """(number of a chunk, its results), in order."""
        import ray.data

        threads = threads_each(self._actors) if self._address == LOCAL else 1
        source = ray.data.read_datasource(_source(queue), override_num_blocks=1, num_cpus=0)
        found = source.map_batches(
            _Actor,
            fn_constructor_args=(job, threads),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=self._actors),
            num_cpus=0 if self._gpus else threads,
            num_gpus=self._gpus,
        )
        for row in found.iter_batches(batch_size=1, prefetch_batches=0, batch_format="numpy"):
            yield int(row[_NUMBER][0]), cloudpickle.loads(row[_RESULT][0])

    @contextmanager
    def _cluster(self) -> Iterator[None]:
        """Raises :class:`SettingError` for one that is not there."""
        import ray

        if ray.is_initialized():
            yield
            return
        more: dict[str, Any] = {"address": self._address}
        if self._address == LOCAL:
            more |= {"include_dashboard": False, "num_cpus": self._actors * threads_each(self._actors)}
        try:
            _check_there(self._address)
            with _own_signals():
                ray.init(log_to_driver=False, configure_logging=False, **more)
        except (OSError, RuntimeError, ValueError) as error:
            raise SettingError(
                f"ray: there is no cluster at {self._address!r:.80}: {one_line(error)}; give its address, or {LOCAL!r} for one here"
            ) from error
        try:
            yield
        finally:
            ray.shutdown()


def _check_there(address: str) -> None:
    """Raises OSError where nobody listens at HOST:PORT: Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


@contextmanager
def _own_signals() -> Iterator[None]:
    """What the caller does at SIGTERM stays; Ray would put an exit in its place."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _lost(rows: int) -> list[Any]:
    return [Failed("WorkerDied", "the Ray actor that worked on its chunk died")] * rows


class _Actor:
    """Holds a worker process, which may die without Ray's knowledge."""

    def __init__(self, job: Any, threads: int) -> None:
        import ray

        folder = TemporaryDirectory(prefix="m2ib-")
        path = Path(folder.name) / "job"
        path.write_bytes(ray.get(job) if isinstance(job, ray.ObjectRef) else job)
        self._folder = folder
        self._worker = Worker(path, threads)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        found = [
            cloudpickle.dumps(self._worker.carry_out(cloudpickle.loads(chunk))) for chunk in batch[_CHUNK]
        ]
        return {_NUMBER: batch[_NUMBER], _RESULT: found}


def _source(queue: Any) -> Any:
    """Of blocks of one chunk each, as they come out of the queue."""
    import pyarrow as pa
    from ray.data import Datasource, ReadTask
    from ray.data.block import BlockMetadata

    class Chunks(Datasource):  # type: ignore[misc]
        def estimate_inmemory_data_size(self) -> int | None:
            return None

        def get_read_tasks(self, parallelism: int, *more: Any, **others: Any) -> list[ReadTask]:
            def read() -> Iterator[pa.Table]:
                while (each := queue.get()) is not None:
                    number, chunk = each
                    yield pa.table({_NUMBER: [number], _CHUNK: pa.array([chunk], pa.large_binary())})

            empty = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
            return [ReadTask(read, empty)]

    return Chunks()


@contextmanager
def _quiet_data() -> Iterator[None]:
    """Ray Data in order, a block a chunk, without bars and what it says to itself; as before outside."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"ray(\.|$)")
        with _in_order():
            yield


@contextmanager
def _in_order() -> Iterator[None]:
    import ray.data

    context: Any = ray.data.DataContext.get_current()
    wanted = {
        "target_max_block_size": 1,  # bytes: whole rows are never cut, so each is a block of its own
        "enable_progress_bars": False,
        "max_errored_blocks": -1,  # told by their numbers
    }
    before = {name: getattr(context, name) for name in wanted}
    in_order = context.execution_options.preserve_order
    loggers = [logging.getLogger(name) for name in ("ray", "ray.data")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        context.execution_options.preserve_order = True
        for name, value in wanted.items():
            setattr(context, name, value)
        yield
    finally:
        context.execution_options.preserve_order = in_order
        for name, value in before.items():
            setattr(context, name, value)
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
