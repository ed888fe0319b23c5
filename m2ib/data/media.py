"""Inputs that stand in the data themselves, as bytes or as numbers, as ``m2ib.explain`` takes them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from m2ib.data.cells import NamedBytes
from m2ib.data.columns import Folder, InputColumn
from m2ib.errors import InputError, decoding

_MOST_SAMPLES = 2**28  # 1 GiB; silence takes next to nothing in the data set
_ORIENTATION = 0x0112  # of EXIF; from 5 on, the image lies on its side
_DICOM = slice(128, 132)  # where such a file says what it is


def raw_of(value: Any, column: InputColumn, dtype: Any, folder: Folder) -> Any:
    """One input out of a typed cell: text, a path from ``folder`` on, bytes, {bytes, path}, samples, or numbers.

    dtype  of numbers, None: as they come

    Raises :class:`InputError`.
    """
    if column.inline or value is None or isinstance(value, str):
        return column.raw(value, folder)
    if isinstance(value, Mapping):
        return _of_media(value, column, folder)
    if isinstance(value, (list, tuple)):
        return _array(value, column.name, dtype)
    return _opened(value, column, "") if isinstance(value, bytes) else value


def upright_size(path: Path) -> tuple[int, int]:
    """(width, height) of an image as it is seen, out of the file's header. Raises :class:`InputError`."""
    from PIL import Image

    with decoding(f"the image {str(path)!r}", "cannot be read"), Image.open(path) as image:
        width, height = image.size
        turned = image.getexif().get(_ORIENTATION, 1) >= 5
    return (height, width) if turned else (width, height)


def check_image(content: bytes, what: str) -> Any:
    """A PIL image that has not been decoded; None of a DICOM, which PIL does not know. Raises :class:`InputError`."""
    if content[_DICOM] == b"DICM":
        return None
    from PIL import Image, UnidentifiedImageError

    with decoding(f"its {what}", "cannot be read"):
        try:
            return Image.open(io.BytesIO(content))
        except UnidentifiedImageError:
            raise InputError(f"its {what} is no image that can be read") from None


def _of_media(value: Mapping[str, Any], column: InputColumn, folder: Folder) -> Any:
    """Of a sound or an image: bytes, a path, or samples and their rate."""
    if value.get("array") is not None and value.get("sampling_rate"):
        return _array(value["array"], column.name, np.float32), int(value["sampling_rate"])
    if value.get("bytes"):
        return _opened(value["bytes"], column, str(value.get("path") or ""))
    if value.get("path"):
        return column.raw(value["path"], folder)
    raise InputError(f"its {column.name} holds neither bytes nor a path")


def _opened(content: bytes, column: InputColumn, name: str) -> Any:
    """A sound as (waveform (channels, samples), rate), an image as PIL's, decoded when it is used; others as a file."""
    if not content:
        raise InputError(f"its {column.name} is empty")
    if column.modality == "audio":
        return _sound(content, column.name)
    picture = check_image(content, column.name) if column.modality == "image" else None
    return picture or NamedBytes(content, name)


def _sound(content: bytes, column: str) -> tuple[np.ndarray, int]:
    try:
        soundfile = import_module("soundfile")
    except ImportError:
        raise InputError(
            f"its {column} is in the data set itself; reading that needs soundfile: pip install soundfile"
        ) from None
    with decoding(f"its {column}", "cannot be read"), soundfile.SoundFile(io.BytesIO(content)) as sound:
        if sound.frames * sound.channels > _MOST_SAMPLES:
            raise InputError(
                f"its {column} has {sound.frames * sound.channels:,} samples, more than the {_MOST_SAMPLES:,} that are "
                "held at once; cut it"
            )
        return sound.read(dtype="float32", always_2d=True).T, sound.samplerate


def _array(value: Any, column: str, dtype: Any) -> np.ndarray:
    try:
        array = np.asarray(value, dtype)
    except (TypeError, ValueError) as error:
        raise InputError(f"its {column} is no array: {error}") from None
    if array.dtype.kind not in "biuf":
        raise InputError(f"its {column} is no array of numbers: it holds {array.dtype}")
    return array
