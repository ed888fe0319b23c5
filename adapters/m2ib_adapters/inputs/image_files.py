"""Pictures as files hold them: pages, bits, which value is white, and every way in which a file can be wrong."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from m2ib.errors import InputError, decoding, one_line
from m2ib.notices import warn
from m2ib_adapters.bounds import NUMBERS, PAGES, PIXELS, check_pixels
from m2ib_adapters.inputs.dicom import read_dicom
from m2ib_adapters.inputs.dicom_files import dicom_at
from m2ib_adapters.inputs.levels import Limits, Told
from m2ib_adapters.inputs.media import InputFile, ignoring
from m2ib_adapters.inputs.options import check_page, saying

_OTHER_BYTE = {"16B": "16L", "16L": "16B", "16N": "16B" if sys.byteorder == "little" else "16L"}
_QUARTER = 64  # of 256 levels; colours of 16 bits that stay below it may be of fewer
_ALL_BITS = 2**16 - 1
_PNG_MARK = 8  # bytes
_BITS, _PHOTOMETRIC, _WHITES = 258, 262, (281, 341)  # TIFF's tags; the last: MaxSampleValue, SMaxSampleValue
_PLANES, _KIND_OF_PAGE, _SMALLER_OR_MASK = 284, 254, 1 | 4
_FITS_CARD = 80  # bytes


@dataclass(frozen=True)
class Picture:
    """What a file, PIL image or array holds, before its values become grey levels.

    pixels  a PIL image; or an array (H, W) or (H, W, channels) of values that PIL cannot hold
    origin  for the provenance
    told    what the file says of its values
    """

    pixels: Image.Image | np.ndarray
    origin: dict[str, Any] = field(default_factory=dict)
    told: Told = field(default_factory=Told)


def read_file(
    file: InputFile, kind: str, page: int | None = None, limits: Limits = (None, None), full: bool = False
) -> Picture:
    """The picture in a file, or the page of it that is asked for.

    kind          "image", "depth", ... for the message of the :class:`InputError`
    limits, full  for a DICOM, see :func:`m2ib_adapters.inputs.dicom.read_dicom`
    """
    path, name = file.path, file.name
    with reading_picture(name):
        if dicom_at(path):
            return Picture(*read_dicom(file, kind, page, limits, full))
        try:
            content = opened(path)
        except UnidentifiedImageError:
            if not dicom_at(path, bare=True):
                raise
            return Picture(*read_dicom(file, kind, page, limits, full))
        with content as image:
            _check(image, name, kind)
            if image.format == "FITS" and _codec(image) == "raw":
                return _fits(path, image, name, kind, page)
            origin = _turned_to(image, name, kind, page)
            deep = _turn_bytes(image)
            pixels = _loaded(image)
            few = deep and max(most for _, most in image.getextrema()[:3]) < _QUARTER
            if deep and image.mode != "CMYK" and (few or limits != (None, None)):
                pixels = _both_bytes(path, image, origin.get("page", 0), name)
            return Picture(pixels, origin, _told(image, pixels, path))


def picture_of(image: Image.Image, name: str, kind: str, page: int | None) -> Picture:
    """A PIL image, at the page where it stands or at the one that is asked for."""
    with reading_picture(name):
        _check(image, name, kind)
        before = image.tell()
        if page is None and (before or getattr(image, "n_frames", 1) == 1):
            pixels = _loaded(image)
            return Picture(pixels, {}, _told(image, pixels))
        origin = _turned_to(image, name, kind, page)
        copy = image.copy()  # of this page
        told = _told(image, copy)
        if before != image.tell():
            image.seek(before)
        return Picture(copy, origin, told)


def page_of(array: np.ndarray, name: str, kind: str, page: int | None) -> tuple[np.ndarray, dict[str, Any]]:
    """Of an array with a page axis first, (pages, H, W) or (pages, H, W, channels), the page that is asked for."""
    if page is None:
        return array, {}
    one = array.ndim < 3 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    pages = 1 if one else len(array)
    check_page(page, pages, name, kind)
    return array if one else array[page], {"page": page, "pages": pages}


@contextmanager
def reading_picture(name: str) -> Iterator[None]:
    """:func:`m2ib.errors.decoding`, with a line of their own for what Pillow often says."""
    with decoding(name):
        try:
            yield
        except Image.DecompressionBombError as error:  # its message begins with the number of pixels
            PIXELS.check(name, int(next(iter(re.findall(r"\d+", str(error))), 0)))
            raise
        except UnidentifiedImageError:
            raise InputError(f"{name} is not in an image format that can be read") from None
        except NotImplementedError as error:
            what = one_line(error) if str(error) else "its kind of pixels"
            raise InputError(
                f"{name} is written in a way that Pillow cannot read ({what}); save it as PNG"
            ) from error


def _turned_to(image: Image.Image, name: str, kind: str, page: int | None) -> dict[str, Any]:
    """Turns to the page, {} where there is one alone. Warns where there are several and none was chosen."""
    pages = 1 if image.format == "PSD" else getattr(image, "n_frames", 1)  # PSD: layers of one picture
    if page is not None:
        check_page(page, pages, name, kind)
    if pages == 1:
        return {}
    if page is None and any(_is_another(image, number) for number in range(1, pages)):
        _warn_of_first(name, f"{pages} pages (or frames)", pages, kind)
    image.seek(page or 0)
    _check(image, name, kind)
    return {"page": page or 0, "pages": pages}


def _warn_of_first(name: str, held: str, pages: int, kind: str) -> None:
    way = saying(kind, "page", 0)
    warn(f"{name} holds {held}, and the first is read; choose one, 0 to {pages - 1}: {way}")


def _is_another(image: Image.Image, number: int) -> bool:
    """Whether a page is a picture of its own, not the first made smaller, as in TIFF's pyramids and in MPO."""
    if image.format not in ("MPO", "TIFF"):
        return True
    image.seek(0)
    first = image.size
    image.seek(number)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return not image.tag_v2.get(_KIND_OF_PAGE, 0) & _SMALLER_OR_MASK
    return image.size == first


def opened(path: Path, formats: tuple[str, ...] | None = None) -> Any:
    """A file as Pillow opens it, in one of these formats."""
    with ignoring(Image.DecompressionBombWarning):  # one thread at a time; our own bound follows
        before, wanted = Image.MAX_IMAGE_PIXELS, PIXELS.limit // 2  # Pillow opens twice as many
        if before is not None and wanted > before:
            Image.MAX_IMAGE_PIXELS = wanted
        try:
            return Image.open(path, formats=formats)
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _check(image: Image.Image, name: str, kind: str) -> None:
    """Of what is open and not yet decoded. Raises :class:`InputError`."""
    if image.format == "EPS":  # Pillow hands it to Ghostscript
        raise InputError(f"{name} is PostScript, which is a program and is not run; save it as PNG")
    check_pixels(name, image.width, image.height, PIXELS if kind == "image" else NUMBERS)
    check_pages(image, name)


def check_pages(image: Any, name: str) -> None:
    """Of a TIFF, before Pillow counts them, each by going through all before it. Raises :class:`InputError`.

    A page is the number of its entries, 12 bytes for each, and the place of the next page; in BigTIFF 20, and all in 8 bytes.
    """
    if image.format != "TIFF" or image.fp is None:
        return
    file, before = image.fp, image.fp.tell()
    file.seek(0)
    head = file.read(16)
    order: Any = "little" if head[:2] == b"II" else "big"
    big = int.from_bytes(head[2:4], order) == 43
    few, long, entry = (8, 8, 20) if big else (2, 4, 12)
    place, seen = int.from_bytes(head[8:] if big else head[4:8], order), set[int]()
    while place and place not in seen:
        seen.add(place)
        PAGES.check(name, len(seen), f"more than {PAGES.limit:,} pages")
        file.seek(place)
        file.seek(entry * int.from_bytes(file.read(few), order), 1)
        place = int.from_bytes(file.read(long), order)
    file.seek(before)


def _loaded(image: Any) -> Image.Image | np.ndarray:
    """Of a PGM the values as they are stored, (H, W) uint16; Pillow spreads them over 16 bits."""
    if image.format == "PPM" and image.mode == "I" and _codec(image).startswith("ppm"):
        image.info["maxval"] = image.tile[0].args[-1]
    image.load()
    if not image.info.get("maxval"):
        return image
    return np.round(np.asarray(image) * (image.info["maxval"] / _ALL_BITS)).astype(np.uint16)


def _told(image: Image.Image, pixels: Image.Image | np.ndarray, path: Path | None = None) -> Told:
    """What a file says of its values where they have more than 8 bits; what any 16 bits may be is nothing."""
    values = np.asarray(pixels)
    if values.dtype == np.uint8:
        return Told()
    tags = getattr(image, "tag_v2", None)
    if tags is not None:
        inverted = values.ndim == 2 and tags.get(_PHOTOMETRIC) == 0  # Pillow inverts those of 8 bits itself
        bits = _number(tags.get(_BITS, 8))
        most = next((_number(tags[tag]) for tag in _WHITES if tag in tags), 0)
        if 8 < bits < 16:
            return Told(2**bits - 1, f"BitsPerSample {bits:g}", inverted)
        if 0 < most < _ALL_BITS and image.mode != "F":
            return Told(most, "MaxSampleValue", inverted)
        return Told(inverted=inverted)
    if image.format == "PNG" and path is not None and (bits := _significant_bits(path)) < 16:
        if values.max() < 2**bits and (values % 2 ** (16 - bits)).any():
            return Told(2**bits - 1, f"sBIT {bits}")
        return Told(_ALL_BITS, f"sBIT {bits}, spread over 16 bits")
    if image.format == "JPEG2000" and not (values % 2).any():  # Pillow spreads those of fewer bits
        return Told(_ALL_BITS, "JPEG 2000, spread over 16 bits")
    most = image.info.get("maxval") or _ALL_BITS
    return Told(most, "maxval") if most < _ALL_BITS else Told()


def _number(value: Any) -> float:
    """Of one number or several, the greatest."""
    return float(max(value) if isinstance(value, tuple) else value)


def _significant_bits(path: Path) -> int:
    """PNG's sBIT of the first channel; 16 where it has none."""
    with path.open("rb") as file:
        file.seek(_PNG_MARK)
        while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
            content = file.read(1) if head[4:] == b"sBIT" else b""
            if content and content[0] > 8:
                return content[0]
            file.seek(int.from_bytes(head[:4], "big") - len(content) + 4, 1)  # and the check sum
    return 16


def _codec(image: Any) -> str:
    """Pillow's name of what decodes a file that is open."""
    return str(image.tile[0].codec_name) if image.tile else ""


def _turn_bytes(image: Any, *, lower: bool = False) -> bool:
    """Whether colours have 16 bits, of which Pillow keeps 8: the upper ones; or, by the other byte order, the lower."""
    tags = getattr(image, "tag_v2", None)
    if image.mode not in ("RGB", "RGBA", "CMYK") or not image.tile:
        return False
    tiles = []
    for tile in image.tile:
        rawmode, *more = (*tile.args, None) if isinstance(tile.args, tuple) else (tile.args,)
        if not isinstance(rawmode, str):
            return False
        if len(rawmode) == 1 and tags is not None and set(tags.get(_BITS, ())) == {16}:
            # planes, which Pillow takes for planes of 8 bits
            rawmode += ";16L" if tags.prefix == b"II" else ";16B"
        if rawmode[-3:] not in _OTHER_BYTE:
            return False
        if lower:
            rawmode = rawmode[:-3] + _OTHER_BYTE[rawmode[-3:]]
        tiles.append(tile._replace(args=(rawmode, *more[:-1]) if isinstance(tile.args, tuple) else rawmode))
    image.tile = tiles
    return True


def _both_bytes(path: Path, upper: Image.Image, page: int, name: str) -> np.ndarray:
    """(H, W, channels) uint16 of a file whose upper bytes were read."""
    with opened(path) as image:
        image.seek(page)
        planes = getattr(image, "tag_v2", {}).get(_PLANES) == 2 and _codec(image) == "libtiff"
        _turn_bytes(image, lower=True)
        try:
            if planes:
                raise ValueError("libtiff decodes planes in its own byte order")
            image.load()
        except ValueError:  # nor does Pillow know the other byte order of grey with transparency
            raise InputError(
                f"{name}: of its 16 bits the upper 8 alone can be read, and most of what it holds lies below them; save "
                "it in the usual way, channels side by side and without transparency, or give an array"
            ) from None
        return (np.asarray(upper, np.uint16) << 8) | np.asarray(image, np.uint16)


def _fits(path: Path, image: Any, name: str, kind: str, page: int | None) -> Picture:
    """A plane of a FITS file; BZERO and BSCALE are applied, which Pillow passes over."""
    offset = image.tile[0].offset
    with path.open("rb") as file:
        head = file.read(offset)
    cards = {}
    for start in range(0, len(head), _FITS_CARD):
        card = head[start : start + _FITS_CARD].decode("latin-1")
        cards[card[:8].strip()] = card[10:].split("/")[0].strip().replace("D", "E")
    bits, axes = int(cards["BITPIX"]), int(cards["NAXIS"])
    pages = math.prod(int(cards[f"NAXIS{axis}"]) for axis in range(3, axes + 1))
    check_page(page or 0, pages, name, kind)
    if pages > 1 and page is None:
        _warn_of_first(name, f"{pages} planes", pages, kind)
    dtype = np.dtype("u1" if bits == 8 else f">{'f' if bits < 0 else 'i'}{abs(bits) // 8}")
    start = offset + (page or 0) * image.width * image.height * dtype.itemsize
    stored = np.fromfile(path, dtype, image.width * image.height, offset=start)
    values = stored.reshape(image.height, image.width)[::-1].astype(dtype.newbyteorder("="))
    zero, scale = (float(cards.get(key) or usual) for key, usual in (("BZERO", 0), ("BSCALE", 1)))
    if zero and scale == 1 and zero == round(zero) and bits > 0:
        values = values.astype(np.int64) + round(zero)
    elif zero or scale != 1:
        values = values.astype(np.float64) * scale + zero
    return Picture(values, {"page": page or 0, "pages": pages} if pages > 1 else {})
