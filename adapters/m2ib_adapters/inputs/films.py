"""Videos of which single frames are taken: files, arrays, lists of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from m2ib.errors import InputError
from m2ib_adapters.files import sha256
from m2ib_adapters.inputs.animations import open_animation
from m2ib_adapters.inputs.film_files import FilmFile
from m2ib_adapters.inputs.images import open_image
from m2ib_adapters.inputs.media import existing_file
from m2ib_adapters.inputs.options import positive_number

Pictures = Callable[[Sequence[int]], Iterator[tuple[int, np.ndarray]]]


@dataclass(frozen=True, eq=False)
class Film:
    """A video of which frames can be read.

    name      for messages: "video 'dog.mp4'", or "video"
    times     (frames,) float64: seconds from the first frame, ascending
    rate      frames a second, on average
    constant  whether frame n is at n / rate throughout
    duration  seconds, the last frame included
    pictures  the frames with these numbers (ascending, each once), as (number, (H, W, 3) uint8), upright
    origin    where it came from, JSON-able
    """

    name: str
    times: np.ndarray
    rate: float
    constant: bool
    duration: float
    pictures: Pictures
    origin: dict[str, Any]

    def between(self, start: Fraction, stop: Fraction) -> range:
        """Numbers of the frames at ``start`` <= time < ``stop``; where there is none, of the one shown then."""
        if self.constant:
            first, last = ceil(self.rate * start), min(ceil(self.rate * stop), len(self.times))
        else:
            first, last = (int(place) for place in np.searchsorted(self.times, [float(start), float(stop)]))
        if first >= last:
            first = max(0, int(np.searchsorted(self.times, float(start), "right")) - 1)
            last = first + 1
        return range(first, last)


def open_film(raw: Any) -> Film:
    """A path, (array, frames a second) or (list of images, frames a second) as a :class:`Film`.

    An array or tensor is (frames, H, W, 3) uint8. Raises :class:`InputError`; ``AdapterError`` where PyAV is
    missing.
    """
    if isinstance(raw, (str, PathLike)):
        return _from_file(existing_file(raw, "video"))
    if isinstance(raw, tuple) and len(raw) == 2 and isinstance(raw[0], (np.ndarray, Tensor, list)):
        rate = positive_number(raw[1], "video: the rate, in frames a second,")
        return _from_images(raw[0], rate) if isinstance(raw[0], list) else _from_array(raw[0], rate)
    given = f"({', '.join(type(part).__name__ for part in raw)})" if isinstance(raw, tuple) else None
    raise InputError(
        f"video: cannot use {given or 'a ' + type(raw).__name__}; give a path, or (frames, rate) with an array "
        "(frames, H, W, 3) uint8 or a list of images, and frames a second"
    )


def _even(count: int, rate: float, pictures: Pictures, source: str) -> Film:
    return Film("video", np.arange(count) / rate, rate, True, count / rate, pictures, {"source": source})


def _from_array(frames: np.ndarray | Tensor, rate: float) -> Film:
    array = frames.detach().cpu().numpy() if isinstance(frames, Tensor) else frames
    if array.ndim != 4 or array.shape[3] != 3 or array.dtype != np.uint8 or not array.size:
        raise InputError(
            f"video: an array has the shape (frames, H, W, 3) and the type uint8, not {tuple(array.shape)} "
            f"{array.dtype}"
        )
    return _even(len(array), rate, lambda numbers: ((n, array[n]) for n in numbers), "array")


def _from_images(images: list[Any], rate: float) -> Film:
    if not images:
        raise InputError("video: the list holds no images")
    for number, image in enumerate(images):
        if not isinstance(image, Image.Image):
            raise InputError(
                f"video: frame {number} of the list is a {type(image).__name__}, not a PIL image"
            )

    def pictures(numbers: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        return ((n, np.asarray(open_image(images[n])[0])) for n in numbers)

    return _even(len(images), rate, pictures, "images")


def _from_file(path: Path) -> Film:
    animation = open_animation(path)
    if animation is not None:
        ends = np.cumsum(animation.lengths) / 1000  # (frames,) seconds
        rate, constant = len(ends) / float(ends[-1]), bool(np.ptp(animation.lengths) == 0)
        times = np.arange(len(ends)) / rate if constant else ends - animation.lengths / 1000
        origin = {"source": str(path), "sha256": sha256(path), "format": animation.form}
        return Film(animation.name, times, rate, constant, float(ends[-1]), animation.pictures, origin)
    file = FilmFile.of(path)
    even = np.arange(len(file.times)) / file.rate
    off = np.abs(file.times - even).max()  # seconds; stamps are rounded, some to milliseconds
    constant = bool(off * file.rate < 0.5)
    duration = len(even) / file.rate if constant else float(file.times[-1]) + file.last
    times = even if constant else file.times
    origin = {"source": str(path), "sha256": sha256(path), "format": file.form}
    return Film(file.name, times, file.rate, constant, duration, file.pictures, origin)
