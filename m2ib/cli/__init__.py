"""The command line: ``m2ib demo``, ``m2ib explain``, ``m2ib evaluate``, ...

Bad input gives one clear line on stderr and exit code 2, never a traceback.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, NoReturn

from m2ib.cli import adapters, benchmark, check, demo, evaluate, explain, methods, new_plugin, tune
from m2ib.errors import M2IBError, M2IBWarning, SettingError

_COMMANDS = {
    "demo": demo,
    "explain": explain,
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, or 1 where ``check`` finds a broken adapter, 2 for bad input, 130 when interrupted."""
    parser = _Parser(
        prog="m2ib",
        description="Why does a shared-embedding model put two things close together?",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"m2ib {version('m2ib')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in _COMMANDS.items():
        command.add_parser(commands, name)
    with warnings.catch_warnings():
        if not sys.warnoptions:  # other libraries' warnings are for whoever asks with python -W
            warnings.simplefilter("ignore")
        warnings.simplefilter("default", M2IBWarning)
        warnings.showwarning = _show_warning
        try:
            parsed, rest = parser.parse_known_args(arguments)
            return int(_COMMANDS[parsed.command].run(parsed, rest) or 0)
        except M2IBError as error:
            return _fail(str(error))
        except KeyboardInterrupt:
            _fail("interrupted")
            return 130
        except BrokenPipeError:  # the reader of our output went away
            sys.stderr.close()
            return 0


def _fail(message: str) -> int:
    print(f"m2ib: error: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _show_warning(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    kind = "warning" if issubclass(category, M2IBWarning) else category.__name__
    print(f"m2ib: {kind}: {' '.join(str(message).split())}", file=sys.stderr)
