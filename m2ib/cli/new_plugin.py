"""``m2ib new-plugin NAME``: a distribution with an adapter to start from."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from m2ib.cli.help import FORCE, OUT, Group, add_command, group_of
from m2ib.cli.options import path_of, refuse_more
from m2ib.cli.output import say


def add_parser(commands: Any, name: str) -> None:
    """Add the command to argparse's sub-commands."""
    parser = add_command(
        commands,
        name,
        "write a package with an adapter to start from",
        "NAME [options]",
        "Writes a distribution m2ib-NAME with an adapter NAME that works as it is and passes its own tests; four TODOs are left "
        "for its author. Prints what to do next, and the folder.",
        """examples:

  m2ib new-plugin my-model --out m2ib-my-model
""",
    )
    parser.add_argument("name", metavar="NAME", help="of the adapter, e.g. my-model")
    output = group_of(parser, Group.OUTPUT)
    output.add_argument("--out", metavar="FOLDER", help=f"where to: {OUT}; default: m2ib-NAME")
    output.add_argument("--force", action="store_true", help=FORCE)


def run(parsed: argparse.Namespace, rest: Sequence[str]) -> None:
    """Write it; print its folder and what to do next."""
    from m2ib.new_plugin import write_plugin

    refuse_more(rest, "new-plugin")
    folder = write_plugin(
        parsed.name, None if parsed.out is None else path_of("out", parsed.out), force=parsed.force
    )
    name = parsed.name.removeprefix("m2ib-")
    say(
        f"next: pip install -e '{folder}[test]', python -m pytest {folder}, m2ib check {name}, and the TODOs in adapter.py"
    )
    say(folder.resolve())
