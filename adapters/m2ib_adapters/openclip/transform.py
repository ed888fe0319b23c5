"""Pixels by a torchvision transform, as ``open_clip.create_model_and_transforms`` gives it, and what they show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from m2ib.errors import InputError, SettingError
from m2ib_adapters.inputs.images import ImagePreparation, Region, warn_of_little

_RESIZE = ("Resize", "ResizeKeepRatio", "ResizeMaxSize")
_CROP = ("CenterCrop", "CenterCropOrPad")
_PIXELWISE = ("ToTensor", "MaybeToTensor", "MaybeConvertMode", "PILToTensor", "ToImage", "ConvertImageDtype", "ToDtype",
              "Normalize")  # fmt: skip
_RANDOM = ("random_scale_prob", "random_aspect_prob")


@dataclass(frozen=True, kw_only=True)
class TransformedImages(ImagePreparation):
    """Images made ready by a transform, step by step; ``mean`` and ``std`` are what it does to pixels in [0, 1].

    steps  resize, crop in the middle, and change each pixel by itself
    """

    steps: tuple[Callable[[Any], Any], ...]

    def pixels(self, image: Image.Image) -> tuple[Tensor, Region, dict[str, Any]]:
        pixels, region = _run(self.steps, image)
        if pixels.shape != (3, *self.size):
            raise InputError(
                f"image of {image.width}x{image.height} pixels: the transform makes it {tuple(pixels.shape)}, and the model "
                f"takes (3, {self.size[0]}, {self.size[1]})"
            )
        warn_of_little("image", image.size, region)
        made = {
            "mean": list(self.mean),
            "std": list(self.std),
            "transform": [_named(step) for step in self.steps],
        }
        return pixels, region, made


def transformed_images(transform: Any, size: tuple[int, int]) -> TransformedImages:
    """Of a ``Compose`` for validation, for a model that takes images of this size (rows, columns).

    Raises :class:`SettingError`, naming the step, for one that is not known, is random, or makes another size.
    """
    steps = tuple(getattr(transform, "transforms", ()))
    if not steps:
        raise SettingError(
            f"open-clip: transform is a {type(transform).__name__}; give the transform for validation, a torchvision Compose"
        )
    for step in steps:
        name = _named(step)
        # the functions of open_clip and of OpenAI's clip
        rgb = "rgb" in name.lower() and "convert" in name.lower()
        if not rgb and name not in (*_RESIZE, *_CROP, *_PIXELWISE):
            raise SettingError(
                f"open-clip: transform has the step {name}, of which it is not known what it does to an image's pixels; give "
                "the transform for validation (resize, crop in the middle, normalise)"
            )
        if any(getattr(step, chance, 0) for chance in _RANDOM):
            raise SettingError(
                f"open-clip: transform has the step {name}, which is random; give the one for validation"
            )
    ends = []
    for level in (0, 255):
        pixels, _ = _run(steps, Image.new("RGB", size[::-1], (level,) * 3))
        if not isinstance(pixels, Tensor) or pixels.shape != (3, *size):
            raise SettingError(
                f"open-clip: transform makes {getattr(pixels, 'shape', type(pixels).__name__)!s:.40} of an image of "
                f"{size[1]}x{size[0]} pixels, and the model takes (3, {size[0]}, {size[1]})"
            )
        ends.append(pixels[:, size[0] // 2, size[1] // 2].double())
    black, white = ends  # (3,)
    std = 1 / (white - black)
    mean = -black * std
    return TransformedImages(size=size, mean=tuple(mean.tolist()), std=tuple(std.tolist()), steps=steps)


def _named(step: Any) -> str:
    return str(getattr(step, "__name__", type(step).__name__))


def _run(steps: tuple[Callable[[Any], Any], ...], image: Image.Image) -> tuple[Any, Region]:
    """What comes out, and the region of the image that it shows."""
    value: Any = image
    left, top, right, bottom = 0.0, 0.0, float(image.width), float(image.height)
    for step in steps:
        before = _size(value)
        value = step(value)
        after = _size(value)
        if _named(step) in _CROP:
            across, down = (right - left) / before[0], (bottom - top) / before[1]
            x, y = (_corner(old, new) for old, new in zip(before, after, strict=True))
            left, top = left + x * across, top + y * down
            right, bottom = left + after[0] * across, top + after[1] * down
    if isinstance(value, Tensor):
        value = value.to(torch.float32)
    return value, (left, top, right, bottom)


def _size(value: Any) -> tuple[int, int]:
    """(width, height)."""
    if isinstance(value, Tensor):
        return value.shape[-1], value.shape[-2]
    return value.size


def _corner(old: int, new: int) -> int:
    """Where torchvision's centre crop begins; below 0 where it pads."""
    return round((old - new) / 2) if old >= new else -((new - old) // 2)
