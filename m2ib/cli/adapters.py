"""``m2ib adapters``: what is installed, what it takes, where it comes from, what failed; or which of it opens a checkpoint."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from m2ib.cli.help import Group, add_command, add_row, group_of
from m2ib.cli.options import OPTIONS, adapter_options, path_of, print_listing, refuse_more
from m2ib.cli.output import say


def add_parser(commands: Any, name: str) -> None:
    """Add the command to argparse's sub-commands."""
    parser = add_command(
        commands,
        name,
        "list the installed adapters, or say which of them opens a checkpoint",
        "[--can CHECKPOINT [options.NAME=VALUE ...]]",
        "Lists the installed adapters: the kinds of input that each takes, what it opens, the package that it comes from, and what "
        "could not be loaded. Or says which of them opens a checkpoint; the exit code is 1 where none does.",
        """examples:

  m2ib adapters
  m2ib adapters --can openai/clip-vit-base-patch32
""",
    )
    group_of(parser, Group.MODEL).add_argument(
        "--can",
        metavar="CHECKPOINT",
        help="a hub id, folder or file: which adapter opens it, and why the others do not; nothing is loaded",
    )
    add_row(parser, Group.MODEL, "options.NAME=VALUE", OPTIONS)


def run(parsed: argparse.Namespace, rest: Sequence[str]) -> int:
    """Print a table of adapters, and a line for each plugin that was left out. 1 where none opens the checkpoint asked of.

    Of a checkpoint: each adapter's answer, licence and origin as far as they are told, and the name that ``auto`` stands for.
    """
    from m2ib.registry.discovery import list_adapters

    found = list_adapters()
    if parsed.can is None:
        refuse_more(rest, "adapters")
        rows = [(", ".join(row.spec.modalities), f"{row.summary}: {row.spec.models}") for row in found]
        print_listing(found, ("modalities", "what it opens"), rows)
        return 0

    from m2ib.registry.opening import who_opens

    path_of("can", parsed.can)
    opening = who_opens(parsed.can, **adapter_options(rest, "adapters"))
    print_listing(found, ("answer",), [(opening.answer(name),) for name in found.names])
    for name, said in opening.facts.items():
        say(f"{name}: {said}")
    say(f"auto: {opening.name}" if opening.names else "auto: none opens it")
    return 0 if opening.names else 1
