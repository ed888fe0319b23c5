"""Raw video -> clips of two frames -> crops, as ImageBind's official loader makes them, and what lies where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from m2ib.contract.inputs import Item
from m2ib.contract.layout import Axis
from m2ib.errors import InputError, SettingError
from m2ib.notices import warn
from m2ib.renderers import FilmView
from m2ib_adapters.inputs.films import Film, open_film
from m2ib_adapters.inputs.images import OPENAI_MEAN, OPENAI_STD, Region, pixel_axes
from m2ib_adapters.inputs.media import clip_starts, counted_clips, rounded
from m2ib_adapters.inputs.options import WithOptions, check_count, check_positive, saying
from m2ib_adapters.towers.patches import Patches

_PATCHES = Patches((14, 14), (14, 14))
_SHOWN = 320  # pixels of a shown frame's long side
_LONGEST = 2**16  # pixels of a resized frame's long side

Place = tuple[int, int]


@dataclass(frozen=True)
class VideoPreparation(WithOptions):
    """How a model wants its videos: a few clips, each a few frames, each cut into square crops.

    clips      how many, spread evenly; all at the beginning where the video is shorter than one
    seconds    of one clip
    frames     of a clip, spread evenly from its first frame to its last
    crops      3: left, centre, right of each frame (top, centre, bottom of a tall one); 1: the centre, faster
    size       of a crop; frames are resized so that the short side has it
    mean, std  by channel, of pixels in [0, 1]
    patches    the windows over (rows, columns) that become tokens
    """

    clips: int = 5
    seconds: float = 2.0
    frames: int = 2
    crops: int = 3
    size: int = 224
    mean: tuple[float, ...] = OPENAI_MEAN
    std: tuple[float, ...] = OPENAI_STD
    patches: Patches = _PATCHES

    MODALITY: ClassVar[str] = "video"
    OPTIONS: ClassVar[tuple[str, ...]] = ("clips", "seconds", "crops")

    def __post_init__(self) -> None:
        check_count(self.clips, "clips", "video")
        check_positive(self.seconds, "seconds", "video")
        if self.crops not in (1, 3):
            raise SettingError(f"video: crops is 1 or 3, not {self.crops!r}")

    def prepare(self, raw: Any) -> Item:
        """A path or (frames, rate) as an :class:`Item` with (clips * crops, 3, frames, size, size) float32.

        The crops of the first clip come first. See :func:`open_film` for what can be given. Frames are found by
        their number where the rate is constant, and by their times where it is not; turned as the file says; and
        resized bilinearly, without smoothing, as the official loader does it.

        Grid: (clips * crops, rows, columns) in patches. Its axes: "clip", seconds of the video; "row" and
        "column", pixels: of the video's own frames for one crop, of the crop for three, each of which shows
        another region (the view's ``parts`` say which).

        Raises :class:`InputError`; warns of damaged frames, and of clips that all show the same frames.
        """
        film = open_film(raw)
        starts = clip_starts(film.duration, self.seconds, self.clips)
        chosen = [self._choose(film.between(start, start + Fraction(self.seconds))) for start in starts]
        self._warn_of_alike(film, chosen)
        pixels: dict[int, Tensor] = {}
        shown: dict[int, np.ndarray] = {}
        whole: Place | None = None
        for number, picture in film.pictures(sorted({number for clip in chosen for number in clip})):
            if picture.shape[:2] != (whole := whole or picture.shape[:2]):
                raise InputError(
                    f"{film.name}: its frames change from {whole[1]}x{whole[0]} to "
                    f"{picture.shape[1]}x{picture.shape[0]} pixels; give frames of one size"
                )
            pixels[number], shown[number] = self._resized(picture, film.name), smaller(picture)
        assert whole is not None
        resized = (pixels[chosen[0][0]].shape[1], pixels[chosen[0][0]].shape[2])
        clips = torch.stack([torch.stack([pixels[number] for number in clip], 1) for clip in chosen])
        mean, std = (torch.tensor(values)[:, None, None, None] for values in (self.mean, self.std))
        clips = (clips - mean) / std  # (clips, 3, frames, H, W)
        corners = self._corners(resized)
        # crops x (clips, 3, frames, size, size)
        cropped = [clips[..., top : top + self.size, left : left + self.size] for top, left in corners]
        inputs = torch.stack(cropped, 1).flatten(0, 1)  # (clips * crops, 3, frames, size, size)
        moments = [(float(start), min(float(start) + self.seconds, film.duration)) for start in starts]
        spans = tuple(span for span in moments for _ in corners)
        frames = np.stack([np.stack([shown[number] for number in clip]) for clip in chosen])
        times = np.array([[float(film.times[number]) for number in clip] for clip in chosen])
        size = (self.size, self.size)
        regions = [self._region(at, resized, (frames.shape[2], frames.shape[3])) for at in corners]
        regions = [self.patches.covered(region, size) for region in regions]
        parts = tuple((clip, region) for clip in range(len(chosen)) for region in regions)
        read = self.patches.read(size)
        view = FilmView(frames=frames, times=times, parts=parts, size=size, read=read)
        region: Region = (0, 0, self.size, self.size)
        if len(corners) == 1:
            region = self._region(corners[0], resized, whole)
        origin = film.origin | {
            "frames": len(film.times),
            "rate": rounded(film.rate),
            "seconds": rounded(film.duration),
            "size": [whole[1], whole[0]],
            "clips": [[rounded(moment) for moment in span] for span in moments],
            "chosen": [list(clip) for clip in chosen],
            "crops": self.crops,
            "input_size": [self.size, self.size],
            "mean": list(self.mean),
            "std": list(self.std),
            "interpolation": "bilinear",
        }
        places: Sequence[Axis] = pixel_axes(self.patches.grid(size), self.patches.covered(region, size))
        if len(corners) > 1:  # each shows another region
            places = [replace(axis, unit="px of the crop") for axis in places]
        axes = (Axis("clip", "s", spans), *places)
        layout = self.patches.layout(size, clips=len(inputs), axes=axes)
        return Item(inputs, layout, view, origin)

    def describe(self, inputs: Tensor) -> Item:
        """A preprocessed tensor as an :class:`Item`: (3, frames, H, W), or (clips, 3, frames, H, W).

        The first becomes one clip and has the grid (rows, columns), the second (clips, rows, columns), in
        patches; H and W are multiples of a patch. Where the clips lie in a video is not known: the axis "clip"
        counts them, and they are shown one after another. Raises :class:`InputError`.
        """
        rows, columns = inputs.shape[-2:] if inputs.ndim in (4, 5) else (0, 0)
        high, wide = self.patches.kernel
        fits = rows >= high and columns >= wide and rows % high == 0 and columns % wide == 0
        if not fits or inputs.shape[-4:-2] != (3, self.frames) or not len(inputs):
            raise InputError(
                f"video: a preprocessed tensor has the shape (3, {self.frames}, H, W) or (clips, 3, {self.frames}, "
                f"H, W), with H a multiple of {high} and W of {wide}, not {tuple(inputs.shape)}"
            )
        if not inputs.is_floating_point():
            raise InputError(f"video: a preprocessed tensor has a floating-point type, not {inputs.dtype}")
        several = inputs.ndim == 5
        clips = inputs if several else inputs[None]  # (clips, 3, frames, H, W)
        mean, std = (torch.tensor(values)[:, None, None, None] for values in (self.mean, self.std))
        pictures = ((clips.detach().cpu().float() * std + mean).clamp(0, 1) * 255).round().byte()
        small = [[smaller(frame) for frame in clip] for clip in pictures.permute(0, 2, 3, 4, 1).numpy()]
        frames = np.array(small)  # (clips, frames, h, w, 3)
        count = len(clips)
        times = (np.arange(count)[:, None] + np.arange(self.frames) / self.frames) * self.seconds
        region = (0.0, 0.0, float(frames.shape[3]), float(frames.shape[2]))
        parts = tuple((clip, region) for clip in range(count))
        view = FilmView(frames=frames, times=times, parts=parts, size=(rows, columns))
        counted = (counted_clips(count),) if several else ()
        axes = (*counted, *pixel_axes(self.patches.grid((rows, columns)), (0, 0, columns, rows)))
        layout = self.patches.layout((rows, columns), clips=count if several else None, axes=axes)
        return Item(clips, layout, view, {"source": "tensor", "shape": list(inputs.shape)})

    def _choose(self, numbers: range) -> list[int]:
        """As many of a clip's frames as the model takes, from the first to the last, rounded down."""
        places = torch.linspace(0, len(numbers) - 1, self.frames).long()
        return [numbers[int(place)] for place in places]

    def _warn_of_alike(self, film: Film, chosen: list[list[int]]) -> None:
        if len(film.times) == 1:
            warn(f"{film.name} holds one frame: all that the model sees is this frame, and nothing moves")
        elif len(chosen) > 1 and all(clip == chosen[0] for clip in chosen):
            warn(
                f"{film.name}: all {len(chosen)} clips show the same frames, for the whole lasts {film.duration:.3g} s "
                f"and a clip {self.seconds:g} s; one is enough, say {saying('video', 'clips', 1)}"
            )

    def _resized(self, picture: np.ndarray, name: str) -> Tensor:
        """(H, W, 3) uint8 -> (3, h, w) in [0, 1], the short side as the input's, the long one rounded down."""
        rows, columns = picture.shape[:2]
        if columns < rows:
            size = (int(rows / columns * self.size), self.size)
        else:
            size = (self.size, int(columns / rows * self.size))
        if max(size) > _LONGEST:
            raise InputError(
                f"{name}: its frames of {columns}x{rows} pixels are too narrow; crop or pad them"
            )
        pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1).float() / 255  # (3, H, W)
        return interpolate(pixels[None], size=size, mode="bilinear", align_corners=False)[0]

    def _corners(self, resized: Place) -> list[Place]:
        """(top, left) of each crop in a resized frame."""
        room = (resized[0] - self.size, resized[1] - self.size)
        centre = (ceil(room[0] / 2), ceil(room[1] / 2))
        if self.crops == 1:
            return [centre]
        if resized[0] > resized[1]:
            return [(0, centre[1]), centre, (room[0], centre[1])]
        return [(centre[0], 0), centre, (centre[0], room[1])]

    def _region(self, corner: Place, resized: Place, frame: Place) -> Region:
        """(left, top, right, bottom) of a crop, in pixels of a frame (rows, columns)."""
        (top, left), (down, across) = corner, (frame[0] / resized[0], frame[1] / resized[1])
        return (left * across, top * down, (left + self.size) * across, (top + self.size) * down)


def smaller(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8, made smaller where its long side is above what is shown."""
    rows, columns = picture.shape[:2]
    ratio = min(1.0, _SHOWN / max(rows, columns))
    size = (max(1, round(columns * ratio)), max(1, round(rows * ratio)))
    image = Image.fromarray(np.ascontiguousarray(picture))
    return np.asarray(image if size == image.size else image.resize(size, Image.Resampling.BOX))
