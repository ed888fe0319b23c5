"""``m2ib`` and ``python -m m2ib``: a command in a process of its own. Imports nothing of weight before it can be interrupted."""

import os
import signal
import sys
from types import FrameType

_interrupted = False
_IMPORTING = "<frozen importlib"  # files of Python's own import


def run() -> int:
    """Its exit code, 130 where it was interrupted, whatever was going on.

    An interrupt during an import ends the process at once, and so does a second one.
    """
    ours = (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )  # else it is ignored, as in the background
    if ours:
        signal.signal(signal.SIGINT, _interrupt)
        sys.unraisablehook = _dropped
    try:
        _give_stdout_to_results()
        from m2ib.cli import main
        from m2ib.corpus.worker import FEW_KERNELS

        os.environ.update(FEW_KERNELS | os.environ)
        code = main()
    except KeyboardInterrupt:
        code = 130
    if ours:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    return 130 if _interrupted and code else code


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _interrupted
    _interrupted = True
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    while frame is not None:  # what C++ does at an exception during an import is anybody's guess
        if frame.f_code.co_filename.startswith(_IMPORTING):
            signal.raise_signal(signal.SIGINT)
        frame = frame.f_back
    raise KeyboardInterrupt


def _dropped(unraisable: "sys.UnraisableHookArgs") -> None:
    """An interrupt in a finaliser or a callback of a weak reference, where Python drops what is raised, ends the process at once."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)  # its default by now
    sys.__unraisablehook__(unraisable)


def _give_stdout_to_results() -> None:
    """What libraries write to file descriptor 1 goes to standard error; ``sys.stdout`` is for results, and takes any text."""
    for number in range(3):  # of those that are closed the next file that is opened would take the place
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", errors="backslashreplace", closefd=False)
    encoding, errors = getattr(sys.stdout, "encoding", None), getattr(sys.stdout, "errors", "strict")
    apart = os.dup(1)
    os.dup2(2, 1)
    any_text = "backslashreplace" if errors == "strict" else errors
    sys.stdout = os.fdopen(apart, "w", encoding=encoding, errors=any_text, closefd=False)


if __name__ == "__main__":
    sys.exit(run())
