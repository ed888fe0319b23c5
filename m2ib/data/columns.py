"""Which two columns hold the inputs of a pair: those named by a modality of an installed adapter, or those chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from m2ib.data.cells import existing, text_in
from m2ib.data.files import listed
from m2ib.data.remote import RemoteFolder
from m2ib.errors import InputError, SettingError
from m2ib.paths import local_path, url_fault
from m2ib.registry.discovery import default_registry


@dataclass(frozen=True)
class InputColumn:
    """One input of a pair: its modality, and the name of the column that holds it.

    inline  whether a cell holds the input itself, as it does of texts, and not the path of its file
    """

    modality: str
    name: str

    @cached_property
    def inline(self) -> bool:
        return default_registry().modalities().get(self.modality, False)

    def raw(self, cell: Any, folder: Folder) -> Any:
        """One input: what the cell holds, or its file, a relative path from ``folder`` on: where it is, or what it holds."""
        text = text_in(cell, self.name)
        if self.inline:
            return text
        if isinstance(folder, RemoteFolder):
            return folder.read(text, self.modality)
        if fault := url_fault(text):
            raise InputError(f"its {self.name} {text!r:.200} {fault}")
        return existing((folder / local_path(text),), self.modality)


Folder = Path | RemoteFolder
InputColumns = tuple[InputColumn, InputColumn]
_OTHERS = ("id", "boxes")  # columns that hold no input


def as_option(name: str, value: str) -> str:
    """An option of the data as it is given in Python, and on the command line."""
    return f"{name}={value!r} (data.{name}={value})"


def choosing(column: str = "file", other: str = "", first: str = "image") -> str:
    """How two columns are chosen, for a message: ``column`` as the ``first`` kind of input, and another one beside it."""
    second, usual = ("text", "caption") if first != "text" else ("image", "file")
    return as_option("columns", f"{first}={column},{second}={other or usual}")


def named_columns(columns: Sequence[str], who: str) -> InputColumns:
    """The two columns that are named by a modality, in their order.

    Two inputs of one modality have the columns "text_1" and "text_2", whatever their order.

    Raises :class:`InputError` where there are not exactly two.
    """
    known = [name for name in default_registry().modalities() if name not in _OTHERS]
    found = [InputColumn(name, name) for name in columns if name in known]
    for modality in known:
        both = [f"{modality}_{number}" for number in (1, 2)]
        if set(both) <= set(columns):
            found += [InputColumn(modality, name) for name in both]
    found.sort(key=lambda column: columns.index(_first(column, columns)))  # stable: _1 before _2
    if len(found) != 2:
        there = f"{len(found)} ({listed([column.name for column in found])})" if found else "none"
        raise InputError(
            f"{who} needs two columns that are named by a modality, as in image and text, or text_1 and text_2, "
            f"and has {there}; choose two of {listed(columns)}, as in {_choice(columns, found)}"
        )
    return found[0], found[1]


def _choice(columns: Sequence[str], found: Sequence[InputColumn]) -> str:
    """:func:`choosing` two of those that are there, as far as there are so many."""
    named = [column.name for column in found[:1]]
    left = [name for name in columns if name not in (*_OTHERS, *named)]
    column, other, *_ = *named, *left, "", ""
    return choosing(column or "file", other, found[0].modality if found else "image")


def chosen_columns(columns: Any) -> InputColumns:
    """Columns by modality, as a mapping or as "image=file,text=caption", in this order.

    Two inputs of one modality are chosen as "text_1" and "text_2", whatever their order.

    Raises :class:`SettingError`.
    """
    given = columns
    if isinstance(columns, str):
        parts = [part.partition("=") for part in columns.split(",")]
        given = {modality.strip(): column.strip() for modality, _, column in parts}
    if (
        not isinstance(given, Mapping)
        or len(given) != 2
        or not all(isinstance(part, str) and part for item in given.items() for part in item)
    ):
        raise SettingError(
            f"data: columns={columns!r:.80} are no two columns by modality; give them as in {choosing()}"
        )
    first, second = given
    one, two = sorted((first, second))
    stem = one.removesuffix("_1")
    if (one, two) == (f"{stem}_1", f"{stem}_2"):
        return InputColumn(stem, given[one]), InputColumn(stem, given[two])
    return InputColumn(first, given[first]), InputColumn(second, given[second])


def modalities_of(inputs: InputColumns) -> tuple[str, str]:
    first, second = inputs
    return first.modality, second.modality


def check_boxes(inputs: InputColumns, who: str) -> None:
    """Raises :class:`InputError` where boxes could not be meant for one image alone."""
    images = modalities_of(inputs).count("image")
    if images != 1:
        raise InputError(
            f"{who}: boxes are drawn on the one image of a pair; "
            f"its pairs of {' and '.join(modalities_of(inputs))} have {images or 'none'}"
        )


def _first(column: InputColumn, columns: Sequence[str]) -> str:
    """The column that says where an input stands: of two of one modality, the earlier one of both."""
    if column.name == column.modality:
        return column.name
    return min((f"{column.modality}_1", f"{column.modality}_2"), key=columns.index)
