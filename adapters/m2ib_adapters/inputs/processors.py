"""Pixels as the image processor of a transformers checkpoint makes them, and which part of the photo they show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from m2ib.errors import InputError
from m2ib_adapters.bounds import check_described
from m2ib_adapters.checkpoints import image_processor_config
from m2ib_adapters.inputs.images import ImagePreparation, Region, warn_of_little
from m2ib_adapters.inputs.options import is_number
from m2ib_adapters.without_code import without_code

_LONGEST = 100  # an image longer than so many of its short sides is cut to them first; all see but its centre
_TRIED = ((5, 7), (7, 5))
_FRAME_BY_FRAME = ("VideoMAEImageProcessorPil",)  # with each frame all that is done with an image
_SAID = (
    "do_resize", "size", "resample", "do_center_crop", "crop_size", "do_rescale", "rescale_factor", "do_normalize",
    "image_mean", "image_std", "do_pad", "pad_size",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ProcessedImages(ImagePreparation):
    """Images made ready by a checkpoint's own image processor, or frames by a video processor.

    processor  one of transformers': it resizes, crops, rescales, normalises and pads, each if it says so. ``mean`` and
               ``std`` are what this comes to, of pixels in [0, 1]
    """

    processor: Any

    def pixels(self, image: Image.Image) -> tuple[Tensor, Region, dict[str, Any]]:
        long = max(image.size) > _LONGEST * min(image.size)
        kept, (left, top) = _middle(image) if long else (image, (0, 0))
        try:
            array, inner = self.made(kept)
        except ValueError as error:  # of a padding that is smaller than the image
            raise InputError(f"image of {image.width}x{image.height} pixels: {error}") from error
        if array.shape[1:] != self.size:
            rows, columns = array.shape[1:]
            raise InputError(
                f"image of {image.width}x{image.height} pixels: the checkpoint's image processor makes it {columns}x"
                f"{rows}, and the model takes {self.size[1]}x{self.size[0]}: {_sizes(self.processor)} of its "
                "preprocessor_config.json does not suit the model"
            )
        region = (left + inner[0], top + inner[1], left + inner[2], top + inner[3])
        if self.processor.do_center_crop:
            warn_of_little("image", image.size, region)
        made = {
            "mean": list(self.mean),
            "std": list(self.std),
            "interpolation": self.interpolation.name.lower(),
            "image_processor": {"type": type(self.processor).__name__, **_said(self.processor)},
        }
        return torch.from_numpy(array.astype(np.float32)), region, made

    def made(self, image: Image.Image) -> tuple[np.ndarray, Region]:
        """An RGB image as (channels, rows, columns), and the region of it that this shows."""
        does = self.processor
        shown = image if len(self.mean) > 1 else image.convert("L")
        array = _called(does, shown, do_convert_rgb=False).numpy()  # (C, H, W)
        rows, columns = image.height, image.width
        if does.do_resize and does.size.height and does.size.width:
            rows, columns = does.size.height, does.size.width
        elif does.do_resize:
            blank = np.zeros((1, rows, columns), np.uint8)
            rows, columns = does.resize(blank, size=does.size, resample=Image.Resampling.NEAREST).shape[1:]
        down, across = image.height / rows, image.width / columns
        top = left = 0
        if does.do_center_crop:  # below 0: padded
            top, left = (rows - does.crop_size.height) // 2, (columns - does.crop_size.width) // 2
        bottom, right = top + array.shape[1], left + array.shape[2]  # it is padded to the right and below
        return array, (left * across, top * down, right * across, bottom * down)


def _region_known(processor: Any) -> bool:
    """Of an image processor whose steps have their own way, as EfficientNet's rescaling, or a video processor: whether it
    resizes to one size, whatever an image's shape is, and at most crops the centre then.
    """
    size = processor.size if processor.do_resize else None
    one = not processor.do_resize or bool(size and size.height and size.width)
    takes = processor.model_input_names
    return one and not processor.do_pad and takes in (["pixel_values"], ["pixel_values_videos"])


def _called(processor: Any, image: Image.Image, **options: Any) -> Any:
    """(C, H, W) by an image processor, or by a video processor as a film of one frame."""
    if processor.model_input_names != ["pixel_values_videos"]:
        pixels = processor(image, return_tensors="pt", **options)["pixel_values"]
        return pixels.reshape(pixels.shape[-3:])
    options |= {"do_sample_frames": False, "input_data_format": "channels_last", "return_tensors": "pt"}
    return processor([np.array(image)[None]], **options)["pixel_values_videos"][0, 0]


def image_processor(source: str, options: Mapping[str, Any], *, pillow: bool = True) -> Any:
    """The image processor that a checkpoint's files describe; None where it comes without one.

    source   a folder or hub id; ``options`` for reading it
    pillow   which of transformers' two, whose pixels differ by rounding; False: as transformers chooses

    Raises ``ValueError`` for one with steps that are not known, and what transformers raises.
    """
    from transformers import AutoImageProcessor

    given = image_processor_config(source, options)
    if not given:
        return None
    check_described(given, f"checkpoint {source!r}: its image processor")
    try:
        processor = without_code(
            AutoImageProcessor.from_pretrained, source, backend="pil" if pillow else None, **options
        )
    except (TypeError, ValueError) as error:
        kept = {name: given[name] for name in _SAID if name in given}
        raise ValueError(f"its image processor cannot be made ({error}): it has {kept}") from error
    known = set(type(processor).valid_kwargs.__annotations__)
    for key, value in given.items():
        if key not in known and (key == "image_processor" or (key.startswith("do_") and value)):
            raise ValueError(
                f"its image processor has {key!r}, which transformers' {type(processor).__name__} does not know; take it "
                "out of preprocessor_config.json if the model was trained without it"
            )
    return processor


def with_pillow(processor: Any) -> Any:
    """An image processor in memory, of either kind, as one that works with Pillow."""
    from transformers import AutoImageProcessor

    with TemporaryDirectory() as folder:
        processor.save_pretrained(folder)
        return without_code(AutoImageProcessor.from_pretrained, folder, backend="pil", local_files_only=True)


def processed_images(processor: Any, side: int | None, channels: int) -> ProcessedImages:
    """The preparation for a model that takes images of so many rows, and columns, and channels.

    side  None: any, and it is the processor's

    Raises ``ValueError``, naming the keys, where the pixels of this processor cannot go into the model.
    """
    from transformers.image_processing_backends import PilBackend

    if channels not in (1, 3):
        raise ValueError(
            f"its config.json has num_channels {channels}; images have 3 channels here, or 1 (grey)"
        )
    kind = type(processor)
    usual = isinstance(processor, PilBackend) and (
        kind._preprocess is PilBackend._preprocess or kind.__name__ in _FRAME_BY_FRAME
    )
    if not usual and not _region_known(processor):
        raise ValueError(
            f"its image processor is a {kind.__name__}, whose steps are not known here; CLIPImageProcessor, "
            "SiglipImageProcessor and ViTImageProcessor are"
        )
    if processor.resample not in list(Image.Resampling):
        raise ValueError(
            f"its image processor has the resample {processor.resample!r}; it is one of Pillow's 0 to 5"
        )
    mean, std = scale_of(processor, channels) if usual else ((0.0,) * channels, (1.0,) * channels)
    preparation = ProcessedImages(
        size=(side or 0, side or 0),
        mean=mean,
        std=std,
        interpolation=Image.Resampling(processor.resample),
        processor=processor,
    )
    try:
        made = {preparation.made(Image.new("RGB", size))[0].shape[1:] for size in _TRIED}
        if not usual:
            mean, std = _scale_seen(processor)
            preparation = replace(preparation, mean=mean, std=std)
    except Exception as error:  # its own checks raise what they like
        raise ValueError(f"its image processor cannot work ({error}): it has {_said(processor)}") from error
    if len(made) == 1 and made != {preparation.size}:
        ((rows, columns),) = made
        if side is None:
            return replace(preparation, size=(rows, columns))
        raise ValueError(
            f"its image processor makes images of {columns}x{rows} pixels ({_sizes(processor)}), and its model takes "
            f"{side}x{side} (image_size)"
        )
    if side is None:
        raise ValueError(
            f"its image processor makes images of several sizes ({_sizes(processor)}); it must make one"
        )
    return preparation


def _scale_seen(processor: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """:func:`scale_of` an image processor whose steps are not known, from what it makes of black and white."""
    tried = (Image.new("RGB", _TRIED[0], grey) for grey in ("black", "white"))
    made = [_called(processor, image).double() for image in tried]  # (3, rows, columns) each, perhaps padded
    black, white = (each[:, each.shape[1] // 2, each.shape[2] // 2] for each in made)  # (3,) each
    std = 1 / (white - black)
    return tuple((-black * std).tolist()), tuple(std.tolist())


def scale_of(processor: Any, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation by channel, of pixels in [0, 1], that an image processor's rescaling and normalising come to.

    Raises ``ValueError`` for numbers that it cannot have.
    """
    factor = processor.rescale_factor if processor.do_rescale else 1.0
    if not is_number(factor) or not factor > 0:
        raise ValueError(f"its image processor has the rescale_factor {factor!r}; it is a number > 0")
    mean: tuple[Any, ...] = (0.0,) * channels
    std: tuple[Any, ...] = (1.0,) * channels
    if processor.do_normalize:
        given = processor.image_mean, processor.image_std
        mean, std = ((each,) * channels if is_number(each) else tuple(each) for each in given)
        numbers = all(map(is_number, (*mean, *std)))
        if not numbers or not len(mean) == len(std) == channels or not min(std) > 0:
            raise ValueError(
                f"its image processor has the image_mean {_listed(given[0])} and the image_std {_listed(given[1])}; the model takes "
                f"{channels} channels: give one number, or {channels}, above 0 for image_std"
            )
    top = 255 * float(factor)  # what a white pixel is rescaled to
    return tuple(each / top for each in mean), tuple(each / top for each in std)


def _listed(given: Any) -> Any:
    if not isinstance(given, (list, tuple)):
        return given
    return [float(each) if is_number(each) else each for each in given]


def _middle(image: Image.Image) -> tuple[Image.Image, tuple[int, int]]:
    """The middle of a very long image, and its corner."""
    longest = _LONGEST * min(image.size)
    left, top = (max(0, (side - longest) // 2) for side in image.size)
    return image.crop((left, top, image.width - left, image.height - top)), (left, top)


def _said(processor: Any) -> dict[str, Any]:
    """What an image processor does, JSON-able."""
    said = json.loads(processor.to_json_string())
    return {name: said[name] for name in _SAID if said.get(name) is not None}


def _sizes(processor: Any) -> str:
    """The keys that decide how large its images are."""
    said = _said(processor)
    steps = {"do_resize": "size", "do_center_crop": "crop_size", "do_pad": "pad_size"}
    keys = [key for step, key in steps.items() if said.get(step)]
    return ", ".join(f"{key} {said.get(key)}" for key in keys) or "do_resize and do_center_crop False"
