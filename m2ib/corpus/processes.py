"""Chunks worked on by other processes of this machine, each with a model of its own.

A worker is a fresh Python that is told its job and then one chunk after the other, through its standard input and output. One that
dies is begun anew; a row over which it dies twice is :class:`~m2ib.corpus.engine.Failed`, and the others of its chunk are not.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import cloudpickle

from m2ib.corpus import worker
from m2ib.corpus.engine import Failed, Job
from m2ib.corpus.worker import FEW_KERNELS, receive, send
from m2ib.errors import PluginError

_TRIES = 2  # of a worker over one chunk
_AHEAD = 3  # chunks for each worker that are taken before the first of them is given out


class Processes:
    """So many workers, which share this machine's threads, and its CUDA devices where the model is on one."""

    def __init__(self, count: int) -> None:
        self._count = count

    def map(self, job: Job, chunks: Iterable[Sequence[Any]]) -> Generator[Sequence[Any]]:
        threads = threads_each(self._count)
        with TemporaryDirectory(prefix="m2ib-") as folder, ThreadPoolExecutor(self._count) as pool:
            path = Path(folder) / "job"
            path.write_bytes(cloudpickle.dumps(job))
            workers = [Worker(path, threads, own_device(number)) for number in range(self._count)]
            idle: SimpleQueue[Worker] = SimpleQueue()
            for each in workers:
                idle.put(each)

            def carried_out(chunk: Sequence[Any]) -> Sequence[Any]:
                mine = idle.get()
                try:
                    return mine.carry_out(chunk)
                finally:
                    idle.put(mine)

            waiting: deque[Future[Sequence[Any]]] = deque()
            fault: list[Exception] = []

            def submitted() -> Iterator[None]:
                try:
                    for chunk in chunks:
                        waiting.append(pool.submit(carried_out, chunk))
                        yield
                except Exception as error:  # what was taken before comes first
                    fault.append(error)

            try:
                for _ in submitted():
                    while waiting and (waiting[0].done() or len(waiting) > _AHEAD * self._count):
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for each in workers:
                    each.kill()
                pool.shutdown(cancel_futures=True)
                for each in workers:
                    each.close()
            if fault:
                raise fault[0]


class Worker:
    """One process, begun when it is first needed.

    job          a file that holds it, pickled
    environment  besides this process's own
    """

    def __init__(
        self, job: Path, threads: int, environment: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._command = [sys.executable, "-m", worker.__name__, str(job)]
        self._environment = {
            **FEW_KERNELS,
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = False

    def carry_out(self, chunk: Sequence[Any]) -> Sequence[Any]:
        """The results of a chunk. Raises what the job raises."""
        code = 0
        for _ in range(_TRIES):
            answer, code = self._asked(chunk)
            if isinstance(answer, Exception):
                raise answer
            if answer is not None:
                found: Sequence[Any] = answer
                return found
        if len(chunk) == 1:
            why = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
            more = "; signal 9 often means that memory ran out" if code == -9 else ""
            return [Failed("WorkerDied", f"the process that worked on it {why}, {_TRIES} times{more}")]
        half = len(chunk) // 2
        return [*self.carry_out(chunk[:half]), *self.carry_out(chunk[half:])]

    def _asked(self, chunk: Sequence[Any]) -> tuple[Any, int]:
        """The answer, or None and the exit code of a process that gave none."""
        process = self._process or self._begun()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            send(process.stdin, chunk)
            return receive(process.stdout), 0
        except (EOFError, OSError):
            return None, self.close()

    def _begun(self) -> subprocess.Popen[bytes]:
        """Raises :class:`PluginError` for one that cannot begin."""
        if self._ended:
            raise PluginError("the workers are no more")
        process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=None if os.name == "nt" else 0,  # the user's Ctrl-C is for the one who ends them
        )
        self._process = process
        if self._ended:  # meanwhile
            process.kill()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            send(process.stdin, sys.path)
            said = receive(process.stdout)
        except (EOFError, OSError):
            raise PluginError(
                f"a worker cannot begin: it ended with {self.close()} while it loaded the model; try with fewer workers"
            ) from None
        if said is not None:
            self.close()
            raise PluginError(
                f"a worker cannot begin: {said}; what a job needs must be importable, and picklable"
            )
        return process

    def close(self) -> int:
        """Let the process come to its end; its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        assert process.stdin is not None
        with suppress(OSError):  # what was not sent any more
            process.stdin.close()
        with process:
            pass
        return process.returncode

    def kill(self) -> None:
        """No answer comes any more; whoever waits for one is told."""
        self._ended = True
        if self._process is not None:
            self._process.kill()


def threads_each(count: int) -> int:
    """Of this process's threads, for each of so many workers."""
    import torch

    return max(1, torch.get_num_threads() // count)


def own_device(number: int) -> dict[str, str]:
    """Environment in which the CUDA devices come in another order, so that each worker's model is on another one."""
    import torch

    if not torch.cuda.is_available():
        return {}
    count = torch.cuda.device_count()
    known = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = known.split(",")[:count] if known else [str(each) for each in range(count)]
    return {"CUDA_VISIBLE_DEVICES": ",".join(names[(place + number) % count] for place in range(count))}
