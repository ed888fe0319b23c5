"""Memory that torch cannot get, told as one error, so that whoever runs many pairs can try with fewer."""

from __future__ import annotations

import ctypes
import gc
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from m2ib.errors import OutOfMemoryError, one_line

_PATIENCE = 10.0
_given_back = 0.0
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
_SAID = re.compile(r"out of memory|not enough memory|can't allocate memory|cannot allocate memory", re.I)


@contextmanager
def memory_told(what: str) -> Iterator[None]:
    """What is raised inside for want of memory becomes an :class:`OutOfMemoryError` of ``what``, "4 pairs"."""
    try:
        yield
        return
    except OutOfMemoryError:
        raise
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, (MemoryError, torch.OutOfMemoryError)) and not _SAID.search(str(error)):
            raise
        said = one_line(error, kind=True)
    raise OutOfMemoryError(  # outside, where nothing holds the frames of the failure and their tensors
        f"{what}: there is not the memory ({said}); give fewer samples, a later layer, dtype='bfloat16' or a smaller batch_size"
    )


def free_memory() -> None:
    """What nothing holds any more goes back to the device."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def give_back_memory() -> None:
    """What was freed goes back to the system, of which glibc keeps all but the end: among millions of arrays, more and more.

    At most every ten seconds: it takes some milliseconds.
    """
    global _given_back
    if _trim is not None and time.monotonic() - _given_back > _PATIENCE:
        _trim(0)
        _given_back = time.monotonic()
