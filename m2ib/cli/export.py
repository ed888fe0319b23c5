"""``m2ib export results/ --to coco --out coco/``"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from m2ib.cli.options import AS_WRITTEN, add_command, path_of, refuse_more
from m2ib.cli.output import say
from m2ib.cli.tables import add_choice, chosen, model_of
from m2ib.errors import SettingError

_EXAMPLES = """results of m2ib run in the format of another program:

  coco          boxes and masks of hot regions, for pycocotools and all that read COCO
  fiftyone      a FiftyOne dataset: heatmaps over pictures, words, similarities
  huggingface   a data set for datasets.load_from_disk: pictures, maps, words
  label-studio  tasks with boxes and spans to be corrected by people
  png           a folder of pictures for each pair

  m2ib export results/ --to coco --threshold .7 --out coco/
  m2ib export results/ --to png --where "similarity < .2" --limit 50 --out pictures/
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
    help = "write results for another program"
    parser = add_command(commands, name, help, _EXAMPLES, formatter_class=AS_WRITTEN)
    add_choice(parser)
    formats = ("coco", "fiftyone", "huggingface", "label-studio", "png")
    parser.add_argument("--to", required=True, choices=formats, metavar="FORMAT", help=", ".join(formats))
    parser.add_argument("--out", required=True, metavar="FOLDER")
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="SHARE",
        help="of regions: so much of the way from where heat begins to where it is full; default: .5",
    )
    parser.add_argument(
        "--percentile", type=float, metavar="P", help="of regions, in place of it: of each map's own cells"
    )
    parser.add_argument("--root", metavar="FOLDER", help="files of pictures are told from this folder on")
    parser.add_argument(
        "--prefix", help="of Label Studio: before the names of pictures; default: of its local storage"
    )
    parser.add_argument(
        "--embed-files", action="store_true", default=None, help="pictures' files in the data set too"
    )
    parser.add_argument("--force", action="store_true", help="write into a folder that holds something")


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
