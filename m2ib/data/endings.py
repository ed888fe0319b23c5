"""What kind of input a file is, by how its name ends: "jpg", "depth.png", or as it is chosen."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from m2ib.data.cells import text_in
from m2ib.data.columns import InputColumn, InputColumns, as_option
from m2ib.data.files import listed
from m2ib.errors import InputError, SettingError
from m2ib.registry.discovery import default_registry

_ENDINGS = {
    "image": "jpg jpeg png webp bmp gif tif tiff avif jp2 ppm pgm dcm",
    "text": "txt caption",
    "audio": "wav flac mp3 ogg opus aif aiff",
    "video": "mp4 webm avi mkv mov m4v mpg mpeg",
}
_MODALITIES = {ending: modality for modality, endings in _ENDINGS.items() for ending in endings.split()}
JSON = "json"
CHOOSE = f"choose two by their endings, as in {as_option('columns', 'image=jpg,text=txt')} or 'image=jpg;png,text=json.caption'"


def modality_of(ending: str) -> str | None:
    """Of a file whose name ends so, in small letters; None where that says nothing."""
    first, *others = ending.split(".")
    if len(others) == 1 and first in default_registry().modalities():
        return first
    return None if others else _MODALITIES.get(ending)


def wants(column: InputColumn, ending: str) -> bool:
    """Whether an input stands in a file whose name ends so: the one chosen, or any of the modality."""
    if _key(column) is not None:
        return ending == JSON
    if column.name == column.modality and modality_of(ending) == column.modality:
        return True
    return ending in (each.strip(" .") for each in column.name.lower().split(";"))


def split(name: str, chosen: InputColumns | None) -> tuple[str, str] | None:
    """("a", "jpg") of "a.JPG", ("a", "depth.png") of "a.depth.png", ("a", "txt") of "a.jpg.txt"; None of another file."""
    parts = name.split(".")
    for at in range(1, len(parts)):
        ending = ".".join(parts[at:]).lower()
        if modality_of(ending) or any(wants(column, ending) for column in chosen or ()):
            whole = at > 1 and modality_of(parts[at - 1].lower()) is not None  # a file's, with its own ending
            if whole and (ending == JSON or InputColumn(modality_of(ending) or "", "").inline):
                at -= 1
            return ".".join(parts[:at]), ending
    return None


def chosen_inputs(samples: Iterable[Collection[str]], chosen: InputColumns | None, who: str) -> InputColumns:
    """Which two inputs files have, by the endings of those that belong together: those of the first with two, texts last.

    Raises :class:`InputError` where none has.
    """
    seen: dict[str, None] = {}
    for endings in samples:
        seen |= dict.fromkeys(endings)
        if chosen is not None:
            if all(any(wants(column, ending) for ending in endings) for column in chosen):
                return chosen
            continue
        found = list(dict.fromkeys(filter(None, map(modality_of, endings))))
        if len(found) == 2:
            first, second = sorted((InputColumn(each, each) for each in found), key=lambda each: each.inline)
            return first, second
        if len(found) > 2:
            raise InputError(f"{who} has {listed(found)} beside each other; {CHOOSE}")
    if not seen:
        raise InputError(f"{who} holds no files whose names say what they are")
    raise InputError(
        f"{who} holds no two files of one name that end "
        + ("so" if chosen is None else f"in {listed([column.name for column in chosen])}")
        + f"; names end in {listed(list(seen))}. {CHOOSE.capitalize()}"
    )


def check_endings(chosen: InputColumns) -> None:
    """Raises :class:`SettingError` for an input other than text out of JSON."""
    for column in chosen:
        if _key(column) is not None and not column.inline:
            raise SettingError(
                f"data: columns: {column.modality}={column.name} is no text; JSON holds texts alone"
            )


def only_one(column: InputColumn, endings: Collection[str]) -> str:
    """The ending of the file that an input stands in. Raises :class:`InputError` where there is none, or several."""
    found = [ending for ending in endings if wants(column, ending)]
    if len(found) != 1:
        what = column.modality if column.name == column.modality else f"{column.modality} ({column.name})"
        there = listed(found or sorted(endings))
        raise InputError(
            f"it has {what} more than once: {there}" if found else f"it has no {what}: there is {there}"
        )
    return found[0]


def text_of(content: bytes, column: InputColumn) -> str:
    """The text that a file holds, or that its JSON does. Raises :class:`InputError`."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"its {column.name} is not UTF-8 text") from None
    key = _key(column)
    if key is None:
        return text_in(text, column.name).strip()
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"its {JSON} is not JSON: {error}") from None
    for part in [key] if isinstance(value, Mapping) and key in value else key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise InputError(f"its {JSON} lacks {key!r}")
        value = value[part]
    return text_in(value, column.name).strip()


def _key(column: InputColumn) -> str | None:
    """In JSON, where an input stands there."""
    name, _, key = column.name.partition(".")
    return key if name.lower() == JSON and key else None
