"""``m2ib methods``: what maps can be made with, each method's settings, and where it comes from."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from m2ib.cli.help import add_command
from m2ib.cli.options import print_listing, refuse_more
from m2ib.cli.output import say


def add_parser(commands: Any, name: str) -> None:
    """Add the command to argparse's sub-commands."""
    parser = add_command(
        commands,
        name,
        "list the installed methods, or the settings of one",
        "[NAME]",
        "Lists the installed methods: what each is, its settings, and the package that it comes from. Or the settings of one, with "
        "their values and defaults.",
        """examples:

  m2ib methods
  m2ib methods rise
""",
    )
    parser.add_argument("method", nargs="?", metavar="NAME", help="the method whose settings are listed")


def run(parsed: argparse.Namespace, rest: Sequence[str]) -> None:
    """Print a table of methods, and a line for each plugin that was left out; or the settings of one method."""
    from m2ib.registry.discovery import default_registry

    refuse_more(rest, "methods")
    found = default_registry().methods
    if parsed.method is not None:
        for each in found.find(parsed.method).spec.listed:
            say(f"{each.name}: {each.help} ({each.kind}; {each.default_text})")
        return
    rows = [
        (row.summary, ", ".join(row.spec.setting_names), "attention" if row.spec.attention else "")
        for row in found
    ]
    print_listing(found, ("what it is", "settings", "needs"), rows)
