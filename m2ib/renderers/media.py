"""Pixels, sound and curves in the form a page holds them: data URLs and SVG paths."""

from __future__ import annotations

import base64
import io
import wave
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

MOST_PIXELS = 2**24  # of a picture as it is shown


def data_url(content: bytes, kind: str) -> str:
    """``content`` of the media type ``kind`` as a URL."""
    return f"data:{kind};base64," + base64.b64encode(content).decode("ascii")


def jpeg_url(pixels: np.ndarray, quality: int = 88) -> str:
    """(height, width, 3) uint8: a photograph."""
    return data_url(picture(pixels, "JPEG", quality=quality), "image/jpeg")


def picture(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    """(height, width, 3) uint8 as the content of a file of this kind."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def png_url(pixels: np.ndarray) -> str:
    """(height, width, 3) uint8, kept as it is."""
    return data_url(picture(pixels, "PNG", optimize=True), "image/png")


def picture_pixels(content: bytes) -> np.ndarray:
    """(height, width, 3) uint8 out of a PNG or JPEG in RGB, whose size is looked at before it is unpacked.

    Raises ValueError for another kind of file and for more than :data:`MOST_PIXELS`; Pillow raises what it likes.
    """
    kinds = {b"\x89PNG\r\n\x1a\n": PngImageFile, b"\xff\xd8\xff": JpegImageFile}
    kind = next((kind for start, kind in kinds.items() if content.startswith(start)), None)
    if kind is None:
        raise ValueError("the picture is neither PNG nor JPEG")
    with kind(io.BytesIO(content)) as image:
        if not 0 < image.width * image.height <= MOST_PIXELS:
            raise ValueError(
                f"the picture has {image.width}x{image.height} pixels; {MOST_PIXELS:,} are the most"
            )
        if image.mode != "RGB":
            raise ValueError(f"the picture is {image.mode}, not RGB")
        return np.asarray(image)


def wav_url(waveform: np.ndarray, rate: int) -> str:
    """(samples,) in [-1, 1], one channel, as 16-bit PCM in a data URL; what is louder is clipped."""
    samples = np.round(np.clip(waveform.astype(np.float64), -1, 1) * 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return data_url(buffer.getvalue(), "audio/wav")


def hatch(height: int, width: int, pitch: int) -> np.ndarray:
    """(height, width, 3) uint8: grey stripes, for where there is nothing to see."""
    rows, columns = np.mgrid[:height, :width]
    stripes = (rows + columns) // max(1, pitch // 2) % 2
    return np.repeat(np.where(stripes, 150, 105).astype(np.uint8)[..., None], 3, -1)


def polyline_points(x: np.ndarray, y: np.ndarray, columns: int = 600) -> str:
    """A curve (n,) as the points of a polyline; of a long one the extremes in each of ``columns`` parts."""
    keep = np.flatnonzero(np.isfinite(y))
    if len(keep) > 2 * columns:
        parts = np.array_split(keep, columns)
        keep = np.unique([part[pick(y[part])] for part in parts for pick in (np.argmin, np.argmax)])
    return " ".join(f"{x[n]:.5g},{y[n]:.4g}" for n in keep)


def envelope_path(envelope: np.ndarray) -> str:
    """(2, columns), lowest and highest: a closed path, one unit wide for each column, 1 at the middle.

    The largest of the values reaches the edge, at 0 or 2.
    """
    low, high = envelope / (float(np.abs(envelope).max()) or 1.0)
    places = np.arange(envelope.shape[1]) + 0.5
    there = [f"{x:g},{1 - y:.3g}" for x, y in zip(places, np.maximum(high, low + 0.01), strict=True)]
    back = [f"{x:g},{1 - y:.3g}" for x, y in zip(places[::-1], low[::-1], strict=True)]
    return "M" + "L".join(there + back) + "Z"


def image_tag(source: str, alt: str, width: int, height: int) -> Markup:
    """An <img> of a data URL."""
    return Markup('<img alt="{}" src="{}" width="{}" height="{}">').format(alt, source, width, height)
