"""``m2ib results results/ --where "similarity < .2" --sort similarity``"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from m2ib.cli.options import AS_WRITTEN, add_command, path_of, refuse_more
from m2ib.cli.output import say
from m2ib.cli.tables import WORDS, add_choice, chosen, model_of, show_rows, show_summary

_EXAMPLES = """what there is in a folder of m2ib run, in a few numbers, as a table, as a page; or one of its pairs.

  m2ib results results/
  m2ib results results/ --where "similarity < .2" --sort similarity --columns id,similarity,words
  m2ib results results/ --sort "similarity desc" --limit 50 --overview best.html
  m2ib results results/ --id 17 --out report/

conditions and orders are SQL (DuckDB's); the columns are those of the table, and words: the words with the highest values.
"""
_ROWS = 20  # of a table


def add_parser(commands: Any, name: str) -> None:
    """Add the command to argparse's sub-commands."""
    help = "look at the results of m2ib run"
    parser = add_command(commands, name, help, _EXAMPLES, formatter_class=AS_WRITTEN)
    add_choice(parser)
    parser.add_argument("--columns", metavar="NAMES", help="of the table, with commas between")
    parser.add_argument(
        "--overview",
        metavar="FILE",
        help="write a page with a card for each row, 100 unless --limit says how many",
    )
    parser.add_argument("--id", metavar="ID", help="write the report of one pair, as m2ib explain does")
    parser.add_argument("--method", metavar="NAME", help="of the pair, where it was explained by several")
    parser.add_argument(
        "--out", default="m2ib-report", metavar="FOLDER", help="of the report; default: %(default)s"
    )
    parser.add_argument("--title", help="of the page")
    parser.add_argument("--force", action="store_true", help="write into a folder that holds something")


def run(parsed: argparse.Namespace, rest: Sequence[str]) -> None:
    """Print or write what was asked for."""
    refuse_more(rest, "results")
    asked = [getattr(parsed, name) for name in ("where", "sort", "limit", "columns")]
    if parsed.id is not None:
        _report(parsed)
    elif parsed.overview is not None:
        place, table = path_of("overview", parsed.overview), chosen(parsed)
        say(table.overview(place, model=model_of(table, parsed.device), title=parsed.title).resolve())
    elif all(each is None for each in asked):
        show_summary(chosen(parsed))
    else:
        _rows(parsed)


def _report(parsed: argparse.Namespace) -> None:
    from m2ib.cli.explain import check_title, write_report
    from m2ib.folders import check_folder
    from m2ib.results.storage import KIND

    check_title(parsed.title)
    folder = path_of("out", parsed.out)
    check_folder(folder, KIND, force=parsed.force)
    table = chosen(parsed)
    explanation = table.explanation(parsed.id, parsed.method, model=model_of(table, parsed.device))
    page = write_report([explanation], folder, parsed.title, force=parsed.force)
    say(f"cosine similarity {explanation.similarity:.4f}")
    say(page.resolve())


def _rows(parsed: argparse.Namespace) -> None:
    table = chosen(parsed, _ROWS)
    by = ["method"] if len(table.manifest["asked"]["methods"]) > 1 else []
    usual = ["id", *by, "similarity", "input_1", "input_2", WORDS, "error"]
    show_rows(
        table, usual if parsed.columns is None else [name.strip() for name in parsed.columns.split(",")]
    )
    total, shown = len(replace(table, most=None)), len(table)
    if shown < total:
        say(f"the first {shown:,} of {total:,} rows; more with --limit")
