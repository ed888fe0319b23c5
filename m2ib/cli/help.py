"""What a command's ``--help`` says: a sentence for every option, told where the option is declared, in groups."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Callable
from dataclasses import field
from enum import StrEnum
from typing import Any

_WIDEST = 100  # columns
_NAMES = 14  # columns for the commands' names, whose indentation argparse does not count
OUT = "a new or empty folder"
FORCE = (
    "write into a folder that holds something; what this command wrote there before is replaced, nothing else"
)
DATA = (
    "the pairs: a .csv, .jsonl, .parquet or .tar file with a column for each kind of input; or a format, whose options are written "
    "data.NAME=VALUE: csv, jsonl, parquet, webdataset, folder, coco, conceptual-captions, ms-cxr, roco, rsicd, huggingface, scenes"
)
WORKERS = "so many processes of this machine, or actors of a Ray cluster, each with a model of its own"
RAY = "the address of a Ray cluster; auto for the one that is here, local to begin one; left out: none"
METHODS = (
    "names with spaces or commas between (`m2ib methods` lists them); all; oracle, for pairs whose true places are known; or a "
    "name of your own, whose settings say what it varies"
)
ROAR = "of the trainings of the metric roar, as in roar.epochs=2; others are batch_size, lr, temperature and pairs"
BATCH = "pairs whose maps are made together; fewer where memory does not suffice"
CURVE = "steps of the curves of the metrics deletion and insertion"
GO_ON = f"where to: {OUT}, or one of the same work, which goes on"
ANEW = "begin anew over what is in the folder"
KEYS = (
    "Every option may also stand in a YAML file (--config), or be written as key=value; one of a method's settings for one kind "
    "of input alone as layer.image=7."
)


class Group(StrEnum):
    """What options are about, in the order in which they are told."""

    INPUTS = "what is explained"
    ROWS = "which rows"
    MODEL = "the model"
    METHOD = "the explanation"
    SETTINGS = "settings of the method m2ib (of others: settings.NAME=VALUE)"
    SCORES = "what is measured"
    SEARCH = "the search"
    WORK = "how the work is done"
    OUTPUT = "what is written"


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Paragraphs are wrapped; lines that are indented, as examples are, stay as they are."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=min(shutil.get_terminal_size().columns, _WIDEST) - 1)
        self._action_max_length = _NAMES

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        parts = (part.strip("\n") for part in text.split("\n\n"))
        filled = (
            part if part.startswith(" ") else textwrap.fill(" ".join(part.split()), width) for part in parts
        )
        return "\n\n".join(textwrap.indent(part, indent) for part in filled)


class _Row(argparse.Action):
    """A line of ``--help`` about what argparse does not read; ``said`` is asked when it is shown."""

    def __init__(self, form: str, said: str | Callable[[], str]) -> None:
        self._said = said
        super().__init__([form], dest="", nargs=0)

    @property
    def help(self) -> str:
        return (self._said if isinstance(self._said, str) else self._said()).replace("%", "%%")

    @help.setter
    def help(self, value: str | None) -> None:
        pass


def option(default: Any, group: Group, form: str, help: str) -> Any:
    """A field of a command's configuration that is an option.

    form  what stands for its value; with a ``=`` in it, how one without a flag is written; "" for one that is told elsewhere
    help  a sentence
    """
    told = {"group": group, "form": form, "help": help}
    if isinstance(default, (dict, list)):
        return field(default_factory=default.copy, metadata=told)
    return field(default=default, metadata=told)


def add_command(
    commands: Any, name: str, help: str, usage: str, description: str, examples: str
) -> argparse.ArgumentParser:
    """A command among argparse's sub-commands.

    usage        what follows its name
    description  what it does
    examples     told last
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        usage=f"m2ib {name} {usage}",
        description=description,
        epilog=examples,
        allow_abbrev=False,
        formatter_class=HelpFormatter,
    )
    return parser


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """``--quiet``, of a command that may take long."""
    parser.add_argument(
        "--quiet",
        action="store_true",
        help="do not tell how far it is: no bar on a terminal, no lines on standard error elsewhere; warnings are still told",
    )


def group_of(parser: argparse.ArgumentParser, group: Group) -> Any:
    """The group of a parser's options, made where there is none."""
    known = (each for each in parser._action_groups if each.title == group)
    return next(known, None) or parser.add_argument_group(group)


def add_row(parser: argparse.ArgumentParser, group: Group, form: str, help: str | Callable[[], str]) -> None:
    """A line about what the command reads itself."""
    group_of(parser, group)._group_actions.append(_Row(form, help))


def taken_modalities() -> str:
    """The kinds of input that installed adapters take, as flags."""
    from m2ib.registry.discovery import default_registry

    names = dict.fromkeys(name for info in default_registry().adapters for name in info.spec.modalities)
    return ", ".join(f"--{name}" for name in names)
