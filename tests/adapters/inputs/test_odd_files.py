"""Whatever Pillow raises over an odd file becomes one clear line."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import m2ib
from m2ib.errors import decoding
from m2ib_adapters.inputs.images import open_image
from m2ib_adapters.inputs.thermal import ThermalPreparation


def refused(path: Path) -> str:
    with pytest.raises(m2ib.InputError) as caught:
        open_image(path)
    message = str(caught.value)
    assert message.startswith(f"image {str(path)!r}")
    assert "\n" not in message
    return message.removeprefix(f"image {str(path)!r}").lstrip(": ")


def dds(code: bytes) -> bytes:
    """A DDS file of 4 x 4 pixels in the compression ``code``."""
    head = struct.pack("<4s7I44x", b"DDS ", 124, 0x1007, 4, 4, 16, 0, 0)
    return (
        head
        + struct.pack("<2I4s5I", 32, 4, code, 0, 0, 0, 0, 0)
        + struct.pack("<5I", 0x1000, 0, 0, 0, 0)
        + bytes(16)
    )


def test_a_way_that_pillow_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "x.dds").write_bytes(dds(b"ABCD"))
    with pytest.raises(NotImplementedError), Image.open(tmp_path / "x.dds"):
        pass
    said = refused(tmp_path / "x.dds")
    assert said.startswith("is written in a way that Pillow cannot read (")
    assert said.endswith("; save it as PNG")
    with pytest.raises(m2ib.InputError, match=r"^thermal .* is written in a way that Pillow cannot read"):
        ThermalPreparation().prepare(tmp_path / "x.dds")


@pytest.mark.parametrize(
    "error",
    [
        struct.error("unpack requires a buffer of 4 bytes"),
        KeyError(262),
        IndexError("list index out of range"),
        TypeError("Missing dimensions"),
        OverflowError("int too large"),
        AssertionError(),
        ZeroDivisionError("division by zero"),
    ],
)
def test_any_exception_is_one_line(error: Exception) -> None:
    with (
        pytest.raises(m2ib.InputError, match=r"^image 'x' is damaged and cannot be decoded: "),
        decoding("image 'x'"),
    ):
        raise error


class Panic(BaseException):
    """As extensions written in Rust raise it."""

    def __str__(self) -> str:
        raise RuntimeError


def test_what_is_no_exception_is_one_line() -> None:
    with (
        pytest.raises(
            m2ib.InputError,
            match=r"^image 'x' is damaged and cannot be decoded: Panic: \(its message cannot be shown\)$",
        ),
        decoding("image 'x'"),
    ):
        raise Panic
    with (
        pytest.raises(
            m2ib.InputError, match=r"^image 'x' needs more memory to be read than there is; make it smaller$"
        ),
        decoding("image 'x'"),
    ):
        raise MemoryError
    for error in (KeyboardInterrupt, SystemExit):
        with pytest.raises(error), decoding("image 'x'"):
            raise error


def test_long_texts_are_cut() -> None:
    with pytest.raises(m2ib.InputError) as caught, decoding("image 'x'"):
        raise ValueError("a\n" * 10**5)
    assert str(caught.value) == "image 'x' is damaged and cannot be decoded: " + ("a " * 148) + " ..."


def test_a_program_is_not_run(tmp_path: Path) -> None:
    """PostScript, which Pillow hands to Ghostscript."""
    path = tmp_path / "x.eps"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n")
    assert refused(path) == "is PostScript, which is a program and is not run; save it as PNG"
    with (
        Image.open(path) as image,
        pytest.raises(m2ib.InputError, match=r"^image is PostScript, which is a program"),
    ):
        open_image(image)


def test_our_own_are_left_as_they_are() -> None:
    for error in (m2ib.AdapterError("pydicom is missing"), m2ib.M2IBWarning("of two pages the first")):
        with pytest.raises(type(error)), decoding("image 'x'"):
            raise error


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A small file of each format that Pillow writes."""
    folder, files = tmp_path_factory.mktemp("whole"), {}
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8))
    for suffix in (
        "png",
        "tif",
        "gif",
        "bmp",
        "webp",
        "jpg",
        "jp2",
        "tga",
        "pcx",
        "ppm",
        "sgi",
        "ico",
        "dds",
        "qoi",
        "avif",
    ):
        path = folder / f"x.{suffix}"
        picture.save(path)
        files[suffix] = path.read_bytes()
    return files


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_of_every_format(whole: dict[str, bytes], tmp_path: Path, data: Any) -> None:
    """A few bytes of the head changed: read, or refused in one line."""
    suffix = data.draw(st.sampled_from(sorted(whole)))
    content = bytearray(whole[suffix])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, min(len(content), 200) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(content)
    with contextlib.suppress(m2ib.InputError):
        open_image(path)
