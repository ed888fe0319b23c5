"""RSICD: images from the air with some sentences each, in the form of the "Karpathy splits".

::

    {"images": [{"filename": "airport_1.jpg", "split": "train", "sentences": [{"raw": "...", "sentid": 0}, ...]}, ...]}
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from m2ib.data.cells import existing, id_in, text_in
from m2ib.data.files import called, folder_of, load_json, path_of
from m2ib.data.pairs import Pair, Pairs, Row, count_rows
from m2ib.errors import InputError, SettingError, did_you_mean, shortened

_EVERY = "all"


def open_rsicd(captions: Any, images: Any, *, split: str = "test", sentences: str = _EVERY) -> Pairs:
    """Images and sentences.

    captions   dataset_rsicd.json
    images     the folder of the images
    split      "train", "val", "test", or "all"
    sentences  "all": a pair for each sentence; "first": one for each image

    Raises :class:`InputError` and :class:`SettingError`.
    """
    path, folder = path_of(captions, "captions"), folder_of(images, "images")
    content = load_json(path)
    entries = content.get("images") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not any(
        isinstance(entry, dict) and "filename" in entry and "sentences" in entry for entry in entries
    ):
        raise InputError(f"{called(path)} is not RSICD's JSON: it lacks images with filename and sentences")
    splits = dict.fromkeys(str(entry["split"]) for entry in entries if _split(entry) is not None)
    if split not in (_EVERY, *splits):
        raise SettingError(
            f"{called(path)} has no split {split!r}{did_you_mean(split, splits)} "
            f"It has {shortened(', '.join(splits)) or 'none'}; {_EVERY!r} takes every image"
        )
    if sentences not in (_EVERY, "first"):
        raise SettingError(f"data: sentences={sentences!r} is unknown; it is {_EVERY!r} or 'first'")
    name = "RSICD" if split == _EVERY else f"RSICD {split}"
    rows = partial(_rows, entries, folder, split, sentences)
    return Pairs(name, ("image", "text"), rows, total=partial(count_rows, rows))


def _split(entry: Any) -> Any:
    return entry.get("split") if isinstance(entry, dict) else None


def _rows(entries: list[Any], folder: Path, split: str, sentences: str) -> Iterator[Row]:
    for number, entry in enumerate(entries):
        if split != _EVERY and _split(entry) not in (split, None):
            continue
        said = entry.get("sentences") if isinstance(entry, dict) else None
        if not isinstance(said, list) or not said:
            yield Row(f"image {number}", partial(_pair, entry, None, 0, folder, split))
            continue
        for place, sentence in enumerate(said[:1] if sentences == "first" else said):
            read = partial(_pair, entry, sentence, place, folder, split)
            yield Row(f"image {number}, sentence {place}", read)


def _pair(entry: Any, sentence: Any, place: int, folder: Path, split: str) -> Pair:
    if not isinstance(entry, dict):
        raise InputError(f"it is no image with filename and sentences but {entry!r:.60}")
    if split != _EVERY and _split(entry) is None:
        raise InputError("it does not say its split")
    if sentence is None:
        raise InputError("it has no sentences")
    if not isinstance(sentence, dict):
        raise InputError(f"it is no sentence with its text as raw but {sentence!r:.60}")
    name = text_in(entry.get("filename"), "filename")
    text = text_in(sentence.get("raw"), "raw").strip()
    identity = id_in(sentence["sentid"]) if "sentid" in sentence else f"{name}#{place}"
    return Pair(identity, (("image", existing((folder / name,), "image")), ("text", text)))
