"""Films of X-CLIP and PE-V: some of their frames, each through the checkpoint's processor, all of them one input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from m2ib.contract.encoder import Encoder, read_first
from m2ib.contract.inputs import Inputs, Item
from m2ib.contract.layout import Axis
from m2ib.errors import InputError, decoding
from m2ib.renderers import FilmView
from m2ib_adapters.huggingface.images import Opened, features, preparation_of, rotary
from m2ib_adapters.inputs.films import Film, open_film
from m2ib_adapters.inputs.images import ImagePreparation, pixel_axes
from m2ib_adapters.inputs.media import counted_clips, rounded
from m2ib_adapters.inputs.tensors import tensor_of
from m2ib_adapters.inputs.video import smaller
from m2ib_adapters.towers.layers import block_layers
from m2ib_adapters.towers.patches import Patches, Region

MOST_FRAMES = 2**12  # a page has a picture of each


@dataclass(frozen=True)
class Frames:
    """How a film becomes frames.

    each     how one frame is made ready
    count    of frames, spread evenly from the first to the last; 0: it differs
    patches  that a frame is cut into, after a class token of each. None: a frame is one token, after a class token of all
    choose   the numbers of a film's frames that are taken, where their count differs
    """

    each: ImagePreparation
    count: int
    patches: Patches | None
    choose: Callable[[Film], Sequence[int]] = lambda film: range(len(film.times))

    def prepare(self, raw: Any, *, truncate: bool = False) -> Item:
        """A path or (frames, rate), see :func:`open_film`, as an :class:`Item` with (count, 3, rows, columns) float32.

        Grid: (count, rows, columns). Its axes: "clip", the seconds of each frame; "row" and "column", pixels of the film's own.
        Raises :class:`InputError`.
        """
        from PIL import Image

        film = open_film(raw)
        even = np.linspace(0, len(film.times) - 1, self.count).astype(int)
        numbers = even if self.count else np.asarray(self.choose(film))
        if len(numbers) > MOST_FRAMES:
            raise InputError(
                f"{film.name}: {len(numbers)} frames of it are taken, more than {MOST_FRAMES}; give fewer"
            )
        pictures = dict(film.pictures(sorted(set(numbers.tolist()))))
        if len({picture.shape for picture in pictures.values()}) > 1:
            raise InputError(f"{film.name}: its frames change their size; give frames of one size")
        made = {number: self.each.pixels(Image.fromarray(picture)) for number, picture in pictures.items()}
        _, region, said = made[numbers[0]]
        times = film.times[numbers]
        spans = tuple((float(time), float(time) + 1 / film.rate) for time in times)
        origin = film.origin | {
            "frames": len(film.times),
            "rate": rounded(film.rate),
            "seconds": rounded(film.duration),
            "chosen": numbers.tolist(),
            "input_size": list(self.each.size),
            **said,
        }
        frames = np.stack([pictures[number] for number in numbers])
        pixels = torch.stack([made[number][0] for number in numbers])
        return self._item(pixels, frames, times, region, Axis("clip", "s", spans), origin)

    def describe(self, given: Inputs) -> Item:
        """(count, 3, rows, columns) as an :class:`Item`, shown with mean and std undone. Raises :class:`InputError`."""
        pixels, (rows, columns) = tensor_of(given, "video"), self.each.size
        count = self.count or max(1, len(pixels))
        if pixels.shape != (count, 3, rows, columns) or not pixels.is_floating_point():
            raise InputError(
                f"video: a preprocessed tensor has the shape ({self.count or 'frames'}, 3, {rows}, {columns}) and a floating-point type, "
                f"not {tuple(pixels.shape)} {pixels.dtype}"
            )
        # (3, 1, 1)
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.each.mean, self.each.std))
        shown = ((pixels.float() * std + mean).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
        region = (0.0, 0.0, float(columns), float(rows))
        times = np.arange(count, dtype=np.float64)
        origin = {"source": "tensor", "input_size": [rows, columns]}
        return self._item(pixels, shown, times, region, counted_clips(count), origin)

    def _item(
        self,
        pixels: Tensor,
        frames: np.ndarray,
        times: np.ndarray,
        region: Region,
        moments: Axis,
        origin: dict[str, Any],
    ) -> Item:
        size, count = self.each.size, len(pixels)
        patches = self.patches or Patches(size, size)
        region = patches.covered(region, size)
        small = np.stack([smaller(frame) for frame in frames])
        down, across = small.shape[1] / frames.shape[1], small.shape[2] / frames.shape[2]
        seen = (region[0] * across, region[1] * down, region[2] * across, region[3] * down)
        view = FilmView(
            frames=small[:, None],
            times=times[:, None],
            parts=tuple((number, seen) for number in range(count)),
            size=size,
            read=patches.read(size),
        )
        rows, columns = patches.grid(size)
        layout = patches.layout(size, clips=count, axes=(moments, *pixel_axes((rows, columns), region)))
        if self.patches is None:
            layout = replace(layout, index=tuple(range(1, 1 + count)))
        return Item(pixels, layout, view, origin)


def films(opened: Opened) -> Encoder:
    """The encoder of films of an ``XCLIPModel``: its blocks see one frame, and a message of each of the others."""
    module = opened.module
    config = module.vision_model.config
    patches = Patches((config.patch_size,) * 2, (config.patch_size,) * 2)
    frames = Frames(preparation_of(opened, "vision_model"), config.num_frames, patches)

    def read(output: Any) -> Tensor:
        return read_first(output).unflatten(0, (-1, frames.count)).flatten(1, 2)  # (N, frames * T, C)

    def write(output: Any, value: Tensor) -> Any:
        return value.unflatten(1, (frames.count, -1)).flatten(0, 1)  # (N * frames, T, C)

    name = "vision_model.encoder.layers"
    return Encoder(
        modality="video",
        prepare=frames.prepare,
        describe=frames.describe,
        embed=lambda inputs: features(module, "video", pixel_values=inputs),
        layers=block_layers(module.get_submodule(name), name, read=read, write=write),
        stride=patches.stride,
        degradation=patches.fading(frames.each.size),
        examples=lambda: [_noise(12, 4.0, seed) for seed in (0, 1)],
    )


def whole_frames(opened: Opened) -> Encoder:
    """The encoder of films of a ``PeVideoModel``: a frame is one token, of what an image model says of it."""
    module, processor = opened.module, opened.processor

    def choose(film: Film) -> Sequence[int]:
        from transformers.video_utils import VideoMetadata

        told = VideoMetadata(len(film.times), film.rate)
        with decoding(film.name, "does not suit the checkpoint's video processor"):
            return processor.sample_frames(told, processor.num_frames, processor.fps)

    frames = Frames(preparation_of(opened, "video_encoder.embedder.vision_model"), 0, None)
    frames = replace(frames, choose=choose) if processor.do_sample_frames else frames
    return Encoder(
        modality="video",
        prepare=frames.prepare,
        describe=frames.describe,
        embed=lambda inputs: features(module, "video", pixel_values_videos=inputs.contiguous()),
        **rotary(module),
        examples=lambda: [_noise(count, processor.fps or 4.0, count) for count in (8, 6)],
    )


def _noise(count: int, rate: float, seed: int) -> tuple[np.ndarray, float]:
    return np.random.default_rng(seed).integers(0, 256, (count, 60, 80, 3), np.uint8), rate
