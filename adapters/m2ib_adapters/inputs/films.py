"""Videos of which single frames are taken: files, animated images, arrays, lists of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from m2ib.errors import InputError
from m2ib_adapters.bounds import FRAMES, check_pixels
from m2ib_adapters.inputs.film_files import FilmFile
from m2ib_adapters.inputs.image_files import check_pages, opened, reading_picture
from m2ib_adapters.inputs.images import open_image
from m2ib_adapters.inputs.media import InputFile, input_file
from m2ib_adapters.inputs.options import positive_number

Pictures = Callable[[Sequence[int]], Iterator[tuple[int, np.ndarray]]]

_MOVING, _PAGES = ("WEBP", "AVIF"), ("TIFF",)  # Pillow's names
_USUAL = 100  # milliseconds of a frame that says 0


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
    """A path, bytes, an open file, (array, frames a second) or (list of images, frames a second) as a :class:`Film`.

    An array or tensor is (frames, H, W, 3) uint8. Raises :class:`InputError`; ``AdapterError`` where PyAV is
    missing.
    """
    file = input_file(raw, "video")
    if file is not None:
        return _from_file(file)
    if isinstance(raw, tuple) and len(raw) == 2 and isinstance(raw[0], (np.ndarray, Tensor, list)):
        rate = positive_number(raw[1], "video: the rate, in frames a second,")
        return _from_images(raw[0], rate) if isinstance(raw[0], list) else _from_array(raw[0], rate)
    given = f"({', '.join(type(part).__name__ for part in raw)})" if isinstance(raw, tuple) else None
    raise InputError(
        f"video: cannot use {given or 'a ' + type(raw).__name__}; give a path, bytes, or (frames, rate) with an array "
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


def _from_file(given: InputFile) -> Film:
    if (animation := _from_animation(given)) is not None:
        return animation
    file = FilmFile(given)
    even = np.arange(len(file.times)) / file.rate
    off = np.abs(file.times - even).max()  # seconds; stamps are rounded, some to milliseconds
    constant = bool(off * file.rate < 0.5)
    duration = len(even) / file.rate if constant else float(file.times[-1]) + file.last
    times = even if constant else file.times
    origin = given.origin | {"format": file.form}
    return Film(given.name, times, file.rate, constant, duration, file.pictures, origin)


def _from_animation(file: InputFile) -> Film | None:
    """Of an animated image that PyAV does not read, by Pillow; None of another file, and of a still image.

    Raises :class:`InputError` for pages, which have no times, and for what is damaged.
    """
    path, name = file.path, file.name
    with reading_picture(name):
        try:
            with opened(path, (*_MOVING, *_PAGES)) as image:
                check_pages(image, name)
                form, count = str(image.format), int(getattr(image, "n_frames", 1))
        except (UnidentifiedImageError, OSError):
            with path.open("rb") as content:
                if content.read(12)[8:] == b"WEBP":
                    raise InputError(f"{name} is damaged and cannot be decoded") from None
            return None
    if count == 1:
        return None
    if form in _PAGES:
        raise InputError(
            f"{name} holds {count} pages, and not when they are shown; give (list of images, frames a second)"
        )
    lengths = np.zeros(count)  # milliseconds that each frame is shown
    with reading_picture(name), opened(path) as image:
        check_pixels(name, *image.size)
        FRAMES.check(name, count * image.width * image.height)
        for number in range(count):
            image.seek(number)
            image.load()
            lengths[number] = round(image.info.get("duration") or _USUAL)

    def pictures(numbers: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        with reading_picture(name), opened(file.path) as image:
            for number in numbers:
                image.seek(number)
                yield number, np.asarray(open_image(image.convert("RGBA"))[0])

    ends = np.cumsum(lengths) / 1000  # (frames,) seconds
    rate, constant = count / float(ends[-1]), bool(np.ptp(lengths) == 0)
    times = np.arange(count) / rate if constant else ends - lengths / 1000
    return Film(name, times, rate, constant, float(ends[-1]), pictures, file.origin | {"format": form})
