"""``m2ib results results/ --where "similarity < .2" --sort similarity``"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from m2ib.cli.help import FORCE, OUT, Group, add_command, group_of
from m2ib.cli.options import path_of, refuse_more
from m2ib.cli.output import say
from m2ib.cli.tables import WORDS, add_choice, chosen, model_of, show_rows, show_summary
from m2ib.errors import SettingError, did_you_mean
from m2ib.progress import progress

if TYPE_CHECKING:
    from m2ib.results.table import ResultTable

_EXAMPLES = """examples:

  m2ib results results/
  m2ib results results/ --where "similarity < .2" --sort similarity \\
      --columns id,similarity,words
  m2ib results results/ --sort "similarity desc" --limit 50 --overview best.html
  m2ib results results/ --id 17 --out report/
"""
_ROWS = 20  # of a table
_OUT = "m2ib-report"
_LINES = ""  # what is asked for where neither of the others is: the numbers, or rows
_OPTIONS = {  # those that are not for everything
    "overview": ("overview",),
    "sort": (_LINES, "overview"),
    "limit": (_LINES, "overview"),
    "columns": (_LINES,),
    "device": ("overview", "id"),
    "title": ("overview", "id"),
    "out": ("id",),
    "force": ("id",),
}


def add_parser(commands: Any, name: str) -> None:
    """Add the command to argparse's sub-commands."""
    parser = add_command(
        commands,
        name,
        "look at the results of m2ib run",
        "FOLDER [options]",
        "Shows what there is in a folder of m2ib run: in a few numbers, as a table of the rows that are asked for, as a page of cards "
        "(--overview), or one of its pairs as a report (--id). Conditions and orders are SQL (DuckDB's) over the columns of the table.",
        _EXAMPLES,
    )
    add_choice(parser)
    parser.set_defaults(device=None)
    rows = group_of(parser, Group.ROWS)
    rows.add_argument("--method", metavar="NAME", help="those of one method, where there are several")
    rows.add_argument(
        "--columns",
        metavar="NAMES",
        help="which columns of them, with commas between; words: the words with the highest values",
    )
    output = group_of(parser, Group.OUTPUT)
    output.add_argument(
        "--overview",
        metavar="FILE",
        help="write a page with a card for each row, 100 unless --limit says how many",
    )
    output.add_argument("--id", metavar="ID", help="write the report of one pair, as m2ib explain does")
    output.add_argument("--out", metavar="FOLDER", help=f"with --id: where to: {OUT}; default: {_OUT}")
    output.add_argument("--title", metavar="WORDS", help="of the page, with --overview or --id")
    output.add_argument("--force", action="store_true", default=None, help=f"with --id: {FORCE}")


def run(parsed: argparse.Namespace, rest: Sequence[str]) -> None:
    """Print or write what was asked for."""
    refuse_more(rest, "results")
    wanted = next((name for name in ("id", "overview") if getattr(parsed, name) is not None), _LINES)
    for name, uses in _OPTIONS.items():
        if getattr(parsed, name) is not None and wanted not in uses:
            if wanted:
                raise SettingError(f"results: --{name} has no use beside --{wanted}; leave one of them out")
            others = " and ".join(f"--{each}" for each in uses)
            raise SettingError(f"results: --{name} is an option of {others}; give one, or leave it out")
    parsed.device = parsed.device or "auto"
    if parsed.id is not None:
        _report(parsed)
    elif parsed.overview is not None:
        place, table = path_of("overview", parsed.overview), _chosen(parsed)
        with progress("write the page"):
            page = table.overview(place, model=model_of(table, parsed.device), title=parsed.title)
        say(page.resolve())
    elif all(getattr(parsed, each) is None for each in ("where", "sort", "limit", "columns", "method")):
        show_summary(chosen(parsed))
    else:
        _rows(parsed)


def _chosen(parsed: argparse.Namespace, most: int | None = None) -> ResultTable:
    table, name = chosen(parsed, most), parsed.method
    if name is None:
        return table
    if name not in (known := table.manifest["asked"]["methods"]):
        raise SettingError(
            f"results: {name!r:.60} is no method of this run{did_you_mean(name, known)} There are {', '.join(known)}"
        )
    return table.where("method = '{}'".format(name.replace("'", "''")))


def _report(parsed: argparse.Namespace) -> None:
    from m2ib.cli.explain import check_title, write_report
    from m2ib.folders import check_folder
    from m2ib.results.comparison import Comparison
    from m2ib.results.storage import KIND

    check_title(parsed.title)
    folder = path_of("out", _OUT if parsed.out is None else parsed.out)
    check_folder(folder, KIND, force=parsed.force)
    table = _chosen(parsed)
    explanation = table.explanation(parsed.id, parsed.method, model=model_of(table, parsed.device))
    page = write_report(Comparison([explanation]), folder, parsed.title, force=parsed.force)
    say(f"{explanation.similarity_title} {explanation.similarity:.4f}")
    say(page.resolve())


def _rows(parsed: argparse.Namespace) -> None:
    table = _chosen(parsed, _ROWS)
    by = ["method"] if len(table.manifest["asked"]["methods"]) > 1 else []
    z = ["specificity"] if table.manifest["asked"]["options"].get("null") else []
    usual = ["id", *by, "similarity", *z, "input_1", "input_2", WORDS, "error"]
    show_rows(
        table, usual if parsed.columns is None else [name.strip() for name in parsed.columns.split(",")]
    )
    total, shown = len(replace(table, most=None)), len(table)
    if shown < total:
        say(f"the first {shown:,} of {total:,} rows; more with --limit")
