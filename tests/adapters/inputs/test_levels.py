"""Which values of deep pictures are black and white: by the file, else by the data, else as the user says."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

import m2ib
from m2ib.errors import InputError, M2IBWarning, SettingError
from m2ib_adapters.inputs.depth import DepthPreparation
from m2ib_adapters.inputs.images import ImagePreparation, open_image
from m2ib_adapters.inputs.thermal import ThermalPreparation

ROWS, COLUMNS = 40, 50
QUIET = pytest.mark.filterwarnings("ignore:image.*whole numbers end at")


def ramp(top: int, dtype: Any = np.uint16) -> np.ndarray:
    """(40, 50) from 0 to ``top``."""
    return np.round(np.linspace(0, top, ROWS * COLUMNS)).reshape(ROWS, COLUMNS).astype(dtype)


def levels(raw: Any, **options: Any) -> np.ndarray:
    """(H, W), after a look at all three channels."""
    picture = np.asarray(open_image(raw, **options)[0])
    assert (picture == picture[..., :1]).all()
    return picture[..., 0]


def of(values: np.ndarray, white: float, black: float = 0) -> np.ndarray:
    return np.round((values.astype(float) - black) / (white - black) * 255).clip(0, 255).astype(np.uint8)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(values: np.ndarray, *chunks: bytes) -> bytes:
    """A PNG of 16 bits with any number of channels, (H, W) or (H, W, C), which Pillow cannot write."""
    rows, columns, *channels = values.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels[0] if channels else 1]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 16, kind, 0, 0, 0))
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    parts = (head, *chunks, chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_all_of_16_bits_are_as_they_were() -> None:
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert np.array_equal(levels(every), np.round(every / 257))
    assert open_image(every)[1]["levels"] == {
        "black": 0.0,
        "white": 65535.0,
        "by": "16 bits",
        "assumed": False,
    }


@pytest.mark.parametrize(("top", "bits"), [(200, 8), (1023, 10), (1024, 12), (4095, 12), (16383, 14)])
def test_fewer_bits_are_told_from_the_data_and_said(tmp_path: Path, top: int, bits: int) -> None:
    values = ramp(top)
    Image.fromarray(values).save(tmp_path / "x.png")
    tifffile.imwrite(tmp_path / "little.tif", values)
    tifffile.imwrite(tmp_path / "big.tif", values, byteorder=">")
    tifffile.imwrite(tmp_path / "signed.tif", values.astype(np.int16))
    tifffile.imwrite(tmp_path / "wide.tif", values.astype(np.int32))
    raws: list[Any] = [
        tmp_path / name for name in ("x.png", "little.tif", "big.tif", "signed.tif", "wide.tif")
    ]
    raws += [values, values.astype(">u2"), values.astype(np.int16), Image.fromarray(values)]
    raws += [np.stack([values] * 3, -1), values[..., None], Image.fromarray(values.astype(np.int32))]
    for raw in raws:
        with pytest.warns(
            M2IBWarning, match=rf"whole numbers end at {top}, so they are read as {bits} bits.* maximum=65535"
        ):
            picture = levels(raw)
        assert np.array_equal(picture, of(values, 2**bits - 1))
        with pytest.warns(M2IBWarning):
            said = open_image(raw)[1]["levels"]
        assert (said["white"], said["assumed"]) == (2**bits - 1, True)
        assert np.array_equal(levels(raw, maximum=65535), of(values, 65535))
        assert np.array_equal(levels(raw, minimum=50, maximum=150), of(values, 150, 50))


def test_colours_of_files_keep_all_their_bits(tmp_path: Path) -> None:
    """Pillow gives the upper byte of each, 16 levels of 12 bits."""
    colours = np.random.default_rng(0).integers(0, 4096, (ROWS, COLUMNS, 3)).astype(np.uint16)
    colours[0, 0] = 4095
    (tmp_path / "x.png").write_bytes(png(colours))
    for name, ways in {
        "little.tif": {},
        "big.tif": {"byteorder": ">"},
        "zip.tif": {"compression": "deflate"},
        "planes.tif": {"planarconfig": "separate"},
        "big_planes.tif": {"planarconfig": "separate", "byteorder": ">"},
    }.items():
        planes = "planarconfig" in ways
        tifffile.imwrite(
            tmp_path / name, colours.transpose(2, 0, 1) if planes else colours, photometric="rgb", **ways
        )  # type: ignore[arg-type]
    for path in tmp_path.iterdir():
        with pytest.warns(M2IBWarning, match="whole numbers end at 4095, so they are read as 12 bits"):
            assert np.array_equal(np.asarray(open_image(path)[0]), of(colours, 4095)), path.name


def test_planes_of_16_bits_are_not_taken_for_8(tmp_path: Path) -> None:
    """Pillow reads uncompressed ones byte by byte."""
    colours = np.random.default_rng(0).integers(0, 65536, (3, ROWS, COLUMNS)).astype(np.uint16)
    for order in "<>":
        tifffile.imwrite(
            tmp_path / "x.tif", colours, photometric="rgb", planarconfig="separate", byteorder=order
        )
        assert np.array_equal(np.asarray(open_image(tmp_path / "x.tif")[0]), colours.transpose(1, 2, 0) >> 8)


def test_bits_that_cannot_be_had_are_refused(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 4096, (ROWS, COLUMNS, 3)).astype(np.uint16)
    (tmp_path / "la.png").write_bytes(png(colours[..., :2]))
    planes = colours.transpose(2, 0, 1)
    tifffile.imwrite(
        tmp_path / "x.tif", planes, photometric="rgb", planarconfig="separate", compression="deflate"
    )
    for name in ("la.png", "x.tif"):
        with pytest.raises(InputError, match="of its 16 bits the upper 8 alone can be read"):
            open_image(tmp_path / name)


@pytest.mark.parametrize("top", [4095, 900])
def test_the_file_tells(tmp_path: Path, top: int) -> None:
    """No warning: its own bits, its greatest value, PNG's significant bits."""
    values = ramp(top)
    tifffile.imwrite(tmp_path / "most.tif", values, extratags=[(281, "H", 1, 4095, True)])
    (tmp_path / "sbit.png").write_bytes(png(values, chunk(b"sBIT", b"\x0c")))
    for name, by in {"most.tif": "MaxSampleValue", "sbit.png": "sBIT 12"}.items():
        assert np.array_equal(levels(tmp_path / name), of(values, 4095))
        assert open_image(tmp_path / name)[1]["levels"]["by"] == by
    (tmp_path / "spread.png").write_bytes(png(values << 4, chunk(b"sBIT", b"\x0c")))  # as PNG's rule is
    assert np.array_equal(levels(tmp_path / "spread.png"), of(values << 4, 65535))


def test_pgm_is_as_it_is_stored(tmp_path: Path) -> None:
    """Pillow spreads it over 16 bits, so that distances would be others too."""
    stored = ramp(3000)
    (tmp_path / "x.pgm").write_bytes(b"P5 50 40 4095\n" + stored.astype(">u2").tobytes())
    with Image.open(tmp_path / "x.pgm") as image:
        assert np.array_equal(levels(image), of(stored, 4095))
    assert np.array_equal(levels(tmp_path / "x.pgm"), of(stored, 4095))
    assert open_image(tmp_path / "x.pgm")[1]["levels"]["by"] == "maxval"
    depth = DepthPreparation(size=(32, 32)).prepare({"depth": tmp_path / "x.pgm", "unit": "mm"})
    np.testing.assert_allclose(depth.view.values[1:], stored[1:] / 1000, rtol=1e-6)


def test_jpeg_2000_of_12_bits_is_spread(tmp_path: Path) -> None:
    Image.fromarray(ramp(900) << 4).save(tmp_path / "x.jp2")
    assert np.array_equal(levels(tmp_path / "x.jp2"), of(ramp(900), 4096 - 1 / 16))


@QUIET
@pytest.mark.parametrize("white", [900, 65535])
def test_a_file_that_tells_less_than_it_holds_is_not_believed(tmp_path: Path, white: int) -> None:
    """Nor one that tells what all of 16 bits have."""
    tifffile.imwrite(tmp_path / "x.tif", ramp(4095), extratags=[(281, "H", 1, white, True)])
    assert np.array_equal(levels(tmp_path / "x.tif"), of(ramp(4095), 4095))


def twelve_bits(values: np.ndarray, **tags: int) -> bytes:
    """A TIFF of 12 bits a sample, two in three bytes."""
    flat = values.reshape(-1, 2).astype(np.uint32)
    packed = np.stack([flat[:, 0] >> 4, (flat[:, 0] & 15) << 4 | flat[:, 1] >> 8, flat[:, 1] & 255], -1)
    rows, columns = values.shape
    entries = [(256, columns), (257, rows), (258, 12), (259, 1), (262, 1), (273, 134), (277, 1), (278, rows)]
    entries += [(279, packed.size)]
    content = packed.astype(np.uint8).tobytes()
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    head += b"".join(
        struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in entries
    )
    return (head + bytes(4)).ljust(134, b"\0") + content


def test_twelve_bits_are_twelve_bits(tmp_path: Path) -> None:
    (tmp_path / "x.tif").write_bytes(twelve_bits(ramp(900)))
    assert np.array_equal(levels(tmp_path / "x.tif"), of(ramp(900), 4095))
    assert open_image(tmp_path / "x.tif")[1]["levels"]["by"] == "BitsPerSample 12"


@QUIET
def test_white_may_be_0(tmp_path: Path) -> None:
    for values, white in ((ramp(4095), 4095), (ramp(65535), 65535), (ramp(255, np.uint8), 255)):
        tifffile.imwrite(tmp_path / "x.tif", values, photometric="miniswhite")
        assert (
            np.abs(levels(tmp_path / "x.tif").astype(int) - of(white - values.astype(int), white)).max() <= 1
        )
        if white > 255:
            assert open_image(tmp_path / "x.tif")[1]["levels"]["inverted"] is True
    shares = ramp(100, np.float32) / np.float32(100)
    tifffile.imwrite(tmp_path / "x.tif", shares, photometric="miniswhite")
    assert np.array_equal(levels(tmp_path / "x.tif"), of(1 - shares, 1))
    hot = ThermalPreparation(size=(32, 32))
    tifffile.imwrite(tmp_path / "x.tif", ramp(4095), photometric="miniswhite")
    np.testing.assert_allclose(
        hot.prepare(tmp_path / "x.tif").inputs, 1 - np.asarray(hot.prepare(ramp(4095)).inputs), atol=1e-6
    )


def test_negative_values_run_from_the_least_to_the_greatest(tmp_path: Path) -> None:
    hounsfield = (ramp(4000).astype(np.int32) - 1024).astype(np.int16)
    tifffile.imwrite(tmp_path / "ct.tif", hounsfield)
    for raw in (hounsfield, tmp_path / "ct.tif"):
        with pytest.warns(
            M2IBWarning, match=r"run from -1024 to 2976, .*the least and the greatest are taken"
        ):
            assert np.array_equal(levels(raw), of(hounsfield, 2976, -1024))
        assert np.array_equal(levels(raw, minimum=-160, maximum=240), of(hounsfield, 240, -160))


def test_black_alone_can_be_said() -> None:
    for values, white in (
        (np.linspace(-5, 5, 2000).reshape(40, 50), 5),
        (np.linspace(0, 0.9, 2000).reshape(40, 50), 1),
        (ramp(65535), 65535),
        (ramp(200, np.uint8), 255),
        (ramp(4000, np.int16) - np.int16(1000), 3000),
    ):
        assert np.array_equal(levels(values, minimum=-5), of(values, white, -5))
    with pytest.warns(M2IBWarning, match="read as 12 bits"):
        assert np.array_equal(levels(ramp(4000), minimum=100), of(ramp(4000), 4095, 100))
    with pytest.raises(InputError, match=r"^image: minimum=500 is not below maximum=255$"):
        open_image(ramp(200, np.uint8), minimum=500)


def fits(values: np.ndarray, **cards: Any) -> bytes:
    """A FITS file: rows from below, big-endian, whole numbers with a sign."""
    *planes, rows, columns = values.shape
    told: dict[str, Any] = {"SIMPLE": "T", "BITPIX": {"i": 8, "f": -8}[values.dtype.kind] * values.itemsize}
    told |= {"NAXIS": values.ndim, "NAXIS1": columns, "NAXIS2": rows}
    told |= {"NAXIS3": planes[0]} if planes else {}
    lines = [f"{name:<8}= {value!s:>20}" for name, value in (told | cards).items()]
    head = "".join(f"{line:<80}" for line in [*lines, "END"]).encode()
    return head.ljust(2880, b" ") + values[..., ::-1, :].astype(values.dtype.newbyteorder(">")).tobytes()


@QUIET
def test_fits(tmp_path: Path) -> None:
    values = ramp(4095)
    path = tmp_path / "x.fits"
    for stored, cards in (
        (values.astype(np.int16), {}),
        ((values.astype(np.int32) - 32768).astype(np.int16), {"BZERO": 32768, "BSCALE": "1.0"}),
        (values.astype(np.int32), {}),
    ):
        path.write_bytes(fits(stored, **cards))
        assert np.array_equal(levels(path), of(values, 4095))
    path.write_bytes(fits(np.stack([values, values[::-1]]).astype(np.int16)))
    with pytest.warns(
        M2IBWarning, match=r"holds 2 planes, and the first is read; choose one, 0 to 1: page=0"
    ):
        assert np.array_equal(levels(path), of(values, 4095))
    assert np.array_equal(levels(path, page=1), of(values[::-1], 4095))
    path.write_bytes(fits(values.astype(np.float32)))
    with pytest.raises(InputError, match=r"lie in \[0, 1\], not in \[0, 4095\]; .* maximum=4095"):
        open_image(path)
    assert np.array_equal(levels(path, maximum=4095), of(values, 4095))


def test_what_is_nearly_black_is_said() -> None:
    preparation = ImagePreparation((32, 32), (0.5,) * 3, (0.5,) * 3)
    mask = (ramp(100) > 50).astype(np.uint8)
    for raw in (mask, Image.fromarray(mask), ramp(4095) / 65535):
        with pytest.warns(M2IBWarning, match="^image is nearly black: its brightest value is [0-9]+ of 255"):
            preparation.prepare(raw, m2ib.Layout())
    assert float(preparation.prepare({"image": mask, "maximum": 1}, m2ib.Layout()).inputs.max()) == 1


def test_numbers_beyond_16_bits_need_a_maximum() -> None:
    values = ramp(1_000_000, np.int32)
    with pytest.raises(
        InputError, match=r"grey levels lie in 0 to 65535, not in 0 to 1000000; .* maximum=1000000"
    ):
        open_image(values)
    assert np.array_equal(levels(values, maximum=1_000_000), of(values, 1_000_000))


def test_options_that_cannot_be() -> None:
    preparation = ImagePreparation((32, 32), (0.5,) * 3, (0.5,) * 3)
    for options, message in (
        ({"gain": 2}, "image: no option 'gain'; there are page, minimum, maximum"),
        ({"maximum": "white"}, "image: maximum is a number, not 'white'"),
        ({"minimum": 5, "maximum": 5}, "image: minimum=5 is not below maximum=5"),
        ({"page": -1}, "image: page is a whole number from 0 on, not -1"),
        ({"page": True}, "image: page is a whole number from 0 on, not True"),
    ):
        with pytest.raises(SettingError) as refused:
            preparation.given(options, "x")
        assert str(refused.value) == message
    with pytest.raises(SettingError, match=r"^x: image is a dict of options, not int; as in"):
        preparation.given(4095, "x")
