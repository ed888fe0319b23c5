"""Animated images that PyAV does not read: WebP and AVIF, by Pillow; and pages, which have no times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import UnidentifiedImageError

from m2ib.errors import InputError
from m2ib_adapters.bounds import FRAMES, check_pixels
from m2ib_adapters.inputs.image_files import check_pages, opened, reading_picture
from m2ib_adapters.inputs.images import open_image
from m2ib_adapters.inputs.media import InputFile

_MOVING, _PAGES = ("WEBP", "AVIF"), ("TIFF",)  # Pillow's names
_USUAL = 100  # milliseconds of a frame that says 0


@dataclass(frozen=True, eq=False)
class Animation:
    """An animated image.

    file        which it is in
    form        Pillow's name of its format
    lengths     (frames,) whole milliseconds that each is shown
    """

    file: InputFile
    form: str
    lengths: np.ndarray

    def pictures(self, numbers: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """The frames with these numbers (ascending, each once), as (number, (H, W, 3) uint8). Raises :class:`InputError`."""
        with reading_picture(self.file.name), opened(self.file.path) as image:
            for number in numbers:
                image.seek(number)
                yield number, np.asarray(open_image(image.convert("RGBA"))[0])


def open_animation(file: InputFile) -> Animation | None:
    """None of another file, and of a still image. Raises :class:`InputError` for pages, and for what is damaged."""
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
    lengths = []
    with reading_picture(name), opened(path) as image:
        check_pixels(name, *image.size)
        FRAMES.check(name, count * image.width * image.height)
        for number in range(count):
            image.seek(number)
            image.load()
            lengths.append(round(image.info.get("duration") or _USUAL))
    return Animation(file, form, np.array(lengths))
