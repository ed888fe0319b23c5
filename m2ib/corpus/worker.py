"""What a worker process runs: ``python -m m2ib.corpus.worker JOB``.

It reads frames from standard input, the search path of modules first, then chunks, and writes frames to standard output: None when
its job is loaded, or in words why it cannot be; then a result, or an exception, for each chunk. It ends when its input does.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
from pathlib import Path
from typing import IO, Any

FEW_KERNELS = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "256"}
"""Environment of processes that are m2ib's own. oneDNN keeps 1024 kernels, one for each shape: of texts of all lengths, in
batches of all sizes, they would add up for hours. 256 are several times what one model needs."""

_LENGTH = struct.Struct("<Q")


def send(stream: IO[bytes], content: Any) -> None:
    """Raises OSError where nobody reads."""
    import cloudpickle

    data = cloudpickle.dumps(content)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Raises EOFError where nothing comes any more."""
    import pickle

    (length,) = _LENGTH.unpack(_whole(stream, _LENGTH.size))
    return pickle.loads(_whole(stream, length))


def _whole(stream: IO[bytes], length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return data


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever is printed goes where messages go
    try:
        sys.path[:] = receive(sys.stdin.buffer)
        import pickle

        job = pickle.loads(Path(sys.argv[1]).read_bytes())
    except EOFError:
        return
    except BaseException as error:
        send(answers, f"{type(error).__name__}: {error}"[:1000])
        return
    send(answers, None)
    while True:
        try:
            chunk = receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            found: Any = job(chunk)
        except Exception as error:
            found = portable(error)
        try:
            send(answers, found)
        except BrokenPipeError:
            return


def portable(error: Exception) -> Exception:
    """Itself, where it comes whole through a pickle."""
    import pickle

    from m2ib.errors import PluginError, one_line

    try:
        return (
            error if isinstance(pickle.loads(pickle.dumps(error)), type(error)) else RuntimeError(str(error))
        )
    except Exception:
        return PluginError(one_line(error, kind=True))


if __name__ == "__main__":
    main()
