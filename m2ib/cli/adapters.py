"""``m2ib adapters``: what is installed, what it takes, where it comes from, what failed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any


def add_parser(commands: Any, name: str) -> None:
    """Add the command to argparse's sub-commands."""
    commands.add_parser(name, help="list the installed adapters", allow_abbrev=False)


def run(parsed: argparse.Namespace, rest: Sequence[str]) -> None:
    """Print a table of adapters, and a line for each plugin that was left out."""
    from rich.console import Console
    from rich.table import Table

    from m2ib.errors import SettingError
    from m2ib.registry.discovery import list_adapters

    if rest:
        raise SettingError(f"adapters: {rest[0]!r} is not an option of this command")
    found = list_adapters()
    console = Console()
    table = Table("name", "modalities", "what it opens", "from", box=None, pad_edge=False)
    for name, info in zip(found.names, found, strict=True):
        table.add_row(name, ", ".join(info.modalities), f"{info.summary}: {info.models}", info.origin)
    console.print(table, markup=False)
    for failure in found.failures:
        console.print(str(failure), markup=False)
    for conflict in found.conflicts:
        console.print(conflict, markup=False)
