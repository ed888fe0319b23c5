"""``m2ib methods``: what maps can be made with, each method's settings, and where it comes from."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any


def add_parser(commands: Any, name: str) -> None:
    """Add the command to argparse's sub-commands."""
    commands.add_parser(name, help="list the installed methods", allow_abbrev=False)


def run(parsed: argparse.Namespace, rest: Sequence[str]) -> None:
    """Print a table of methods, and a line for each plugin that was left out."""
    from rich.console import Console
    from rich.table import Table

    from m2ib.errors import SettingError
    from m2ib.registry.discovery import list_methods

    if rest:
        raise SettingError(f"methods: {rest[0]!r} is not an option of this command")
    found = list_methods()
    console = Console()
    table = Table("name", "what it is", "settings", "needs", "from", box=None, pad_edge=False)
    for name, info in zip(found.names, found, strict=True):
        needs = "attention" if info.spec.attention else ""
        table.add_row(name, info.summary, ", ".join(info.spec.settings), needs, info.origin)
    console.print(table, markup=False)
    for failure in found.failures:
        console.print(str(failure), markup=False)
    for conflict in found.conflicts:
        console.print(conflict, markup=False)
