"""``m2ib export results/ --to coco --out coco/``"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from m2ib.cli.help import FORCE, OUT, Group, add_command, group_of
from m2ib.cli.options import path_of, refuse_more
from m2ib.cli.output import say
from m2ib.cli.tables import add_choice, chosen, model_of
from m2ib.errors import SettingError

_EXAMPLES = """formats:

  coco          boxes and masks of hot regions, for what reads COCO
  fiftyone      a FiftyOne dataset: heatmaps over pictures, words, similarities
  huggingface   a data set for datasets.load_from_disk: pictures, maps, words
  label-studio  tasks with boxes and spans to be corrected by people
  png           a folder of pictures for each pair

examples:

  m2ib export results/ --to coco --threshold .7 --out coco/
  m2ib export results/ --to png --where "similarity < .2" --limit 50 \\
      --out pictures/
"""
_OPTIONS = {
    "threshold": ("coco", "label-studio"),
    "percentile": ("coco", "label-studio"),
    "root": ("coco", "label-studio"),
    "prefix": ("label-studio",),
    "embed_files": ("huggingface",),
}


def add_parser(commands: Any, name: str) -> None:
    """Add the command to argparse's sub-commands."""
    parser = add_command(
        commands,
        name,
        "write results for another program",
        "FOLDER --to FORMAT --out FOLDER [options]",
        "Writes results of m2ib run in the format of another program; prints what there is, what was left out and why, and the folder.",
        _EXAMPLES,
    )
    add_choice(parser)
    output = group_of(parser, Group.OUTPUT)
    formats = ("coco", "fiftyone", "huggingface", "label-studio", "png")
    output.add_argument(
        "--to", required=True, choices=formats, metavar="FORMAT", help=f"{', '.join(formats)}: see below"
    )
    output.add_argument("--out", required=True, metavar="FOLDER", help=f"where to: {OUT}")
    output.add_argument("--force", action="store_true", help=FORCE)
    output.add_argument(
        "--threshold",
        type=float,
        metavar="SHARE",
        help="of coco and label-studio: a region begins so much of the way from where heat begins to where it is full; default: .5",
    )
    output.add_argument(
        "--percentile",
        type=float,
        metavar="P",
        help="of coco and label-studio, in place of it: a region begins at this percentile of each map's own cells",
    )
    output.add_argument(
        "--root",
        metavar="FOLDER",
        help="of coco and label-studio: the folder from which on files of pictures are named; left out: as they were given",
    )
    output.add_argument(
        "--prefix",
        metavar="TEXT",
        help="of label-studio: what stands before the names of pictures; default: that of its local storage",
    )
    output.add_argument(
        "--embed-files",
        action="store_true",
        default=None,
        help="of huggingface: put the files of pictures into the data set too",
    )


def run(parsed: argparse.Namespace, rest: Sequence[str]) -> None:
    """Write; print what there is, what was left out, and where it is."""
    refuse_more(rest, "export")
    given = {name: value for name in _OPTIONS if (value := getattr(parsed, name)) is not None}
    for name in given:
        if parsed.to not in _OPTIONS[name]:
            raise SettingError(
                f"export: --{name.replace('_', '-')} is an option of {' and '.join(_OPTIONS[name])}, not of {parsed.to}"
            )
    folder = path_of("out", parsed.out)

    from m2ib import export
    from m2ib.export.rows import KIND
    from m2ib.folders import check_folder

    check_folder(folder, KIND, force=parsed.force)
    table = chosen(parsed)
    if parsed.to == "png":
        given["model"] = model_of(table, parsed.device)
    found = getattr(export, f"to_{parsed.to.replace('-', '_')}")(table, folder, force=parsed.force, **given)
    for line in found.lines():
        say(line)
    say(found.path.resolve())
