"""Animated images that PyAV does not read: WebP and AVIF, by Pillow; and pages, which have no times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from m2ib.errors import InputError
from m2ib_adapters.inputs.images import open_image
from m2ib_adapters.inputs.media import called, check_pixels

_MOVING, _PAGES = ("WEBP", "AVIF"), ("TIFF",)  # Pillow's names
_USUAL = 100  # milliseconds of a frame that says 0


@dataclass(frozen=True, eq=False)
class Animation:
    """An animated image.

    path, name  the file, and how to call it in messages
    form        Pillow's name of its format
    lengths     (frames,) whole milliseconds that each is shown
    """

    path: Path
    name: str
    form: str
    lengths: np.ndarray

    def pictures(self, numbers: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """The frames with these numbers (ascending, each once), as (number, (H, W, 3) uint8). Raises :class:`InputError`."""
        with _opened(self.path, self.name) as image:
            for number in numbers:
                image.seek(number)
                yield number, np.asarray(open_image(image.convert("RGBA"))[0])


def open_animation(path: Path) -> Animation | None:
    """None of another file, and of a still image. Raises :class:`InputError` for pages, and for what is damaged."""
    name = called(path, "video")
    try:
        with Image.open(path, formats=(*_MOVING, *_PAGES)) as image:
            form, count = str(image.format), int(getattr(image, "n_frames", 1))
    except (UnidentifiedImageError, OSError):
        with path.open("rb") as file:
            if file.read(12)[8:] == b"WEBP":
                raise InputError(f"{name} is damaged and cannot be decoded") from None
        return None
    if count == 1:
        return None
    if form in _PAGES:
        raise InputError(
            f"{name} holds {count} pages, and not when they are shown; give (list of images, frames a second)"
        )
    lengths = []
    with _opened(path, name) as image:
        check_pixels(name, *image.size)
        for number in range(count):
            image.seek(number)
            image.load()
            lengths.append(round(image.info.get("duration") or _USUAL))
    return Animation(path, name, form, np.array(lengths))


@contextmanager
def _opened(path: Path, name: str) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except (OSError, EOFError, SyntaxError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} is damaged and cannot be decoded: {error}") from None
