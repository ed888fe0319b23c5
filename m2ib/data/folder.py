"""Pairs out of a folder of files: those of one name in one folder, or all images with the same texts.

::

    a.jpg  a.txt  more/b.png  more/b.txt            (img2dataset writes 00000/000000000.jpg, .txt and .json)
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from m2ib.data.cells import existing, text_in
from m2ib.data.columns import InputColumn, InputColumns, chosen_columns, modalities_of
from m2ib.data.endings import check_endings, chosen_inputs, modality_of, only_one, split, text_of, wants
from m2ib.data.files import called, folder_of, lines, opened_bytes, path_of
from m2ib.data.pairs import Pair, Pairs, Row, count_rows
from m2ib.data.shards import below
from m2ib.errors import InputError, SettingError
from m2ib.paths import printable

_LONGEST = 2**26  # bytes of a text


def open_folder(
    path: Any, *, columns: Any = None, text: Any = None, texts: Any = None, modality: Any = None
) -> Pairs:
    """Files of one name, "a.jpg" and "a.txt"; or every image with every one of some texts, an image's one after another.

    columns   endings by modality, as in "image=jpg;png,text=json.caption"; None: the two kinds of the first name with two
    text      one for all images
    texts     a file with one on each line
    modality  of the files that texts are given for; None: "image"

    Folders in it are gone through, links too; what begins with "." is left out, and what is of no wanted kind. A pair's id is
    the path without its ending; with texts, the path, and "/0", "/1", ... for the line.

    Raises :class:`InputError` and :class:`SettingError`.
    """
    folder = folder_of(path, "path")
    name = folder.resolve().name
    if text is None and texts is None:
        if modality is not None:
            raise SettingError("data format 'folder': modality is for files that text or texts are given for")
        chosen = None if columns is None else chosen_columns(columns)
        if chosen is not None:
            check_endings(chosen)
        groups = (list(files) for _, _, files in _groups(folder, chosen))
        inputs = chosen_inputs(groups, chosen, called(folder))
        rows = partial(_rows, folder, inputs)
        return Pairs(name, modalities_of(inputs), rows, numbered=True, total=partial(count_rows, rows))
    if columns is not None:
        raise SettingError("data format 'folder': columns are for files of one name, not for text or texts")
    kind = text_in(modality or "image", "modality")
    said = _given(text, texts)
    every = partial(_every, folder, kind, said, texts is not None)
    if next(every(), None) is None:
        raise InputError(f"{called(folder)} holds no files of modality {kind!r}")
    return Pairs(name, (kind, "text"), every, numbered=True, total=partial(count_rows, every))


def _given(text: Any, texts: Any) -> tuple[str, ...]:
    if text is not None and texts is not None:
        raise SettingError(
            "data format 'folder': text and texts both say what is paired with images; give one"
        )
    if text is not None:
        if not str(text).strip():
            raise SettingError("data format 'folder': text='' is empty")
        return (str(text).strip(),)
    path = path_of(texts, "texts")
    found = []
    for place, line in lines(path):
        try:
            found.append(text_in(line, "text").strip())
        except InputError as error:
            raise InputError(f"{called(path)}: {place}: {error}") from None
    if not found:
        raise InputError(f"{called(path)} is empty; it needs a text on each line")
    return tuple(found)


def _groups(folder: Path, chosen: InputColumns | None) -> Iterator[tuple[str, Path, dict[str, list[str]]]]:
    """For each name: its path from ``folder`` on, the folder it is in, and its files by ending; files of a known kind alone."""
    for inside, names in below(folder):
        found = sorted((*ending, name) for name in names if (ending := split(name, chosen)))
        for stem, files in groupby(found, lambda each: each[0]):
            by_ending: dict[str, list[str]] = {}
            for _, kind, name in files:
                by_ending.setdefault(kind, []).append(name)
            yield (inside.relative_to(folder) / stem).as_posix(), inside, by_ending


def _rows(folder: Path, inputs: InputColumns) -> Iterator[Row]:
    for place, inside, files in _groups(folder, inputs):
        if any(wants(column, ending) for column in inputs for ending in files):
            yield Row(printable(place), partial(_pair, place, inside, files, inputs))


def _pair(place: str, folder: Path, files: dict[str, list[str]], inputs: InputColumns) -> Pair:
    first, second = ((column.modality, _raw(folder, files, column)) for column in inputs)
    return Pair(place, (first, second))


def _raw(folder: Path, files: dict[str, list[str]], column: InputColumn) -> Any:
    names = files[only_one(column, files)]
    if len(names) > 1:
        raise InputError(f"it has {column.modality} more than once: {', '.join(map(repr, names))}")
    path = existing((folder / names[0],), column.modality)
    if not column.inline:
        return path
    with opened_bytes(path) as file:
        content = file.read(_LONGEST + 1)
    if len(content) > _LONGEST:
        raise InputError(f"its {column.name} has more than {_LONGEST:,} bytes")
    return text_of(content, column)


def _every(folder: Path, kind: str, texts: tuple[str, ...], numbered: bool) -> Iterator[Row]:
    for inside, names in below(folder):
        for name in names:
            ending = split(name, None)
            if ending and modality_of(ending[1]) == kind:
                place = (inside.relative_to(folder) / name).as_posix()
                for number, text in enumerate(texts):
                    identity = f"{place}/{number}" if numbered else place
                    yield Row(printable(identity), partial(_with_text, identity, inside / name, kind, text))


def _with_text(identity: str, path: Path, kind: str, text: str) -> Pair:
    return Pair(identity, ((kind, existing((path,), kind)), ("text", text)))
