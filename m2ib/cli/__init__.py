"""The command line: ``m2ib demo``, ``m2ib explain``, ``m2ib evaluate``, ...

Bad input gives one clear line on stderr and exit code 2, never a traceback.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from importlib.metadata import version
from typing import Any, NoReturn

from m2ib.cli import (
    adapters,
    benchmark,
    check,
    demo,
    evaluate,
    explain,
    export,
    methods,
    new_plugin,
    run,
    tune,
)
from m2ib.cli import results as results_command
from m2ib.cli.help import HelpFormatter
from m2ib.cli.output import results, say
from m2ib.errors import M2IBError, M2IBWarning, SettingError, one_line, shortened
from m2ib.progress import silence

_LONGEST = 2000  # characters of a line

_COMMANDS = {
    "demo": demo,
    "explain": explain,
    "run": run,
    "results": results_command,
    "export": export,
    "evaluate": evaluate,
    "tune": tune,
    "benchmark": benchmark,
    "check": check,
    "adapters": adapters,
    "methods": methods,
    "new-plugin": new_plugin,
}


class _Parser(argparse.ArgumentParser):
    """Usage errors as every other error: one line."""

    def error(self, message: str) -> NoReturn:
        raise SettingError(f"{message}; see {self.prog} --help")

    def _print_message(self, message: str, file: Any = None) -> None:
        say(message, end="")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, and give its exit code.

    0    it is done
    1    ``check`` found a broken adapter, ``adapters --can`` none that opens it
    2    bad input, or a place that cannot be written
    70   an error that was not foreseen; with ``M2IB_TRACEBACK=1`` it is shown where
    130  interrupted
    141  it is done, and nobody read what it printed
    """
    if not _somewhere():
        return _tell("the working folder is gone; change into one that exists", 2)
    with warnings.catch_warnings():
        if not sys.warnoptions:  # other libraries' warnings are for whoever asks with python -W
            warnings.simplefilter("ignore")
        warnings.simplefilter("default", M2IBWarning)
        warnings.showwarning = _show_warning
        with results() as printed:
            code = _ended(lambda: _run(arguments))
        if code == 0 and isinstance(printed.fault, BrokenPipeError):  # as of a program that SIGPIPE ended
            return 128 + 13
        if code == 0 and printed.fault is not None:
            return _tell(f"standard output cannot be written: {printed.fault.strerror}", 2)
        return code


def parser() -> argparse.ArgumentParser:
    """Of all commands."""
    whole = _Parser(
        prog="m2ib",
        description="Why does a shared-embedding model put two things close together?",
        epilog="""`m2ib COMMAND --help` tells what each option does. To begin with:

  m2ib demo
  m2ib explain --image dog.jpg --text "a dog"
""",
        allow_abbrev=False,
        formatter_class=HelpFormatter,
    )
    whole.add_argument("--version", action="version", version=f"m2ib {version('m2ib')}")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in _COMMANDS.items():
        command.add_parser(commands, name)
    return whole


def _run(arguments: Sequence[str] | None) -> int | None:
    try:
        parsed, rest = parser().parse_known_args(arguments)
    except SystemExit:  # --help or --version was all
        return 0
    quiet = getattr(parsed, "quiet", False)
    if quiet:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # of downloads
    with silence() if quiet else nullcontext():
        code: int | None = _COMMANDS[parsed.command].run(parsed, rest)
    return code


def _ended(command: Callable[[], int | None]) -> int:
    """The exit code of a command, whatever it raises."""
    try:
        return int(command() or 0)
    except M2IBError as error:
        return _fail(error)
    except KeyboardInterrupt:
        return _tell("interrupted", 130)
    except BaseException as error:  # a sys.exit(0) of somebody else's would end as if all were done
        if _traced():
            traceback.print_exc()
        where = "this was not foreseen; with M2IB_TRACEBACK=1 it is shown where it comes from"
        return _tell(f"{one_line(error, kind=True)} ({where})", 70)


def _somewhere() -> bool:
    """Whether relative paths, and libraries that are found by one, lead anywhere."""
    try:
        return bool(os.getcwd())
    except OSError:
        return False


def _traced() -> bool:
    return os.environ.get("M2IB_TRACEBACK", "0") not in ("", "0")


def _fail(error: M2IBError) -> int:
    if _traced():
        traceback.print_exc()
    return _tell(one_line(error, longest=_LONGEST), 2)


def _tell(message: str, code: int) -> int:
    with suppress(OSError, ValueError):  # nobody is left to be told
        print(f"m2ib: error: {shortened(message, _LONGEST)}", file=sys.stderr)
    return code


def _show_warning(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    kind = "warning" if issubclass(category, M2IBWarning) else category.__name__
    with suppress(OSError, ValueError):
        print(f"m2ib: {kind}: {shortened(str(message), _LONGEST)}", file=sys.stderr)
