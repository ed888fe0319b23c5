"""Raw image -> upright RGB -> the tensor a model takes, and which part of the photo that is."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from m2ib.contract.inputs import Item
from m2ib.contract.layout import Axis, Layout, even_axis
from m2ib.errors import InputError
from m2ib.notices import warn
from m2ib.renderers import ImageView
from m2ib_adapters.files import sha256
from m2ib_adapters.inputs.dicom import is_dicom, read_dicom
from m2ib_adapters.inputs.media import check_pixels, existing_file, too_large

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of CLIP's training images, and of all that follow it
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
_MAX_RESIZED = 2**26  # pixels of an intermediate image; beyond it only the part that is seen is resized
_LITTLE_SEEN = 0.2

Fit = Literal["crop", "squash", "pad"]
Region = tuple[float, float, float, float]
"""(left, top, right, bottom) in pixels."""


class Preparation(Protocol):
    """How a model's pixels are made: of a raw image, or of a tensor that holds them already."""

    def prepare(self, raw: Any, layout: Layout) -> Item: ...

    def describe(self, pixels: Tensor, layout: Layout) -> Item: ...


@dataclass(frozen=True)
class ImagePreparation:
    """How a model wants its pixels.

    size           (rows, columns) of its input
    mean, std      by channel, of pixels in [0, 1]
    fit            "crop": the short side resized to the input, the centre cropped; "squash": resized as
                   it is; "pad": the long side resized, the rest filled
    interpolation  PIL's
    fill           the grey level (0-255) of the filling
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: Fit = "crop"
    interpolation: Image.Resampling = Image.Resampling.BICUBIC
    fill: int = 0

    def prepare(self, raw: Any, layout: Layout) -> Item:
        """A path, PIL image or array as an :class:`Item` with (channels, rows, columns) float32 pixels."""
        image, origin = open_image(raw)
        inputs, region, made = self.pixels(image)
        origin |= {"input_size": list(self.size), **made}
        return Item(inputs, placed(layout, region), ImageView.of(image, region, self.size), origin)

    def pixels(self, image: Image.Image) -> tuple[Tensor, Region, dict[str, Any]]:
        """An RGB image as the model takes it, the region of it that this shows, and how it was made."""
        fitted, region = self.place(image)
        pixels = torch.from_numpy(np.array(fitted, dtype=np.float32)).permute(2, 0, 1) / 255  # (3, H, W)
        inputs = (pixels - torch.tensor(self.mean)[:, None, None]) / torch.tensor(self.std)[:, None, None]
        made = {
            "fit": self.fit,
            "mean": list(self.mean),
            "std": list(self.std),
            "interpolation": self.interpolation.name.lower(),
        }
        return inputs, region, made

    def describe(self, pixels: Tensor, layout: Layout) -> Item:
        """One preprocessed tensor (channels, rows, columns) as an :class:`Item`; shown with mean and std undone."""
        channels = len(self.mean)
        if pixels.shape != (channels, *self.size) or not pixels.is_floating_point():
            raise InputError(
                f"image: a preprocessed tensor has the shape ({channels}, {self.size[0]}, {self.size[1]}) and a "
                f"floating-point type, not {tuple(pixels.shape)} {pixels.dtype}"
            )
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.mean, self.std))  # (C, 1, 1)
        shown = (pixels.float() * std + mean).expand(3, -1, -1)
        array = (shown.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()  # (H, W, 3)
        rows, columns = self.size
        region = (0, 0, columns, rows)
        view = ImageView.of(Image.fromarray(np.ascontiguousarray(array)), region, self.size)
        return Item(pixels, placed(layout, region), view, {"source": "tensor", "input_size": list(self.size)})

    def place(self, image: Image.Image, name: str | None = "image") -> tuple[Image.Image, Region]:
        """The image at the model's size, and the region of the image that it shows (pixels of ``image``).

        Warns, in the name of ``name``, where that is a small part; not where it is None.
        """
        rows, columns = self.size
        width, height = image.size
        if self.fit == "squash":
            return image.resize((columns, rows), self.interpolation), (0, 0, width, height)
        if self.fit == "pad":
            ratio = max(width / columns, height / rows)
            inner = (max(1, round(width / ratio)), max(1, round(height / ratio)))
            canvas = Image.new("RGB", (columns, rows), (self.fill,) * 3)
            corner = ((columns - inner[0]) // 2, (rows - inner[1]) // 2)
            canvas.paste(image.resize(inner, self.interpolation), corner)
            across, down = width / inner[0], height / inner[1]  # pixels of the image for one of the input
            left, top = -corner[0] * across, -corner[1] * down
            return canvas, (left, top, left + columns * across, top + rows * down)
        return self._crop(image, name)

    def _crop(self, image: Image.Image, name: str | None) -> tuple[Image.Image, Region]:
        rows, columns = self.size
        width, height = image.size
        if rows != columns:  # covers the input, both sides rounded, as timm does
            scale = min(width / columns, height / rows)
            resized = (round(width / scale), round(height / scale))
        elif width <= height:  # the short side as the input's, the long one rounded down, as torchvision does
            resized = (columns, int(columns * height / width))
        else:
            resized = (int(rows * width / height), rows)
        left, top = round((resized[0] - columns) / 2), round((resized[1] - rows) / 2)
        ratio = (width / resized[0], height / resized[1])
        region = (left * ratio[0], top * ratio[1], (left + columns) * ratio[0], (top + rows) * ratio[1])
        if name is not None:
            warn_of_little(name, image.size, region)
        if resized[0] * resized[1] > _MAX_RESIZED:
            return image.resize((columns, rows), self.interpolation, box=region), region
        whole = image.resize(resized, self.interpolation)
        return whole.crop((left, top, left + columns, top + rows)), region


def warn_of_little(name: str, size: tuple[int, int], region: Region) -> None:
    """Warns, in the name of ``name``, where ``region`` is a small part of an image of ``size`` (width, height)."""
    width, height = size
    seen = (region[2] - region[0]) * (region[3] - region[1]) / (width * height)
    if seen < _LITTLE_SEEN:
        warn(
            f"{name} of {width}x{height} pixels: the model's centre crop sees {seen:.1%} of it; "
            "crop the image to what matters"
        )


def pixel_axes(grid: tuple[int, int], region: Region) -> tuple[Axis, Axis]:
    """The rows and columns of ``grid`` in pixels of the raw image, where ``region`` is what it covers.

    region  (left, top, right, bottom); cells over padding have spans outside the image
    """
    left, top, right, bottom = region
    return even_axis("row", "px", grid[0], top, bottom), even_axis("column", "px", grid[1], left, right)


def placed(layout: Layout, region: Region) -> Layout:
    """``layout`` with its axes in pixels of the raw image, if it is a grid (rows, columns) of known shape."""
    if layout.grid is None or len(layout.grid) != 2:
        return layout
    rows, columns = layout.grid
    return replace(layout, axes=pixel_axes((rows, columns), region))


def open_image(raw: Any) -> tuple[Image.Image, dict[str, Any]]:
    """A path, PIL image or array as an upright RGB image, and where it came from.

    A file may be a DICOM: see :mod:`m2ib_adapters.inputs.dicom`.
    Grey, palette, CMYK, 16-bit and floating-point images become RGB; transparency is laid on white;
    EXIF orientation is applied. Arrays are (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); uint8, uint16, bool
    or floating point in [0, 1].

    Raises :class:`InputError`.
    """
    if isinstance(raw, (str, PathLike)):
        path = existing_file(raw, "image")
        (image, made), name = read_file(path, "image"), f"image {str(path)!r}"
        origin: dict[str, Any] = {"source": str(path), "sha256": sha256(path), **made}
    elif isinstance(raw, Image.Image):
        image, name, origin = raw, "image", {"source": "PIL image"}
    elif isinstance(raw, np.ndarray):
        image, name, origin = _from_array(raw), "image", {"source": "array"}
    else:
        raise InputError(
            f"image: cannot use a {type(raw).__name__}; "
            "give a path, a PIL image, an array (H, W, 3) or a tensor"
        )
    check_pixels(name, image.width, image.height)
    with decoding(name):
        rgb = _to_rgb(ImageOps.exif_transpose(image), name)
    return rgb, origin | {"size": [rgb.width, rgb.height]}


def read_file(path: Path, kind: str) -> tuple[Image.Image, dict[str, Any]]:
    """The picture in a file, and what its format says about how it was made.

    kind  "image", "depth", ... for the message of the :class:`InputError`
    """
    name = f"{kind} {str(path)!r}"
    with decoding(name):
        if is_dicom(path):
            return read_dicom(path, kind)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit follows
            with Image.open(path) as image:
                check_pixels(name, image.width, image.height)
                image.load()
                return image, {}


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Whatever PIL raises over a file becomes one :class:`InputError`, in the name of ``name``."""
    try:
        yield
    except InputError:
        raise
    except Image.DecompressionBombError as error:  # its message begins with the number of pixels
        count = int(next(iter(re.findall(r"\d+", str(error))), 0))
        raise too_large(name, f"{count:,} pixels") from None
    except UnidentifiedImageError:
        raise InputError(f"{name} is not in an image format that can be read") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise InputError(f"{name} is damaged and cannot be decoded: {error}") from error


def _from_array(array: np.ndarray) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or array.size == 0:
        raise InputError(
            f"image: an array has the shape (H, W), (H, W, 3) or (H, W, 4), not {tuple(array.shape)}"
        )
    if np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all():
            raise InputError("image: the array holds NaN or infinite values")
        if array.min() < 0 or array.max() > 1:
            raise InputError(
                f"image: floating-point pixels lie in [0, 1], not in [{array.min():g}, {array.max():g}]; "
                "scale them, or give uint8"
            )
        array = np.round(array * 255).astype(np.uint8)
    elif array.dtype == np.uint16:
        array = np.round(array / 257).astype(np.uint8)
    elif array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype != np.uint8:
        raise InputError(f"image: pixels are uint8, uint16, bool or floating point, not {array.dtype}")
    return Image.fromarray(np.ascontiguousarray(array))


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits, or 32 that hold 16
        deep = np.asarray(image).astype(np.int64)
        if deep.min() < 0 or deep.max() > 65535:
            raise InputError(f"{name}: grey levels lie in 0 to 65535, not in {deep.min()} to {deep.max()}")
        return _from_array(deep.astype(np.uint16)).convert("RGB")
    if image.mode == "F":
        return _from_array(np.asarray(image)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layered = image.convert("RGBA")
        paper = Image.new("RGBA", layered.size, (255, 255, 255, 255))
        return Image.alpha_composite(paper, layered).convert("RGB")
    return image.convert("RGB")
