"""``m2ib adapters``: what is installed, what it takes, where it comes from, what failed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from m2ib.cli.options import add_command, print_listing, refuse_more


def add_parser(commands: Any, name: str) -> None:
    """Add the command to argparse's sub-commands."""
    add_command(commands, name, "list the installed adapters")


def run(parsed: argparse.Namespace, rest: Sequence[str]) -> None:
    """Print a table of adapters, and a line for each plugin that was left out."""
    from m2ib.registry.discovery import list_adapters

    refuse_more(rest, "adapters")
    found = list_adapters()
    rows = [(", ".join(row.spec.modalities), f"{row.summary}: {row.spec.models}") for row in found]
    print_listing(found, ("modalities", "what it opens"), rows)
