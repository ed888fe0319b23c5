"""How much of an input is safe to open: above it a small file can fill the memory."""

from __future__ import annotations

from m2ib.errors import InputError

MAX_PIXELS = 178_956_970  # 0.5 GiB of RGB


def check_pixels(name: str, width: int, height: int) -> None:
    """Raises :class:`InputError` for an image of more than :data:`MAX_PIXELS`."""
    if width * height > MAX_PIXELS:
        raise too_large(name, f"{width}x{height} pixels")


def too_large(name: str, size: str) -> InputError:
    """The error for an image of more than :data:`MAX_PIXELS`."""
    return InputError(
        f"{name} has {size}, more than the {MAX_PIXELS:,} that are safe to open; make it smaller"
    )
