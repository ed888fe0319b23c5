"""``m2ib new-plugin NAME``: a distribution with an adapter to start from."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
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
        "for its author. On a terminal it asks what is not given. Prints what to do next, and the folder.",
        """examples:

  m2ib new-plugin my-model --out m2ib-my-model
  m2ib new-plugin my-model --inputs image spectrogram --axes NHWC
""",
    )
    parser.add_argument("name", metavar="NAME", help="of the adapter, e.g. my-model")
    parser.add_argument(
        "--inputs",
        nargs=2,
        metavar="KIND",
        help="the two kinds of input: image, text, spectrogram, waveform, series; default: image text",
    )
    parser.add_argument(
        "--axes",
        metavar="ORDER",
        help="of what the blocks give: NTC (tokens), TNC (tokens, sequence first), NCHW or NHWC (maps); default: NTC",
    )
    parser.add_argument(
        "--pooling",
        metavar="NAME",
        help="of positions to an embedding: mean, class, last or attention; default: mean",
    )
    output = group_of(parser, Group.OUTPUT)
    output.add_argument("--out", metavar="FOLDER", help=f"where to: {OUT}; default: m2ib-NAME")
    output.add_argument("--force", action="store_true", help=FORCE)


def run(parsed: argparse.Namespace, rest: Sequence[str]) -> None:
    """Write it; print its folder and what to do next."""
    from m2ib.new_plugin import AXES, INPUTS, POOLING, write_plugin

    refuse_more(rest, "new-plugin")
    asked = {
        "inputs": " ".join(parsed.inputs)
        if parsed.inputs
        else _answer("Two kinds of input", INPUTS, "image text"),
        "axes": parsed.axes or _answer("The axes of what the blocks give", AXES, "NTC"),
        "pooling": parsed.pooling or _answer("How positions become an embedding", POOLING, "mean"),
    }
    folder = write_plugin(
        parsed.name,
        None if parsed.out is None else path_of("out", parsed.out),
        inputs=asked["inputs"].split(),
        axes=asked["axes"],
        pooling=asked["pooling"],
        force=parsed.force,
    )
    name = parsed.name.removeprefix("m2ib-")
    say(
        f"next: pip install -e '{folder}[test]', python -m pytest {folder}, m2ib check {name}, and the TODOs in adapter.py"
    )
    say(folder.resolve())


def _answer(question: str, choices: Mapping[str, str], usual: str) -> str:
    """What a person at a terminal answers; where there is none, what is usual."""
    if sys.stdin is None or not (sys.stdin.isatty() and sys.stderr.isatty()):  # None where it is closed
        return usual
    known = "".join(f"  {name:12} {meaning}\n" for name, meaning in choices.items())
    sys.stderr.write(f"{question}:\n{known}")
    try:
        return input(f"[{usual}] ").strip() or usual
    except EOFError:
        return usual
