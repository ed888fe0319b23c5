"""Images that a model reads among its tokens: each stands for a part of the image, in reading order.

What the library's processor makes of an image is what the encoder takes, by name; of each tensor the first axis is that of
images, patches or texts, and those of several inputs follow each other along it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate, pad

from m2ib.contract.degradation import Degradation
from m2ib.contract.encoder import Encoder, Layer
from m2ib.contract.inputs import Inputs, Item, each_tensor
from m2ib.contract.layout import Layout
from m2ib.errors import CheckpointError, InputError, decoding
from m2ib.renderers import ImageView
from m2ib_adapters.inputs.images import ImageOptions, placed
from m2ib_adapters.sentences.pipeline import Pipeline

_IDS, _PIXELS = "input_ids", "pixel_values"
_PLACES = "image_position_ids"  # of padded patches: column and row, -1 for what is not there
_SHOWN = 28  # pixels of a cell where the image itself is not there
_GREY = 1e-3  # nearly the mean colour: 0 altogether is padding to some models
_PART = re.compile(r"<row_(\d+)_col_(\d+)>")  # what Idefics and its kin write before each part of an image


@dataclass(frozen=True, kw_only=True)
class Pictures(ImageOptions, Degradation):
    """How an image becomes tokens, and how its cells fade: to the mean colour that its pixels are normalised by, else to grey.

    pipeline  of the model
    token     the id of what stands for a part of an image
    """

    pipeline: Pipeline
    token: int
    gradual: bool = True

    def prepare(self, raw: Any, *, truncate: bool = False) -> Item:
        """A path, PIL image or array, with options or without; or one that is ready, by name.

        Raises :class:`InputError`.
        """
        if isinstance(raw, Mapping) and self.MODALITY not in raw:
            return self.describe(dict(raw))
        image, origin = self.opened(raw)
        features = self.pipeline.features(image)
        inputs = {name: value for name, value in features.items() if isinstance(value, Tensor)}
        layout = self.layout(inputs)
        processor = type(self.pipeline.reader.processor).__name__
        return self._item(
            inputs, layout, image, origin | {"tokens": inputs[_IDS].shape[1], "processor": processor}
        )

    def describe(self, given: Inputs) -> Item:
        """What the library's processor made of one image, by name. Raises :class:`InputError`."""
        if not isinstance(given, dict) or not {_IDS, _PIXELS} <= set(given):
            raise InputError(
                f"image: this model takes the image itself (a path, a PIL image or an array), or a dict with {_IDS} and {_PIXELS} as "
                "its processor makes them of one image"
            )
        layout = self.layout(given)
        assert layout.grid is not None
        rows, columns = layout.grid
        blank = Image.new("RGB", (columns * _SHOWN, rows * _SHOWN), "grey")
        return self._item(given, layout, blank, {"source": "tensors"})

    def _item(self, inputs: Any, layout: Layout, image: Image.Image, origin: dict[str, Any]) -> Item:
        assert layout.grid is not None
        region = (0, 0, image.width, image.height)
        size = (layout.grid[0] * _SHOWN, layout.grid[1] * _SHOWN)
        return Item(inputs, placed(layout, region), ImageView.of(image, region, size), origin)

    def layout(self, inputs: Mapping[str, Tensor]) -> Layout:
        """Which tokens are which cells of the image. Raises :class:`InputError` where they are no grid."""
        runs = self.runs(inputs)
        told, images = inputs.get("image_grid_thw"), self.pipeline.reader.processor.image_processor
        if _PLACES in inputs:
            told = inputs[_PLACES].amax(1).flip(1) + 1
        if told is not None:  # patches in rows and columns
            merged = getattr(images, "merge_size", None) or images.pooling_kernel_size
            rows, columns = (told[0, -2:] // merged).tolist()
            places = [*chain(*runs)]
            if len(places) != rows * columns:
                raise _no_grid([len(places)])
            return Layout((rows, columns), tuple(places))
        side = math.isqrt(len(runs[0])) if runs else 0
        if any(len(run) != side**2 for run in runs) or not side:
            raise _no_grid([len(run) for run in runs])
        if len(runs) == 1:
            return Layout((side, side), tuple(runs[0]))
        parts = {at: run for run in runs if (at := self._part(inputs, run)) is not None}
        rows, columns = (max(at[axis] for at in parts) for axis in (0, 1)) if parts else (0, 0)
        if len(parts) != rows * columns or not parts:
            raise _no_grid([len(run) for run in runs])
        index = [
            parts[row // side + 1, column // side + 1][row % side * side + column % side]
            for row in range(rows * side)
            for column in range(columns * side)
        ]
        return Layout((rows * side, columns * side), tuple(index))

    def runs(self, inputs: Mapping[str, Tensor]) -> list[list[int]]:
        """The tokens that stand for parts of the image, one run for each piece that it was cut into."""
        places = (inputs[_IDS].flatten() == self.token).nonzero().flatten().tolist()
        cuts = [0, *(n for n, (a, b) in enumerate(pairwise(places), 1) if b != a + 1), len(places)]
        return [places[a:b] for a, b in pairwise(cuts) if b > a]

    def _part(self, inputs: Mapping[str, Tensor], run: list[int]) -> tuple[int, int] | None:
        """Which piece of the image a run is, by the token before it, (row, column) from 1 on; None for the whole in small."""
        before = int(inputs[_IDS].flatten()[run[0] - 1])
        found = _PART.fullmatch(str(self.pipeline.net.tokenizer.convert_ids_to_tokens(before)))
        return (int(found[1]), int(found[2])) if found else None

    def positions(self, inputs: Inputs, grid: tuple[int, ...]) -> tuple[int, ...]:
        return grid

    def apply(self, inputs: Inputs, keep: Tensor, layout: Layout) -> Inputs:
        """inputs of one image (1, ...), keep (K, rows, columns) -> inputs (K, ...)."""
        assert isinstance(inputs, dict)
        assert layout.index is not None
        runs = self.runs({name: value[0] for name, value in inputs.items()})
        count, places = len(keep), [*chain(*runs)]
        side = math.isqrt(len(runs[0]))
        cell = {place: number for number, place in enumerate(layout.index)}
        kept = torch.ones(count, len(places), dtype=keep.dtype, device=keep.device)  # by token
        known = [number for number, place in enumerate(places) if place in cell]
        kept[:, known] = keep.flatten(1)[:, [cell[places[number]] for number in known]]
        if len(known) < len(places):  # the last run is the whole image in small
            kept[:, -(side**2) :] = adaptive_avg_pool2d(keep[:, None], side).flatten(1)
        several = each_tensor(inputs, lambda tensor: tensor.repeat(count, *[1] * (tensor.ndim - 1)))
        assert isinstance(several, dict)
        pixels = several[_PIXELS]  # (K, 1, ..., 3, H, W), or patches (K, P, C), padded ones (K, 1, P, C)
        images = self.pipeline.reader.processor.image_processor
        if _PLACES in several:
            column, row = (several[_PLACES][0, 0] // images.pooling_kernel_size).T  # (P,) each
            cells = (column + row * keep.shape[2]).clamp_min(-1)  # the last for what is not there
            by_patch = pad(keep.flatten(1), (0, 1), value=1)[:, None, cells, None]  # (K, 1, P, 1)
        elif pixels.ndim == 3:
            by_patch = kept.repeat_interleave(pixels.shape[1] // len(places), 1)[..., None]  # (K, P, 1)
        else:
            flat = pixels.reshape(count, len(runs), *pixels.shape[-3:])  # (K, pieces, 3, H, W)
            wide = interpolate(kept.view(count, len(runs), side, side), size=flat.shape[-2:], mode="nearest")
            by_patch = wide[:, :, None].expand_as(flat).reshape(pixels.shape)
        grey = torch.full_like(pixels, _GREY if images.do_normalize else 0.5)
        return {**several, _PIXELS: torch.lerp(grey, pixels, by_patch.to(pixels))}


def _no_grid(lengths: list[int]) -> InputError:
    return InputError(
        f"image: its tokens are runs of {', '.join(map(str, lengths)) or 'none'}, and which of them is where in the image is not known; "
        "this model's images cannot be explained"
    )


def picture_encoder(
    pipeline: Pipeline, layers: tuple[Layer, ...], options: Mapping[str, Any] | None
) -> Encoder | None:
    """The encoder of images; None of a model that takes none among its tokens."""
    processor = pipeline.reader.processor
    token = getattr(processor, "image_token_id", None)
    if not pipeline.net.supports("image") or token is None:
        return None
    pictures = Pictures(pipeline=pipeline, token=int(token)).given(options, pipeline.who)
    with decoding(f"{pipeline.who}: its image processor", "cannot work", error=CheckpointError):
        kind = pipeline.features(Image.new("RGB", (64, 48), "grey"))["modality"]

    def embed(inputs: Inputs) -> Tensor:
        assert isinstance(inputs, dict)
        return pipeline.embed(
            {name: value.flatten(0, 1).contiguous() for name, value in inputs.items()} | {"modality": kind}
        )

    return Encoder(
        modality="image",
        prepare=pictures.prepare,
        describe=pictures.describe,
        embed=embed,
        layers=layers,
        degradation=pictures,
        examples=_examples,
    )


def _examples() -> list[Image.Image]:
    """A bright square on the left, and one below."""
    found = []
    for place, colour in (((8, 16), "orange"), ((40, 40), "lightblue")):
        image = Image.new("RGB", (96, 96), "black")
        image.paste(colour, (*place, place[0] + 40, place[1] + 40))
        found.append(image)
    return found
