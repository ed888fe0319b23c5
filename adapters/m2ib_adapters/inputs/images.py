"""Raw image -> upright RGB -> the tensor a model takes, and which part of the photo that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from m2ib.contract.inputs import Item
from m2ib.contract.layout import Axis, Layout, even_axis
from m2ib.errors import InputError, SettingError
from m2ib.notices import warn
from m2ib.renderers import ImageView
from m2ib_adapters.inputs.image_files import Picture, page_of, picture_of, read_file, reading_picture
from m2ib_adapters.inputs.media import called, input_file
from m2ib_adapters.inputs.options import WithOptions, check_number, check_page_option, options_of
from m2ib_adapters.inputs.rgb import checked_array, to_rgb

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of CLIP's training images, and of all that follow it
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
_MAX_RESIZED = 2**26  # pixels of an intermediate image; beyond it only the part that is seen is resized
_LITTLE_SEEN = 0.2
_NEARLY_BLACK = 16  # of 255, where white of 12 bits in 16 is

Fit = Literal["crop", "squash", "pad"]
Region = tuple[float, float, float, float]
"""(left, top, right, bottom) in pixels."""


class Preparation(Protocol):
    """How a model's pixels are made: of a raw image, or of a tensor that holds them already.

    size  (rows, columns) of the model's input, or the side of a square
    """

    @property
    def size(self) -> tuple[int, int] | int: ...

    def prepare(self, raw: Any, layout: Layout) -> Item: ...

    def describe(self, pixels: Tensor, layout: Layout) -> Item: ...


@dataclass(frozen=True, kw_only=True)
class ImageOptions(WithOptions):
    """What a user may say of raw images, for a model or in one input, as in {"image": path, "page": 2}.

    page              of a file or array of several, counted from 0; None: the first, with a warning
    minimum, maximum  the values that become black and white; None: as the file tells, else by the rule of
                      :mod:`m2ib_adapters.inputs.levels`
    """

    page: int | None = None
    minimum: float | None = None
    maximum: float | None = None

    MODALITY: ClassVar[str] = "image"
    IN_INPUT: ClassVar[tuple[str, ...]] = ("page", "minimum", "maximum")
    OPTIONS: ClassVar[tuple[str, ...]] = IN_INPUT

    def __post_init__(self) -> None:
        check_page_option(self.page, self.MODALITY)
        for name in ("minimum", "maximum"):
            if getattr(self, name) is not None:
                check_number(getattr(self, name), name, self.MODALITY)
        if self.minimum is not None and self.maximum is not None and self.minimum >= self.maximum:
            raise SettingError(f"image: minimum={self.minimum:g} is not below maximum={self.maximum:g}")

    def given(self, options: Any, who: str) -> Self:
        """With an adapter's option ``image``; None is none. Raises :class:`SettingError`, in the name of ``who``."""
        return self._with(options_of(options, "image", who), self.OPTIONS)

    def opened(self, raw: Any, *, full: bool = False) -> tuple[Image.Image, dict[str, Any]]:
        """:func:`open_image` of a raw input, or of a mapping with the key "image" for one and options for it.

        Warns of a picture that is nearly black.
        """
        mine, value = self.with_input(raw)
        image, origin = open_image(
            value, page=mine.page, minimum=mine.minimum, maximum=mine.maximum, full=full
        )
        extrema: Any = image.getextrema()
        least, most = min(low for low, _ in extrema), max(high for _, high in extrema)
        if least < most <= _NEARLY_BLACK:
            warn(
                f"{called(value, 'image')} is nearly black: its brightest value is {most} of 255; if its values have fewer bits than "
                "its type, say which is white (options.image.maximum)"
            )
        return image, origin


@dataclass(frozen=True)
class ImagePreparation(ImageOptions):
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
        """A path, bytes, open file, PIL image or array as an :class:`Item` with (channels, rows, columns) float32 pixels.

        Or a mapping with the key "image" for one of these and page, minimum and maximum for this input.
        """
        image, origin = self.opened(raw)
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
            scale = max(width / columns, height / rows)
            inner = (max(1, round(width / scale)), max(1, round(height / scale)))
            return padded(image, inner, (columns, rows), self.interpolation, self.fill)
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


def padded(
    image: Image.Image,
    inner: tuple[int, int],
    size: tuple[int, int],
    interpolation: Image.Resampling,
    fill: int = 0,
) -> tuple[Image.Image, Region]:
    """``image`` resized to ``inner`` amid grey of this ``size``, both (width, height); and the region of it that this shows."""
    canvas = Image.new(image.mode, size, (fill,) * len(image.getbands()))
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    canvas.paste(image.resize(inner, interpolation), (left, top))
    # pixels of the image for one of the canvas
    across, down = image.width / inner[0], image.height / inner[1]
    return canvas, (-left * across, -top * down, (size[0] - left) * across, (size[1] - top) * down)


def warn_of_little(name: str, size: tuple[int, int], region: Region) -> None:
    """Warns, in the name of ``name``, where ``region`` is a small part of an image of ``size`` (width, height)."""
    width, height = size
    seen = (region[2] - region[0]) * (region[3] - region[1]) / (width * height)
    if seen < _LITTLE_SEEN:
        warn(
            f"{name} of {width}x{height} pixels: the model's centre crop sees {seen:.1%} of it; "
            "crop the image to what matters"
        )


def pixel_axes(grid: Sequence[int], region: Region) -> tuple[Axis, Axis]:
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


def open_image(
    raw: Any,
    *,
    page: int | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    full: bool = False,
) -> tuple[Image.Image, dict[str, Any]]:
    """A path, bytes, open file, PIL image or array as an upright RGB image, and where it came from.

    A file may be a DICOM: see :mod:`m2ib_adapters.inputs.dicom`.
    Grey, palette, CMYK, 16-bit and floating-point images become RGB; transparency is laid on white;
    EXIF orientation is applied. Arrays are (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); uint8, uint16, int16, int32,
    bool or floating point in [0, 1].

    page              of a file of several pages or frames, or of an array with a page axis first; None: the first
                      of a file, with a warning
    minimum, maximum  the values that become black and white; None: see :mod:`m2ib_adapters.inputs.levels`
    full              a DICOM is shown from its least to its greatest value, whatever its window is

    Raises :class:`InputError`.
    """
    name, limits = called(raw, "image"), (minimum, maximum)
    page = None if page is None else int(page)
    file = input_file(raw, "image")
    if file is not None:
        picture, origin = read_file(file, "image", page, limits, full), file.origin
    elif isinstance(raw, Image.Image):
        picture, origin = picture_of(raw, name, "image", page), {"source": "PIL image"}
    elif isinstance(raw, np.ndarray):
        array, chosen = page_of(raw, name, "image", page)
        picture, origin = Picture(checked_array(array), chosen), {"source": "array"}
    else:
        raise InputError(
            f"image: cannot use a {type(raw).__name__}; "
            "give a path, bytes, a PIL image, an array (H, W, 3) or a tensor"
        )
    with reading_picture(name):
        rgb, levels = to_rgb(picture, (None, None) if "dicom" in picture.origin else limits, name)
    return rgb, origin | picture.origin | levels | {"size": [rgb.width, rgb.height]}
