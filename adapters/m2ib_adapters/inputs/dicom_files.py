"""DICOM files: told from others, read with or without a header of their own, one frame decoded."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from m2ib.errors import AdapterError, InputError, decoding
from m2ib_adapters.bounds import WHOLE
from m2ib_adapters.inputs.media import ignoring

_PREAMBLE = 128  # bytes before the mark
_MARK = b"DICM"
_SUFFIXES = (".dcm", ".dicom")
_FIRST_GROUPS = (0x0002, 0x0008)  # of a file without preamble: its meta header, or the data's identification
_STEP = 2**20  # bytes
_LAST_ELEMENT, _LONGEST = 0x0070, 256  # a first element is one of the lowest, and short


def dicom_at(path: Path, bare: bool = False) -> bool:
    """Whether a file is DICOM by its name or its mark. Raises :class:`OSError` for what cannot be read.

    bare  by its first element instead, for one that begins without preamble and mark
    """
    with path.open("rb") as file:
        head = file.read(_PREAMBLE + len(_MARK))
    return _begins(head) if bare else head[_PREAMBLE:] == _MARK or path.suffix.lower() in _SUFFIXES


def _begins(head: bytes) -> bool:
    """Whether these bytes are an element of one of the first groups, in one of DICOM's three encodings."""
    if len(head) < 12:
        return False
    for order in "<>":
        group, element, size = struct.unpack(f"{order}HHI", head[:8])
        explicit = re.fullmatch(rb"[A-Z]{2}", head[4:6]) is not None
        length = struct.unpack(f"{order}H", head[6:8])[0] if explicit else size
        if group in _FIRST_GROUPS and element <= _LAST_ELEMENT and (explicit or order == "<"):
            return 0 < length <= _LONGEST and length % 2 == 0
    return False


def read_dataset(path: Path, name: str) -> tuple[Any, bool]:
    """The data elements, and whether the transfer syntax had to be guessed.

    Raises :class:`InputError` for a file that is no DICOM or is damaged; :class:`AdapterError` without pydicom.
    """
    try:
        import pydicom
    except ImportError as error:
        raise AdapterError(
            f"{name} is a DICOM file; reading it needs pydicom: pip install 'm2ib[cxr]'"
        ) from error
    fault = "is damaged, or cut off: its header cannot be read"
    # the reason may tell who it is, as may pydicom's warnings
    with ignoring(Warning), decoding(name, fault, reason=False):
        _check_inflated(path, name)
        try:
            dataset = pydicom.dcmread(path, force=dicom_at(path, bare=True))
        except pydicom.errors.InvalidDicomError:
            raise InputError(
                f"{name} is not a DICOM file: the mark 'DICM' is missing after its first {_PREAMBLE} bytes"
            ) from None
        return dataset, _complete(dataset, name)


def _check_inflated(path: Path, name: str) -> None:
    """Of a deflated file, which pydicom inflates at once. Raises :class:`InputError` for more than can be held."""
    from pydicom.filereader import read_dataset as read_elements
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    with path.open("rb") as file:
        if file.read(_PREAMBLE + len(_MARK))[_PREAMBLE:] != _MARK:
            file.seek(0)
        meta = read_elements(file, False, True, stop_when=lambda tag, *_: tag.group != _FIRST_GROUPS[0])
        if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return
        inflating, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while given := inflating.unconsumed_tail or file.read(_STEP):
            size += len(inflating.decompress(given, _STEP))
            WHOLE.check(name, size, f"at least {size:,} bytes when it is inflated")


def _complete(dataset: Any, name: str) -> bool:
    """Whether the file names no transfer syntax; it is the one then in which its elements could be read."""
    from pydicom import uid
    from pydicom.dataset import FileMetaDataset

    meta = getattr(dataset, "file_meta", None)
    if meta is not None and meta.get("TransferSyntaxUID"):
        return False
    if "PixelData" in dataset and dataset["PixelData"].is_undefined_length:
        raise InputError(
            f"{name} is compressed and does not say how: it has no transfer syntax; save it uncompressed"
        )
    implicit, little = dataset.original_encoding
    syntax = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
    dataset.file_meta = meta or FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax if little else uid.ExplicitVRBigEndian
    return True


def decoded(dataset: Any, frame: int, name: str) -> np.ndarray:
    """One frame's values as they are stored, (H, W) or, always as RGB, (H, W, 3). Raises :class:`InputError`."""
    from pydicom.pixels import get_decoder, pixel_array

    syntax = dataset.file_meta.TransferSyntaxUID
    compressed = syntax.is_compressed and syntax.is_encapsulated
    missing: tuple[str, ...] = ()
    if compressed:
        try:
            decoder = get_decoder(syntax)
            available, missing = decoder.is_available, tuple(decoder.missing_dependencies)
        except NotImplementedError:
            available = False
        if not available:
            raise InputError(
                f"{name} is compressed as {syntax.name}, which cannot be read here: "
                "pip install 'pydicom[pixeldata,gpl-license]', or save it uncompressed"
            )
    what = f" ({syntax.name})" if compressed else ""
    who, fault = name, f"is damaged, or cut off: its pixels{what} cannot be read"
    others = "" if syntax.name.startswith("RLE") else _packages(missing)  # pydicom's own reads all of RLE
    if others:
        who = f"{name}:"
        fault = (
            f"its pixels{what} cannot be read by the decoders that are installed: they need another one, "
            f"pip install {others}, or are damaged, or cut off"
        )
    with decoding(who, fault):
        return pixel_array(dataset, index=frame)


def _packages(missing: tuple[str, ...]) -> str:
    """Of pydicom's "pylibjpeg - requires pylibjpeg>=2.0 and pylibjpeg-libjpeg>=2.1", the packages of the last."""
    wanted = missing[-1].partition("requires ")[2] if missing else ""
    return " ".join(re.split(r"[<>=]", word)[0] for word in wanted.split(" and ") if word and word != "numpy")
