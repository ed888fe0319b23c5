"""Tables of results: opened, chosen from, printed, and the model of a run loaded again when it is needed."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from m2ib.cli.help import Group, add_quiet, group_of
from m2ib.cli.options import DEVICE
from m2ib.cli.output import console
from m2ib.errors import SettingError
from m2ib.progress import progress

if TYPE_CHECKING:
    from m2ib.contract.model import Model
    from m2ib.results.table import ResultTable

_LONGEST = 60  # characters of a cell
_WORDS = 3  # with the highest values
WORDS = "words"  # a column of the two columns of words


def add_choice(parser: argparse.ArgumentParser) -> None:
    """The folder, which rows of it, and the device of the model that reads inputs again."""
    parser.add_argument("folder", metavar="FOLDER", help="the results of m2ib run")
    rows = group_of(parser, Group.ROWS)
    rows.add_argument(
        "--where",
        metavar="SQL",
        help='those of which a condition holds, as in --where "similarity < .2"; left out: all',
    )
    rows.add_argument(
        "--sort",
        metavar="SQL",
        help='in the order of columns, as in --sort "similarity desc"; left out: as they were given',
    )
    rows.add_argument("--limit", type=int, metavar="N", help="the first so many of them")
    group_of(parser, Group.MODEL).add_argument(
        "--device",
        default="auto",
        metavar="NAME",
        help=f"{DEVICE}. The model is loaded only where inputs that were not kept have to be read again; default: auto",
    )
    add_quiet(parser)


def chosen(parsed: argparse.Namespace, most: int | None = None) -> ResultTable:
    """The rows that were asked for, ``most`` at most where it was not said how many.

    Raises :class:`SettingError` and :class:`StorageError`.
    """
    from m2ib.results.table import open

    table = open(parsed.folder)
    if parsed.where is not None:
        table = table.where(parsed.where)
    if parsed.sort is not None:
        table = table.sort(parsed.sort)
    if parsed.limit is not None and parsed.limit < 0:
        raise SettingError(f"limit: {parsed.limit} is none; give how many rows, from 0")
    most = most if parsed.limit is None else parsed.limit
    return table if most is None else table.head(most)


def model_of(table: ResultTable, device: str) -> Callable[[], Model]:
    """What loads the model of a run, once, when it is needed. Raises :class:`SettingError` for one that was made in Python."""
    found: list[Model] = []

    def load() -> Model:
        if not found:
            from m2ib.loading import load_model

            recipe: Mapping[str, Any] | None = table.manifest.get("recipe")
            if recipe is None:
                raise SettingError(
                    "results: what is shown of inputs was not kept, and the model that reads them again was not loaded by name; "
                    "run with --keep-inputs, or use Python, as in m2ib.results.open(folder).overview(path, model=model)"
                )
            with progress(f"load the model {recipe['name']!r}"):
                found.append(load_model(**{**recipe, "device": device}))
        return found[0]

    return load


def show_summary(table: ResultTable) -> None:
    """Print what there is, in a few lines."""
    from rich.table import Table

    shown = Table(show_header=False, box=None, pad_edge=False)
    for name, value in table.summary().lines():
        shown.add_row(name, value)
    console().print(shown, markup=False)


def show_rows(table: ResultTable, columns: Sequence[str]) -> None:
    """Print a line for each row."""
    from rich.table import Table
    from rich.text import Text

    wanted = [part for name in columns for part in (("words_1", "words_2") if name == WORDS else (name,))]
    shown = Table(box=None, pad_edge=False)
    for name in columns:
        shown.add_column(
            name, justify="right" if name in ("similarity", "specificity", "number", "seconds") else "left"
        )
    for row in table.records(*dict.fromkeys(wanted)):
        cells = [words_of(row) if name == WORDS else _cell(row[name]) for name in columns]
        shown.add_row(*map(Text, cells))
    console().print(shown)


def words_of(row: Mapping[str, Any]) -> str:
    """The words with the highest values, of both texts where both are."""
    sides = (row[f"words_{n}"] or [] for n in (1, 2))
    best = (sorted(side, key=lambda each: -each["value"])[:_WORDS] for side in sides if side)
    return _cell(" / ".join(", ".join(each["word"] for each in words) for words in best))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return _cell(
            ", ".join(_cell(list(each.values()) if isinstance(each, dict) else each) for each in value)
        )
    text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} … {text[-(_LONGEST // 2 - 3) :]}"
