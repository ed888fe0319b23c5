"""DICOM files of many kinds as pictures, what is said of them, and how others are refused."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.pixels import apply_windowing

import m2ib
from m2ib_adapters.inputs.dicom import window
from m2ib_adapters.inputs.images import open_image
from xrays import save_dicom, xray


def levels(file: Path) -> np.ndarray:
    """(H, W), after a look at all three channels."""
    picture = np.asarray(open_image(file)[0])
    assert picture.shape[2] == 3
    assert (picture == picture[..., :1]).all()
    return picture[..., 0]


def spread(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.round((np.clip(values, low, high) - low) / (high - low) * 255).astype(np.uint8)


def test_least_and_greatest_without_a_window(tmp_path: Path) -> None:
    pixels = xray(top=3000) + 500
    file = save_dicom(tmp_path / "x.dcm", pixels, BitsStored=12)
    assert np.array_equal(levels(file), spread(pixels.astype(float), 500, 3500))
    origin = open_image(file)[1]
    assert origin["source"] == str(file)
    assert origin["size"] == [40, 60]
    assert origin["dicom"] == {
        "modality": "DX",
        "photometric": "MONOCHROME2",
        "rows": 60,
        "columns": 40,
        "bits": 12,
        "signed": False,
        "levels": {"by": "least and greatest value, for there is no window", "low": 500.0, "high": 3500.0},
    }


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_window_and_an_inversion(tmp_path: Path, dtype: Any, photometric: str) -> None:
    pixels = (xray(top=250).astype(np.int64) - (120 if dtype == np.int16 else 0)).astype(dtype)
    tags = {"WindowCenter": 40, "WindowWidth": 101, "PhotometricInterpretation": photometric}
    file = save_dicom(tmp_path / "x.dcm", pixels, **tags)
    expected = spread(pixels.astype(float), -10.5, 89.5)  # 100 steps about 39.5, as the standard has it
    expected = np.where(photometric == "MONOCHROME1", 255 - expected.astype(int), expected)
    assert np.abs(levels(file).astype(int) - expected).max() <= 1  # a half may round either way
    how = open_image(file)[1]["dicom"]
    assert how["levels"] == {"by": "window", "center": 40.0, "width": 101.0, "function": "LINEAR"}
    assert how["photometric"] == photometric
    assert how["signed"] == (dtype == np.int16)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("width", [1.0, 2.0, 100.0, 900.0])
def test_windows_are_pydicoms(function: str, width: float) -> None:
    values = np.arange(-200.0, 1500.0, 7.25)
    dataset = Dataset()
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsStored, dataset.VOILUTFunction = 12, function
    dataset.WindowCenter, dataset.WindowWidth = 300.0, width
    with np.errstate(over="ignore"):
        expected = apply_windowing(values, dataset) / 4095
    assert np.abs(window(values, 300.0, width, function, "x") - expected).max() < 1e-12


def test_signed_with_rescale_and_several_windows(tmp_path: Path) -> None:
    stored = xray(top=4000).astype(np.int16) - 1000
    tags = {
        "RescaleSlope": 0.5,
        "RescaleIntercept": -24,
        "WindowCenter": [100, 700],
        "WindowWidth": [501, 90],
    }
    file = save_dicom(tmp_path / "x.dcm", stored, **tags)
    expected = spread(stored * 0.5 - 24, 99.5 - 250, 99.5 + 250)
    assert np.abs(levels(file).astype(int) - expected).max() <= 1
    how = open_image(file)[1]["dicom"]
    assert how["rescale"] == {"slope": 0.5, "intercept": -24.0}
    assert how["levels"]["center"] == 100.0


def test_rescale_alone(tmp_path: Path) -> None:
    stored = xray(top=4000)
    file = save_dicom(tmp_path / "x.dcm", stored, RescaleSlope=-2, RescaleIntercept=7)
    assert np.array_equal(levels(file), spread(-2.0 * stored, -8000, 0))


def test_voi_lut_before_the_window(tmp_path: Path) -> None:
    pixels = xray(top=255)
    table = Dataset()
    table.LUTDescriptor = [256, 0, 16]
    table.LUTData = np.array([(255 - n) ** 2 for n in range(256)], "<u2").tobytes()
    tags = {"VOILUTSequence": [table], "WindowCenter": 100, "WindowWidth": 20}
    file = save_dicom(tmp_path / "x.dcm", pixels, **tags)
    expected = np.round((255.0 - pixels) ** 2 / 65535 * 255).astype(np.uint8)
    assert np.array_equal(levels(file), expected)
    assert open_image(file)[1]["dicom"]["levels"] == {"by": "VOI LUT"}


def test_modality_lut(tmp_path: Path) -> None:
    pixels = xray(top=255)
    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [256, 0, 16], "US"
    table.LUTData = np.array([3 * (255 - n) for n in range(256)], "<u2").tobytes()
    file = save_dicom(tmp_path / "x.dcm", pixels, ModalityLUTSequence=[table])
    assert np.array_equal(levels(file), 255 - pixels.astype(np.uint8))


def test_a_flat_picture_is_black(tmp_path: Path) -> None:
    assert not levels(save_dicom(tmp_path / "x.dcm", np.full((4, 5), 77, np.uint16))).any()


def test_colours(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    file = save_dicom(tmp_path / "x.dcm", colours)
    assert np.array_equal(np.asarray(open_image(file)[0]), colours)
    assert open_image(file)[1]["dicom"]["photometric"] == "RGB"
    bright = np.asarray(Image.fromarray(colours).convert("YCbCr"))
    file = save_dicom(tmp_path / "y.dcm", bright, PhotometricInterpretation="YBR_FULL")
    assert np.abs(np.asarray(open_image(file)[0]).astype(int) - colours).max() <= 3


def test_compressed_files(tmp_path: Path) -> None:
    pixels = xray(top=4095)
    plain = pydicom.dcmread(save_dicom(tmp_path / "x.dcm", pixels, BitsStored=12))
    plain.compress(pydicom.uid.RLELossless)
    plain.save_as(tmp_path / "rle.dcm")
    assert np.array_equal(levels(tmp_path / "rle.dcm"), levels(tmp_path / "x.dcm"))


def test_the_name_does_not_matter_where_the_mark_is(tmp_path: Path) -> None:
    file = save_dicom(tmp_path / "x.dcm", xray())
    other = file.rename(tmp_path / "1.2.840.113")
    assert open_image(other)[1]["dicom"]["modality"] == "DX"


def test_nothing_about_the_patient_is_kept(vit: m2ib.Model, tmp_path: Path) -> None:
    file = save_dicom(tmp_path / "x.dcm", xray(), InstitutionName="St. Elsewhere", AccessionNumber="ACC-77")
    explanation = m2ib.explain(vit, image=file, text="effusion", steps=1, samples=1, show_progress=False)
    saved = explanation.save(tmp_path / "saved")
    page = explanation.to_html(tmp_path / "page.html")
    for text in (
        json.dumps(dict(explanation["image"].origin)),
        page.read_text(encoding="utf-8"),
        (saved / "manifest.json").read_text(encoding="utf-8"),
    ):
        assert not any(word in text for word in ("DOE", "JANE", "0815", "Elsewhere", "ACC-77", "1.2.3.4"))


# Enhanced objects, whose rescale and window lie in the functional groups.


def functions(center: float, width: float, slope: float | None = None, intercept: float = 0.0) -> Dataset:
    """An item of the functional groups."""
    window, group = Dataset(), Dataset()
    window.WindowCenter, window.WindowWidth = center, width
    group.FrameVOILUTSequence = [window]
    if slope is not None:
        rescale = Dataset()
        rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = slope, intercept, "HU"
        group.PixelValueTransformationSequence = [rescale]
    return group


def enhanced(path: Path, frames: list[np.ndarray], **tags: Any) -> Path:
    rows, columns = frames[0].shape
    tags |= {"PixelData": np.stack(frames).tobytes(), "NumberOfFrames": len(frames)}
    return save_dicom(path, frames[0], Rows=rows, Columns=columns, **tags)


def near(file: Path, expected: np.ndarray, **options: Any) -> bool:
    picture = np.asarray(open_image(file, **options)[0])[..., 0]
    return bool(np.abs(picture.astype(int) - expected).max() <= 1)  # a half may round either way


def test_each_frame_has_its_own_window(tmp_path: Path) -> None:
    frames = [xray(seed=seed) for seed in range(2)]
    groups = [functions(100, 501, 0.5, -24), functions(700, 901, 2.0)]
    file = enhanced(
        tmp_path / "x.dcm", frames, PerFrameFunctionalGroupsSequence=groups, WindowCenter=9, WindowWidth=9
    )
    assert near(file, spread(frames[0] * 0.5 - 24, 99.5 - 250, 99.5 + 250), page=0)
    assert near(file, spread(frames[1] * 2.0, 699.5 - 450, 699.5 + 450), page=1)
    how = open_image(file, page=0)[1]["dicom"]
    assert how["rescale"] == {"slope": 0.5, "intercept": -24.0}
    assert how["levels"] == {"by": "window", "center": 100.0, "width": 501.0, "function": "LINEAR"}


def test_what_all_frames_share_is_used(tmp_path: Path) -> None:
    frame = xray()
    shared, own = functions(300, 201, 0.5), Dataset()
    for groups in ([own], []):
        tags = {"SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": groups}
        assert near(enhanced(tmp_path / "x.dcm", [frame], **tags), spread(frame * 0.5, 199.5, 399.5))


def test_one_frame_saved_out_of_several(tmp_path: Path) -> None:
    frame, both = xray(), [functions(300, 201), functions(900, 101)]
    file = enhanced(tmp_path / "x.dcm", [frame], PerFrameFunctionalGroupsSequence=[both[0]])
    assert near(file, spread(frame, 199.5, 399.5))
    file = enhanced(
        tmp_path / "x.dcm", [frame], PerFrameFunctionalGroupsSequence=[both[0], functions(300, 201)]
    )
    assert near(file, spread(frame, 199.5, 399.5))
    file = enhanced(tmp_path / "x.dcm", [frame], PerFrameFunctionalGroupsSequence=both)
    with pytest.warns(
        m2ib.M2IBWarning, match="is said for several frames, and not which of them this is; none is used"
    ):
        assert near(file, spread(frame, 0, 4095))


def test_limits_in_place_of_the_window(tmp_path: Path) -> None:
    pixels = xray(top=4000).astype(np.int16) - 1000
    tags = {"RescaleSlope": 0.5, "RescaleIntercept": -24, "WindowCenter": 100, "WindowWidth": 501}
    file = save_dicom(tmp_path / "x.dcm", pixels, **tags)
    assert near(file, spread(pixels * 0.5 - 24, -160, 240), minimum=-160, maximum=240)
    assert open_image(file, maximum=240)[1]["dicom"]["levels"] == {
        "by": "given",
        "low": -524.0,
        "high": 240.0,
    }
    with pytest.raises(m2ib.InputError, match="minimum=-524 is not below maximum=-600"):
        open_image(file, maximum=-600)


# Files without preamble, mark or meta header.


@pytest.mark.parametrize(
    ("implicit", "little", "syntax"),
    [
        (True, True, "Implicit VR Little Endian"),
        (False, True, "Explicit VR Little Endian"),
        (False, False, "Explicit VR Big Endian"),
    ],
)
@pytest.mark.parametrize("name", ["x.dcm", "x"])
def test_without_a_header(tmp_path: Path, implicit: bool, little: bool, syntax: str, name: str) -> None:
    pixels = xray()
    whole = pydicom.dcmread(save_dicom(tmp_path / "whole.dcm", pixels, RescaleSlope=2))
    bare = Dataset()
    bare.update(whole)
    if not little:
        bare.PixelData = pixels.astype(">u2").tobytes()
    bare.save_as(tmp_path / name, implicit_vr=implicit, little_endian=little)
    said = f"is a DICOM without a header that says how it is written; it was read as {syntax}$"
    with pytest.warns(m2ib.M2IBWarning, match=said):
        picture, origin = open_image(tmp_path / name)
    assert np.array_equal(np.asarray(picture)[..., 0], levels(tmp_path / "whole.dcm"))
    assert origin["dicom"]["transfer_syntax_assumed"] == syntax


def test_a_header_without_preamble_is_enough(tmp_path: Path) -> None:
    file = save_dicom(tmp_path / "x.dcm", xray())
    (tmp_path / "y").write_bytes(file.read_bytes()[132:])
    assert np.array_equal(levels(tmp_path / "y"), levels(file))


def test_what_begins_like_one_and_is_none(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes.fromhex("0800050043530a00") + b"ISO_IR 100" + b"\xff" * 500)
    assert "DICOM" in refused(tmp_path / "x") or "cut off" in refused(tmp_path / "x")
    (tmp_path / "x").write_bytes(b"\x08\x00 and no element" * 20)
    assert refused(tmp_path / "x") == "is not in an image format that can be read"


@pytest.mark.parametrize(
    ("name", "packages"),
    [
        ("JPGExtended.dcm", "pylibjpeg pylibjpeg-libjpeg"),
        ("GDCMJ2K_TextGBR.dcm", "pylibjpeg pylibjpeg-openjpeg"),
    ],
)
def test_the_package_that_can_is_named(name: str, packages: str) -> None:
    """pydicom's own files, of 12 bits as JPEG and of a strange JPEG 2000, which Pillow cannot decode."""
    file = get_testdata_file(name, download=False)
    if importlib.util.find_spec(packages.split()[-1].replace("pylibjpeg-", "")) is not None:
        assert open_image(file)
        return
    said = refused(Path(str(file)))
    assert "cannot be read by the decoders that are installed: they need another one" in said
    assert f"pip install {packages}, or are damaged" in said


def refused(file: Path) -> str:
    with pytest.raises(m2ib.InputError) as caught:
        open_image(file)
    message = str(caught.value)
    assert message.startswith(f"image {str(file)!r}")
    assert "\n" not in message
    assert "JANE" not in message
    return message.removeprefix(f"image {str(file)!r}").lstrip(": ")


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"NumberOfFrames": 3}, "holds 3 frames; save the one to explain as a file of its own"),
        (
            {"PhotometricInterpretation": "PALETTE COLOR"},
            "the photometric interpretation 'PALETTE COLOR' cannot be shown; save it as MONOCHROME2 or RGB, or as a PNG",
        ),
        (
            {"WindowCenter": 3, "WindowWidth": 0},
            "a LINEAR window cannot be 0 wide; correct or remove it",
        ),
        (
            {"WindowCenter": 3, "WindowWidth": 0, "VOILUTFunction": "SIGMOID"},
            "a SIGMOID window cannot be 0 wide; correct or remove it",
        ),
        (
            {"WindowCenter": 3, "WindowWidth": 9, "VOILUTFunction": "CUBIC"},
            "the window 3, 9 of kind 'CUBIC' is unknown to DICOM",
        ),
        (
            {
                "TransferSyntaxUID": pydicom.uid.JPEGLSLossless,
                "PixelData": pydicom.encaps.encapsulate([b"abcd"]),
            },
            "is compressed as JPEG-LS Lossless Image Compression, which cannot be read here: "
            "pip install 'pydicom[pixeldata,gpl-license]', or save it uncompressed",
        ),
        (
            {"TransferSyntaxUID": pydicom.uid.MPEG2MPML, "PixelData": pydicom.encaps.encapsulate([b"abcd"])},
            "is compressed as MPEG2 Main Profile / Main Level, which cannot be read here: "
            "pip install 'pydicom[pixeldata,gpl-license]', or save it uncompressed",
        ),
        (
            {"Rows": 20000, "Columns": 20000},
            "has 20000x20000 pixels, more than the 33,554,432 that are safe to open",
        ),
    ],
)
def test_pictures_that_cannot_be_shown(tmp_path: Path, tags: dict[str, Any], reason: str) -> None:
    assert refused(save_dicom(tmp_path / "x.dcm", xray(), **tags)).startswith(reason)


def test_files_that_hold_none(tmp_path: Path) -> None:
    report = save_dicom(tmp_path / "report.dcm", None, Modality="SR")
    assert refused(report) == "is a DICOM file without pixels (modality SR), or cut off; name an image"
    (tmp_path / "text.dcm").write_text("hello")
    assert refused(tmp_path / "text.dcm") == (
        "is not a DICOM file: the mark 'DICM' is missing after its first 128 bytes"
    )
    assert refused(tmp_path / "gone.dcm") == "does not exist; check the path"
    (tmp_path / "folder.dcm").mkdir()
    assert refused(tmp_path / "folder.dcm") == "is a folder; name a file"


def test_files_that_are_cut_off(tmp_path: Path) -> None:
    whole = save_dicom(tmp_path / "x.dcm", xray()).read_bytes()
    (tmp_path / "pixels.dcm").write_bytes(whole[:-1000])
    assert refused(tmp_path / "pixels.dcm").startswith("is damaged, or cut off: its pixels cannot be read: ")
    for length in range(132, len(whole) - 4800, 7):
        (tmp_path / "header.dcm").write_bytes(whole[:length])
        assert "cut off" in refused(tmp_path / "header.dcm")
    pixels = xray()
    plain = pydicom.dcmread(save_dicom(tmp_path / "y.dcm", pixels))
    plain.compress(pydicom.uid.RLELossless)
    plain.save_as(tmp_path / "rle.dcm")
    (tmp_path / "rle.dcm").write_bytes((tmp_path / "rle.dcm").read_bytes()[:-2000])
    assert "cut off" in refused(tmp_path / "rle.dcm")


def test_values_that_are_none(tmp_path: Path) -> None:
    tags = {"BitsAllocated": 32, "BitsStored": 32, "FloatPixelData": np.full(6, np.nan, np.float32).tobytes()}
    file = save_dicom(tmp_path / "x.dcm", xray(2, 3), **tags)
    dataset = pydicom.dcmread(file)
    del dataset.PixelData
    dataset.save_as(file)
    assert refused(file) == "holds NaN or infinite pixels"


def test_without_pydicom(tmp_path: Path) -> None:
    file = save_dicom(tmp_path / "x.dcm", xray())
    program = (
        "import sys; sys.modules['pydicom'] = None\n"
        "import m2ib\nfrom m2ib_adapters.inputs.images import open_image\n"
        f"try: open_image({str(file)!r})\nexcept m2ib.AdapterError as error: print(error)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out.strip() == (
        f"image {str(file)!r} is a DICOM file; reading it needs pydicom: pip install 'm2ib[cxr]'"
    )


def test_an_ordinary_picture_is_not_taken_for_one(tmp_path: Path) -> None:
    Image.fromarray(xray(20, 30, 255).astype(np.uint8)).save(tmp_path / "x.png")
    image, origin = open_image(tmp_path / "x.png")
    assert image.size == (30, 20)
    assert "dicom" not in origin
