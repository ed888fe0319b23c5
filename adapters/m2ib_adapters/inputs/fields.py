"""One value a pixel: reading files and arrays of depth or heat, fitting them to a model, showing them."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from m2ib.contract.inputs import Item
from m2ib.errors import InputError, decoding
from m2ib.renderers import FieldView
from m2ib_adapters.bounds import NUMBERS, WHOLE, check_pixels
from m2ib_adapters.inputs.image_files import Picture, page_of, picture_of, read_file, reading_picture
from m2ib_adapters.inputs.images import ImagePreparation, Region, placed
from m2ib_adapters.inputs.media import InputFile, called, input_file
from m2ib_adapters.inputs.options import WithOptions, check_number, check_page_option, check_positive, saying
from m2ib_adapters.inputs.tensors import array_of
from m2ib_adapters.towers.patches import Patches

_PATCHES = Patches((16, 16), (16, 16))
_LONGEST_VIEW = 1024  # pixels; what is shown need not be larger
_LEAST_WEIGHT = 1e-4  # below this share of measured pixels, an average over them is rounding
_FLAT = 1e-3  # between the least and the greatest number of a model's input: all the same to it
_FLOAT32 = (float(np.finfo(np.float32).min), float(np.finfo(np.float32).max))
_EXR = b"v/1\x01"  # the first bytes of an .exr file
NUMPY = (b"\x93NUMPY", b"PK")  # the first bytes of a .npy and of a .npz file


@dataclass(frozen=True)
class FieldPreparation(WithOptions):
    """How a model wants one value a pixel.

    size       (rows, columns) of the input
    patches    the model's patches
    mean, std  of what the model takes
    page       of a raw input of several, counted from 0; None: the first, with a warning
    """

    size: tuple[int, int] = (224, 224)
    patches: Patches = _PATCHES
    mean: float = 0.0
    std: float = 1.0
    page: int | None = None

    def __post_init__(self) -> None:
        check_page_option(self.page, self.MODALITY)
        check_positive(self.std, "std", self.MODALITY)
        check_number(self.mean, "mean", self.MODALITY)

    def normalised(self, values: np.ndarray) -> Tensor:
        """(rows, columns) as the model takes them: (1, rows, columns) float32."""
        return torch.from_numpy((values - self.mean) / self.std).float()[None]

    def denormalised(self, inputs: Tensor) -> np.ndarray:
        """The inverse, of a preprocessed tensor.

        Raises :class:`InputError` for what is not (1, rows, columns), both multiples of the patch.
        """
        high, wide = self.patches.kernel
        fits = inputs.ndim == 3 and inputs.shape[0] == 1 and inputs.numel() > 0 and inputs.is_floating_point()
        if not fits or inputs.shape[1] % high or inputs.shape[2] % wide:
            raise InputError(
                f"{self.MODALITY}: a preprocessed tensor has the shape (1, rows, columns), multiples of {high} and "
                f"{wide}, and a floating-point type, not {tuple(inputs.shape)} {inputs.dtype}"
            )
        return inputs[0].float().cpu().numpy() * self.std + self.mean

    def item(
        self,
        inputs: Tensor,
        values: np.ndarray,
        label: str,
        unit: str,
        colours: str,
        region: Region | None = None,
        origin: Mapping[str, Any] | None = None,
        limits: tuple[float, float] | None = None,
    ) -> Item:
        """Inputs (1, rows, columns) that show ``region`` of ``values``, which are looked at between ``limits``.

        Without a region, they are a preprocessed tensor and its own values.
        """
        origin = dict(origin or {"source": "tensor"})
        if region is not None:
            origin |= {"fit": "crop", "mean": self.mean, "std": self.std}
        size, (height, width) = (inputs.shape[1], inputs.shape[2]), values.shape
        left, top, right, bottom = region = region or (0.0, 0.0, float(size[1]), float(size[0]))
        layout = placed(self.patches.layout(size), region)
        factor = min(1.0, _LONGEST_VIEW / max(height, width))
        shown = (max(1, round(width * factor)), max(1, round(height * factor)))
        if factor < 1:
            values = _through(values, lambda image: image.resize(shown, Image.Resampling.BILINEAR))
        scale = (shown[0] / width, shown[1] / height)
        region = (left * scale[0], top * scale[1], right * scale[0], bottom * scale[1])
        values = values.clip(*_FLOAT32).astype(np.float32)
        view = FieldView(values, label, unit, colours, region, size, scale, limits=limits)
        item = Item(inputs, layout, view, origin | {"input_size": list(size)})
        return self.patches.placed(item, size)


def open_field(
    raw: Any, who: str, page: int | None = None, *, grey: bool = False
) -> tuple[np.ndarray, dict[str, Any]]:
    """A path, bytes, open file, PIL image, array or tensor as it is stored, and where it came from.

    (H, W), or (H, W, channels) of a picture with colours; upright. Files: what PIL reads (PNG and TIFF
    with 16 bits or floating point too), .npy, .npz with one array, .exr with the package OpenEXR.

    page  of a file of several pages, or of an array with a page axis first
    grey  whether values are grey levels: a file may say that 0 is white, and is then turned round

    Raises :class:`InputError`.
    """
    name, page = called(raw, who), None if page is None else int(page)
    file = input_file(raw, who)
    if file is not None:
        picture, origin = _read(file, who, page), file.origin
    elif isinstance(raw, Image.Image):
        picture, origin = picture_of(raw, name, who, page), {"source": "PIL image"}
    elif isinstance(raw, (np.ndarray, Tensor)):
        array = array_of(raw) if isinstance(raw, Tensor) else raw
        picture, origin = Picture(*page_of(array, name, who, page)), {"source": "array"}
    else:
        raise InputError(
            f"{who}: cannot use a {type(raw).__name__}; give a path, bytes, a PIL image or an array (H, W)"
        )
    values = _values(picture, name, grey)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (3, 4)) or values.size == 0:
        way = f"; of several pages, say which: {saying(who, 'page', 0)}" if values.ndim == 3 else ""
        raise InputError(
            f"{name}: an array has the shape (H, W) or (H, W, 1), not {tuple(values.shape)}{way}"
        )
    if values.dtype == np.bool_ or not np.issubdtype(values.dtype, np.number) or np.iscomplexobj(values):
        raise InputError(f"{name}: values are whole or floating-point numbers, not {values.dtype}")
    check_pixels(name, values.shape[1], values.shape[0], NUMBERS)
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    held = {"size": [values.shape[1], values.shape[0]], "dtype": str(native.dtype)}
    return native, origin | picture.origin | held


def begins(path: Path, *marks: bytes) -> bool:
    """Whether a file begins with one of these."""
    with path.open("rb") as file:
        return file.read(max(map(len, marks))).startswith(marks)


def load_array(path: Path, name: str) -> np.ndarray:
    """The array in a .npy file, or the only one in a .npz file. Raises :class:`InputError`, in the name of ``name``."""
    if not begins(path, *NUMPY):
        raise InputError(f"{name} is not a numpy file; write it with numpy.save")
    with decoding(name, "is damaged, or cut off", reason=False):
        if not begins(path, b"PK"):
            with path.open("rb") as file:
                return _array(file, name, path.stat().st_size)
        with zipfile.ZipFile(path) as archive:  # no member is unpacked before it is looked at
            members = archive.infolist()
            if len(members) != 1:
                named = [repr(member.filename.removesuffix(".npy")) for member in members[:10]]
                names = ", ".join(named) or "none"
                raise InputError(
                    f"{name} holds {len(members)} arrays ({names}), not one; load the right one and give the array"
                )
            if not members[0].filename.endswith(".npy"):
                raise InputError(f"{name} is not a numpy file; write it with numpy.savez")
            with archive.open(members[0]) as file:
                return _array(file, name, members[0].file_size)


def _array(file: Any, name: str, there: int) -> np.ndarray:
    """An array in numpy's own format, of which so many bytes are ``there``, its header and all."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise InputError(
            f"{name} holds Python objects, which may run code and are not opened; save plain numbers"
        )
    size = math.prod(shape) * dtype.itemsize
    WHOLE.check(name, size, f"an array of {size:,} bytes")
    if size > there:
        raise ValueError(f"an array of {size:,} bytes in {there:,}")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def _read(file: InputFile, who: str, page: int | None) -> Picture:
    """By its name; what has none that tells, by its beginning."""
    path, suffix = file.path, file.path.suffix.lower()
    if suffix == ".exr" or (not suffix and begins(path, _EXR)):
        array = _read_exr(path, file.name)
    elif suffix in (".npy", ".npz") or (not suffix and begins(path, *NUMPY)):
        array = load_array(path, file.name)
    else:
        return read_file(file, who, page)
    return Picture(*page_of(array, file.name, who, page))


def _read_exr(path: Path, name: str) -> np.ndarray:
    try:
        import OpenEXR
    except ImportError:
        raise InputError(f"{name}: reading .exr files needs a package; run `pip install OpenEXR`") from None
    with decoding(name):
        (left, top), (right, bottom) = OpenEXR.File(str(path), header_only=True).header()["dataWindow"]
        check_pixels(name, int(right) - int(left) + 1, int(bottom) - int(top) + 1, NUMBERS)
        channels = OpenEXR.File(str(path), separate_channels=True).channels()
    arrays = {name: np.asarray(channel.pixels) for name, channel in channels.items()}
    first = next(iter(arrays.values()))
    chosen = next((arrays[name] for name in ("Z", "depth", "Y") if name in arrays), first)
    if chosen is first and not all(np.array_equal(array, first, equal_nan=True) for array in arrays.values()):
        raise InputError(
            f"{name} has the channels {', '.join(arrays)} and none is named Z, depth or Y; "
            "load the right one and give the array"
        )
    return chosen


def _values(picture: Picture, name: str, grey: bool) -> np.ndarray:
    """A picture as an array, upright."""
    values = picture.pixels
    if isinstance(values, Image.Image):
        with reading_picture(name):
            upright = ImageOps.exif_transpose(values)
            if upright.mode in ("1", "LA", "La"):
                upright = upright.convert("L")
            elif upright.mode not in ("L", "F", "RGB", "RGBA") and not upright.mode.startswith("I"):
                upright = upright.convert("RGB")
            values = np.asarray(upright)
    if not (grey and picture.told.inverted):
        return values
    white = 1 if np.issubdtype(values.dtype, np.floating) else picture.told.white or np.iinfo(np.uint16).max
    return (white - values.astype(np.float64)).astype(values.dtype)


def fit(
    values: np.ndarray, size: tuple[int, int], interpolation: Image.Resampling, name: str
) -> tuple[np.ndarray, Region]:
    """``values`` (H, W) with the short side resized to ``size`` and the centre cropped, and its region.

    NaN is no value: a pixel is the average of the measured ones that it covers, NaN where there are none.
    The region (left, top, right, bottom) is in pixels of ``values``. Warns, in the name of ``name``, where it is
    a small part of them.
    """
    place = ImagePreparation(size, (0.0,), (1.0,), interpolation=interpolation).place
    region = place(Image.new("L", values.shape[::-1]), name)[1]
    return _through(values, lambda image: place(image, None)[0]), region


def seen_part(values: np.ndarray, region: Region) -> np.ndarray:
    """Of ``values`` (H, W), the pixels in the region, whole or in part: (h, w)."""
    left, top, right, bottom = region
    return values[max(0, math.floor(top)) : math.ceil(bottom), max(0, math.floor(left)) : math.ceil(right)]


def is_flat(inputs: Tensor) -> bool:
    """Whether a model's input is the same everywhere."""
    return float(inputs.max() - inputs.min()) < _FLAT


def _through(values: np.ndarray, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    """``values`` resampled by ``change``, over the pixels that are not NaN: sum of values / sum of weights."""
    measured = ~np.isnan(values)
    filled = np.where(measured, values, 0).clip(*_FLOAT32).astype(np.float32)
    total = np.asarray(change(Image.fromarray(filled)))
    if measured.all():
        return total
    weight = np.asarray(change(Image.fromarray(measured.astype(np.float32))))
    return np.where(weight > _LEAST_WEIGHT, total / np.maximum(weight, _LEAST_WEIGHT), np.nan)


def fill_nearest(values: np.ndarray) -> np.ndarray:
    """``values`` (rows, columns) with each NaN replaced by the nearest value; one of them must be there."""
    nearest = distance_transform_edt(np.isnan(values), return_distances=False, return_indices=True)
    return np.asarray(values[tuple(nearest)])
