"""DICOM -> an 8-bit picture, as a viewer shows it.

::

    stored values --modality LUT or rescale--> values --VOI LUT or window--> [0, 1] --MONOCHROME1 inverts--> grey

Without a window, the least and the greatest value of the image become black and white, as in MIMIC-CXR-JPG.
Nothing about the patient leaves this module.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from m2ib.errors import AdapterError, InputError
from m2ib_adapters.inputs.media import check_pixels

_PREAMBLE = 128  # bytes before the mark
_MARK = b"DICM"
_SUFFIXES = (".dcm", ".dicom")
_GREY = ("MONOCHROME1", "MONOCHROME2")
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


def is_dicom(path: Path) -> bool:
    """By its name or by its content. Raises :class:`OSError` for what cannot be read."""
    with path.open("rb") as file:
        head = file.read(_PREAMBLE + len(_MARK))
    return head[_PREAMBLE:] == _MARK or path.suffix.lower() in _SUFFIXES


def read_dicom(path: Path, kind: str = "image") -> tuple[Image.Image, dict[str, Any]]:
    """The picture (grey or RGB, 8 bits), and how it was made, under ``"dicom"``.

    Raises :class:`InputError` for a file that is no DICOM, is damaged, holds no picture or several, or is
    compressed in a way that cannot be read here; :class:`AdapterError` without pydicom.
    """
    name = f"{kind} {str(path)!r}"
    try:
        import pydicom
    except ImportError as error:
        raise AdapterError(
            f"{name} is a DICOM file; reading it needs pydicom: pip install 'm2ib[cxr]'"
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, of values that are out of order: they may tell who it is
        try:
            dataset = pydicom.dcmread(path)
        except pydicom.errors.InvalidDicomError:
            raise InputError(
                f"{name} is not a DICOM file: the mark 'DICM' is missing after its first {_PREAMBLE} bytes"
            ) from None
        except OSError:
            raise
        except Exception as error:  # a damaged file makes pydicom raise anything
            raise InputError(f"{name} is damaged, or cut off: its header cannot be read") from error
        try:
            _check(dataset, name)
            shown, how = _shown(dataset, _stored(dataset, name), name)
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{name} is damaged: its pixels cannot be made out: {_short(error)}") from error
    pixels = np.round(shown * 255).astype(np.uint8)  # (H, W) or (H, W, 3)
    return Image.fromarray(np.ascontiguousarray(pixels)), {"dicom": how}


def _check(dataset: Any, name: str) -> None:
    """Whether there is one picture in it that can be shown."""
    if not any(key in dataset for key in _PIXELS):
        kind = dataset.get("Modality") or "unknown"
        raise InputError(
            f"{name} is a DICOM file without pixels (modality {kind}), or cut off; name an image"
        )
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise InputError(f"{name} holds {frames} frames; save the one to explain as a file of its own")
    photometric = str(dataset.get("PhotometricInterpretation"))
    if photometric not in _GREY and photometric != "RGB" and not photometric.startswith("YBR_"):
        raise InputError(
            f"{name}: the photometric interpretation {photometric!r} cannot be shown; "
            "save it as MONOCHROME2 or RGB, or as a PNG"
        )
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    check_pixels(name, columns, rows)


def _stored(dataset: Any, name: str) -> np.ndarray:
    """The values as they are stored, (H, W) or, always as RGB, (H, W, 3)."""
    from pydicom.pixels import get_decoder, pixel_array

    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    if syntax is None:
        raise InputError(f"{name} is damaged: it does not say in which transfer syntax it is written")
    compressed = syntax.is_compressed and syntax.is_encapsulated
    if compressed:
        try:
            available = get_decoder(syntax).is_available
        except NotImplementedError:
            available = False
        if not available:
            raise InputError(
                f"{name} is compressed as {syntax.name}, which cannot be read here: "
                "pip install 'pydicom[pixeldata,gpl-license]', or save it uncompressed"
            )
    try:
        return pixel_array(dataset)
    except Exception as error:  # a damaged file makes pydicom and its decoders raise anything
        what = f" ({syntax.name})" if compressed else ""
        raise InputError(
            f"{name} is damaged, or cut off: its pixels{what} cannot be read: {_short(error)}"
        ) from error


def _shown(dataset: Any, stored: np.ndarray, name: str) -> tuple[np.ndarray, dict[str, Any]]:
    """What a viewer shows, in [0, 1]; and how it came about."""
    photometric = str(dataset.PhotometricInterpretation)
    bits = int(dataset.get("BitsStored") or stored.dtype.itemsize * 8)
    how: dict[str, Any] = {
        "modality": str(dataset.get("Modality") or ""),
        "photometric": photometric,
        "rows": stored.shape[0],
        "columns": stored.shape[1],
        "bits": bits,
        "signed": bool(np.issubdtype(stored.dtype, np.signedinteger)),
    }
    if photometric not in _GREY:
        return stored.astype(np.float64) / (2**bits - 1), how
    from pydicom.pixels import apply_modality_lut

    values = apply_modality_lut(stored, dataset).astype(np.float64)  # (H, W)
    if not np.isfinite(values).all():
        raise InputError(f"{name} holds NaN or infinite pixels")
    if "RescaleSlope" in dataset and not dataset.get("ModalityLUTSequence"):
        how["rescale"] = {
            "slope": float(dataset.RescaleSlope),
            "intercept": float(dataset.get("RescaleIntercept") or 0),
        }
    shown, how["levels"] = _levels(dataset, values, name)
    return 1 - shown if photometric == "MONOCHROME1" else shown, how


def _levels(dataset: Any, values: np.ndarray, name: str) -> tuple[np.ndarray, dict[str, Any]]:
    """Values -> [0, 1] by the first VOI LUT, else by the first window, else by least and greatest."""
    if dataset.get("VOILUTSequence"):
        from pydicom.pixels import apply_voi

        depth = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        table = apply_voi(np.round(values).astype(np.int64), dataset)
        return np.clip(table / (2**depth - 1), 0, 1), {"by": "VOI LUT"}
    center, width = (_first(dataset.get(key)) for key in ("WindowCenter", "WindowWidth"))
    if center is not None and width is not None:
        function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
        how = {"by": "window", "center": center, "width": width, "function": function}
        return window(values, center, width, function, name), how
    low, high = float(values.min()), float(values.max())
    shown = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return shown, {"by": "least and greatest value, for there is no window", "low": low, "high": high}


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


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
