"""DICOM -> an 8-bit picture, as a viewer shows it.

::

    stored values --modality LUT or rescale--> values --VOI LUT or window--> [0, 1] --MONOCHROME1 inverts--> grey

Of an Enhanced object, rescale and window are those of its functional groups, the frame's own before those that all
frames share. Without a window, the least and the greatest value of the image become black and white.
Nothing about the patient leaves this module.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from PIL import Image

from m2ib.errors import InputError, decoding
from m2ib.notices import warn
from m2ib_adapters.bounds import NUMBERS, check_pixels
from m2ib_adapters.inputs.dicom_files import decoded, read_dataset
from m2ib_adapters.inputs.levels import Limits
from m2ib_adapters.inputs.media import InputFile, ignoring
from m2ib_adapters.inputs.options import check_page, saying

_GREY = ("MONOCHROME1", "MONOCHROME2")
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_FUNCTIONAL = ("PixelValueTransformationSequence", "FrameVOILUTSequence")
_LOOK = (  # what these hold, and what stands beside the pixels of other objects
    "ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "RescaleType", "VOILUTSequence", "WindowCenter",
    "WindowWidth", "VOILUTFunction",
)  # fmt: skip


def read_dicom(
    file: InputFile, kind: str, page: int | None, limits: Limits, full: bool
) -> tuple[Image.Image, dict[str, Any]]:
    """The picture (grey or RGB, 8 bits), and how it was made, under ``"dicom"``.

    page    the frame, counted from 0, which a file of several needs
    limits  in place of the file's own window
    full    of grey pictures: whether the stored values' least and greatest become black and white, whatever window
            there is, and levels are cut to whole ones, as MIMIC-CXR-JPG's were

    Raises :class:`InputError` for a file that is no DICOM, is damaged, holds no such picture, or is
    compressed in a way that cannot be read here; :class:`AdapterError` without pydicom.
    """
    name = file.name
    dataset, guessed = read_dataset(file.path, name)
    # pydicom's warnings of values that are out of order may tell who it is
    with ignoring(Warning), decoding(name, "is damaged: its pixels cannot be made out"):
        frames = _check(dataset, name, kind, page)
        stored = decoded(dataset, page or 0, name)
        look, agreed = _look(dataset, page or 0, frames)
        if full and str(dataset.PhotometricInterpretation) in _GREY:
            shown, how = _full(dataset, stored)
            how["window_ignored"] = look.get("WindowCenter") is not None or "VOILUTSequence" in look
        else:
            shown, how = _shown(dataset, look, stored, limits, name)
    if guessed:
        how["transfer_syntax_assumed"] = syntax = dataset.file_meta.TransferSyntaxUID.name
        warn(f"{name} is a DICOM without a header that says how it is written; it was read as {syntax}")
    if not agreed and not full:
        warn(
            f"{name}: its window or rescale is said for several frames, and not which of them this is; none is used"
        )
    made = {"dicom": how} | ({"page": page, "pages": frames} if page is not None else {})
    return Image.fromarray(np.ascontiguousarray(shown)), made  # (H, W) or (H, W, 3)


def _check(dataset: Any, name: str, kind: str, page: int | None) -> int:
    """How many frames there are, where the one to read is said and can be shown."""
    if not any(key in dataset for key in _PIXELS):
        modality = "".join(filter(str.isalnum, str(dataset.get("Modality") or "unknown")))
        raise InputError(
            f"{name} is a DICOM file without pixels (modality {modality:.16}), or cut off; name an image"
        )
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1 and page is None:
        raise InputError(
            f"{name} holds {frames} frames; save the one to explain as a file of its own, or say which, 0 to "
            f"{frames - 1}: {saying(kind, 'page', 0)}"
        )
    check_page(page or 0, frames, name, kind)
    photometric = str(dataset.get("PhotometricInterpretation"))
    if photometric not in _GREY and photometric != "RGB" and not photometric.startswith("YBR_"):
        raise InputError(
            f"{name}: the photometric interpretation {photometric!r} cannot be shown; "
            "save it as MONOCHROME2 or RGB, or as a PNG"
        )
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    check_pixels(name, columns, rows, NUMBERS)
    return frames


def _look(dataset: Any, frame: int, frames: int) -> tuple[Any, bool]:
    """Rescale and window of one frame, and whether it is known whose they are.

    The object's own, under those that all frames share, under the frame's. One frame that was saved out of several
    may have kept the groups of all: then they count where they are the same.
    """
    from pydicom.dataset import Dataset

    look, agreed = Dataset(), True
    syntax = dataset.file_meta.TransferSyntaxUID  # how tables are written
    look.set_original_encoding(bool(syntax.is_implicit_VR), bool(syntax.is_little_endian))
    for key in _LOOK:
        if key in dataset:
            look[key] = dataset[key]
    for whose in ("Shared", "PerFrame"):
        groups = [_functions(group) for group in dataset.get(f"{whose}FunctionalGroupsSequence") or ()]
        if not groups:
            continue
        if whose == "Shared" or len(groups) == frames:
            look.update(groups[0 if whose == "Shared" else frame])
        elif all(group == groups[0] for group in groups):
            look.update(groups[0])
        else:
            agreed = False
    return look, agreed


def _functions(group: Any) -> Any:
    """What one item of the functional groups says of rescale and window."""
    from pydicom.dataset import Dataset

    look = Dataset()
    for key in _FUNCTIONAL:
        for item in list(group.get(key) or ())[:1]:
            look.update({element.tag: element for element in item if element.keyword in _LOOK})
    return look


def _origin(dataset: Any, stored: np.ndarray) -> dict[str, Any]:
    return {
        "modality": str(dataset.get("Modality") or ""),
        "photometric": str(dataset.PhotometricInterpretation),
        "rows": stored.shape[0],
        "columns": stored.shape[1],
        "bits": int(dataset.get("BitsStored") or stored.dtype.itemsize * 8),
        "signed": bool(np.issubdtype(stored.dtype, np.signedinteger)),
    }


def _full(dataset: Any, stored: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Grey stored values from the least to the greatest, uint8 cut to whole levels; inverted for MONOCHROME1."""
    how = _origin(dataset, stored)
    low, high = stored.min(), stored.max()
    wide = np.int64 if np.issubdtype(stored.dtype, np.integer) else np.float64
    shifted = stored.astype(wide) - wide(low)
    grey = (shifted * 255 // max(shifted.max(), 1)).astype(np.uint8)
    how["levels"] = {
        "by": "least and greatest value, cut to whole levels",
        "low": float(low),
        "high": float(high),
    }
    return 255 - grey if how["photometric"] == "MONOCHROME1" else grey, how


def _shown(
    dataset: Any, look: Any, stored: np.ndarray, limits: Limits, name: str
) -> tuple[np.ndarray, dict[str, Any]]:
    """What a viewer shows, uint8; and how it came about."""
    how = _origin(dataset, stored)
    if how["photometric"] not in _GREY:
        low, high = (
            usual if given is None else given
            for given, usual in zip(limits, (0, 2 ** how["bits"] - 1), strict=True)
        )
        return _eight((stored.astype(np.float64) - low) / (high - low)), how
    from pydicom.pixels import apply_modality_lut

    values = apply_modality_lut(stored, look).astype(np.float64)  # (H, W)
    if not np.isfinite(values).all():
        raise InputError(f"{name} holds NaN or infinite pixels")
    if "RescaleSlope" in look and not look.get("ModalityLUTSequence"):
        how["rescale"] = {
            "slope": float(look.RescaleSlope),
            "intercept": float(look.get("RescaleIntercept") or 0),
        }
    shown, how["levels"] = _levels(look, values, limits, name)
    return _eight(1 - shown if how["photometric"] == "MONOCHROME1" else shown), how


def _eight(shares: np.ndarray) -> np.ndarray:
    return np.round(shares.clip(0, 1) * 255).astype(np.uint8)


def _levels(look: Any, values: np.ndarray, limits: Limits, name: str) -> tuple[np.ndarray, dict[str, Any]]:
    """Values -> [0, 1] as the user says, else by the first VOI LUT, by the first window, by least and greatest."""
    given = limits != (None, None)
    if look.get("VOILUTSequence") and not given:
        from pydicom.pixels import apply_voi

        depth = int(look.VOILUTSequence[0].LUTDescriptor[2])
        table = apply_voi(np.round(values).astype(np.int64), look)
        return np.clip(table / (2**depth - 1), 0, 1), {"by": "VOI LUT"}
    center, width = (_first(look.get(key)) for key in ("WindowCenter", "WindowWidth"))
    if center is not None and width is not None and not given:
        function = str(look.get("VOILUTFunction") or "LINEAR").upper()
        how = {"by": "window", "center": center, "width": width, "function": function}
        return window(values, center, width, function, name), how
    low, high = float(values.min()), float(values.max())
    by = "least and greatest value, for there is no window"
    if given:
        low, high = (
            own if said is None else float(said) for own, said in zip((low, high), limits, strict=True)
        )
        by = "given"
        if low >= high:
            raise InputError(f"{name}: minimum={low:g} is not below maximum={high:g}")
    shown = ((values - low) / (high - low)).clip(0, 1) if high > low else np.zeros_like(values)
    return shown, {"by": by, "low": low, "high": high}


def _first(value: Any) -> float | None:
    """Of one or several values; None where there is none."""
    if value is None or value == "":
        return None
    if isinstance(value, (str, int, float)):
        return float(value)
    return float(value[0]) if len(value) else None


def window(values: np.ndarray, center: float, width: float, function: str, name: str) -> np.ndarray:
    """Values seen through a window, in [0, 1]: DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3.

    Raises :class:`InputError`, in the name of ``name``, for a window that the standard does not allow.
    """
    least = 1 if function == "LINEAR" else 0
    if function not in _FUNCTIONS or not (math.isfinite(center) and math.isfinite(width)):
        raise InputError(f"{name}: the window {center:g}, {width:g} of kind {function!r} is unknown to DICOM")
    if width < least or width == 0:
        raise InputError(f"{name}: a {function} window cannot be {width:g} wide; correct or remove it")
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -500, 500)))
    if function == "LINEAR":  # between whole numbers, both ends included
        center, width = center - 0.5, width - 1
    if width == 0:
        return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0, 1)
