"""Small files that stand for more than there is memory: each is refused by its header, in one line that says how to open it all the same."""

from __future__ import annotations

import io
import json
import struct
import wave
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import m2ib
from m2ib_adapters.bounds import LARGER, PIXELS, check_described
from m2ib_adapters.inputs.audio import AudioPreparation
from m2ib_adapters.inputs.depth import DepthPreparation
from m2ib_adapters.inputs.films import open_film
from m2ib_adapters.inputs.images import open_image
from m2ib_adapters.inputs.imu import ImuPreparation
from m2ib_adapters.inputs.sounds import Sound
from m2ib_adapters.inputs.thermal import ThermalPreparation
from open_clip_models import VIT, module_of
from tiny_clip import save_tiny_clip

Reader = Callable[[Any], Any]
THERMAL, DEPTH = ThermalPreparation().prepare, DepthPreparation().prepare
AUDIO, IMU = AudioPreparation().prepare, ImuPreparation().prepare


def refused(read: Reader, raw: Any) -> str:
    with pytest.raises(m2ib.InputError) as caught:
        read(raw)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def header(shape: tuple[int, ...], descr: Any = "<f8") -> bytes:
    """The beginning of a .npy file, without its numbers."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


def deflated_dicom(path: Path, mebibytes: int) -> Path:
    """Its pixels are zeros, of which a thousandth is written."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.filewriter import write_file_meta_info
    from pydicom.uid import DeflatedExplicitVRLittleEndian, SecondaryCaptureImageStorage

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SecondaryCaptureImageStorage, "1.2"
    head = io.BytesIO()
    write_file_meta_info(head, meta)
    deflating = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    first = deflating.compress(struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, mebibytes << 20))
    first += deflating.flush(zlib.Z_FULL_FLUSH)
    zeros = deflating.compress(bytes(2**20)) + deflating.flush(zlib.Z_FULL_FLUSH)
    path.write_bytes(bytes(128) + b"DICM" + head.getvalue() + first + zeros * mebibytes + deflating.flush())
    return path


def test_a_deflated_dicom(tmp_path: Path) -> None:
    path = deflated_dicom(tmp_path / "x.dcm", 1100)
    assert path.stat().st_size < 2**21
    said = refused(open_image, path)
    assert said.startswith(f"image {str(path)!r} has at least 1,07")
    assert "bytes when it is inflated, more than the 1,073,741,824 that are safe to open" in said


@pytest.mark.parametrize(("kind", "read"), [("thermal", THERMAL), ("depth", DEPTH)])
def test_a_small_picture_of_many_pixels(tmp_path: Path, kind: str, read: Reader) -> None:
    Image.new("I;16", (6000, 6000)).save(tmp_path / "x.png")
    said = (
        "has 6000x6000 pixels, more than the 33,554,432 that are safe to open; make it smaller, or set M2IB_LARGER=2 in the "
        "environment if it is no fake"
    )
    assert refused(read, tmp_path / "x.png") == f"{kind} {str(tmp_path / 'x.png')!r} {said}"
    assert refused(read, Image.new("I;16", (6000, 6000))) == f"{kind} {said}"


def test_a_later_page_is_larger(tmp_path: Path) -> None:
    first, second = Image.new("1", (10, 10)), Image.new("1", (14000, 14000))
    first.save(tmp_path / "x.tif", save_all=True, append_images=[second], compression="group4")
    said = refused(lambda path: open_image(path, page=1), tmp_path / "x.tif")
    assert "has 14000x14000 pixels, more than the 178,956,970" in said


@pytest.mark.parametrize(("kind", "read"), [("image", open_image), ("video", open_film)])
def test_a_tiff_of_many_pages(tmp_path: Path, kind: str, read: Reader) -> None:
    """A page takes as long to find as there are others before it."""
    Image.new("L", (8, 8)).save(tmp_path / "x.tif")
    content = (tmp_path / "x.tif").read_bytes()
    start = struct.unpack("<I", content[4:8])[0]
    entries = content[start : start + 2 + 12 * struct.unpack("<H", content[start : start + 2])[0]]
    size, pages = len(entries) + 4, bytearray(content)
    for number in range(100_000):
        at = len(content) + number * size
        pages += entries + struct.pack("<I", at + size if number < 99_999 else 0)
    pages[4:8] = struct.pack("<I", len(content))
    (tmp_path / "x.tif").write_bytes(pages)
    said = refused(read, tmp_path / "x.tif")
    assert said.startswith(
        f"{kind} {str(tmp_path / 'x.tif')!r} has more than 10,000 pages, more than the 10,000 that are safe"
    )


@pytest.mark.parametrize("read", [THERMAL, DEPTH, IMU])
@pytest.mark.parametrize(
    ("shape", "descr", "said"),
    [
        ((10**6, 10**6), "<f8", "has an array of 8,000,000,000,000 bytes, more than the 1,073,741,824"),
        ((2,), [("a", "<f8", (2**27,))], "has an array of 2,147,483,648 bytes, more than the"),
        ((6, 10**7), "<f8", "is damaged, or cut off"),
    ],
)
def test_a_header_of_an_array(tmp_path: Path, read: Reader, shape: Any, descr: Any, said: str) -> None:
    (tmp_path / "x.npy").write_bytes(header(shape, descr) + bytes(99))
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header(shape, descr) + bytes(99))
    for name in ("x.npy", "x.npz"):
        assert f"{str(tmp_path / name)!r} {said}" in refused(read, tmp_path / name)


def test_a_table(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    with path.open("wb") as file:
        file.truncate(2**27 + 1)
    assert "has 134,217,729 bytes, more than the 134,217,728 that are safe" in refused(IMU, path)
    path.write_text("a\n" * (2**22 + 1))
    assert "has 4,194,305 rows, more than the 4,194,304" in refused(IMU, path)
    path.write_text(",".join("a" * 1025) + "\n" + ",".join("1" * 1025))
    assert "has 1,025 columns, more than the 1,024" in refused(IMU, path)


def test_an_array_of_motion() -> None:
    assert "has 67,108,866 numbers, more than the 67,108,864" in refused(
        IMU, np.zeros((6, 11_184_811), np.int8)
    )


def test_sounds(tmp_path: Path) -> None:
    with (tmp_path / "x.mp3").open("wb") as file:
        file.write((b"\xff\xfb\x90\x64" + bytes(413)) * 9)
        file.truncate(2**30 + 1)
    assert "has 1,073,741,825 bytes, more than the 1,073,741,824" in refused(AUDIO, tmp_path / "x.mp3")
    with wave.open(str(tmp_path / "x.wav"), "wb") as made:
        made.setparams((1, 2, 2**31 - 1, 0, "NONE", ""))
        made.writeframes(bytes(2000))
    assert "is damaged: it has 2,147,483,647 samples a second, and there are 10,000,000 at most" in refused(
        AUDIO, tmp_path / "x.wav"
    )
    many = Sound("audio", 48000, 8, 2**30, lambda: iter(()), {})
    assert "has 2,147,483,648 samples to be held at once" in refused(many.read, [(0, 2**28)])


def test_an_animation_of_many_large_frames(tmp_path: Path) -> None:
    blank = [Image.new("RGB", (4000, 4000), level) for level in ("red", "green")]
    blank[0].save(tmp_path / "x.webp", save_all=True, append_images=blank[1:], lossless=True)
    content = (tmp_path / "x.webp").read_bytes()
    last = content[content.rindex(b"ANMF") :]
    content += last * 300
    (tmp_path / "x.webp").write_bytes(content[:4] + struct.pack("<I", len(content) - 8) + content[8:])
    assert "has 4,832,000,000 pixels in its frames, more than the 4,294,967,296" in refused(
        open_film, tmp_path / "x.webp"
    )


def test_a_stream_without_end() -> None:
    with open("/dev/zero", "rb") as file:
        assert "has at least 1,073,741,825 bytes, more than the 1,073,741,824" in refused(open_image, file)


def test_bounds_are_raised_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, found = "image 'x'", 3 * PIXELS.most
    with pytest.raises(m2ib.InputError, match=r"or set M2IB_LARGER=3 in the environment if it is no fake$"):
        PIXELS.check(name, found)
    monkeypatch.setenv(LARGER, "3")
    PIXELS.check(name, found)
    Image.new("1", (20000, 20000)).save(tmp_path / "x.png")  # more than Pillow opens by itself
    (tmp_path / "x.png").write_bytes((tmp_path / "x.png").read_bytes()[:99])
    before = Image.MAX_IMAGE_PIXELS
    assert "is damaged and cannot be decoded" in refused(open_image, tmp_path / "x.png")
    assert before == Image.MAX_IMAGE_PIXELS
    for wrong in ("many", "0.5", "inf", "nan"):
        monkeypatch.setenv(LARGER, wrong)
        with pytest.raises(m2ib.SettingError, match=f"^M2IB_LARGER is a number from 1 on, not {wrong!r}$"):
            PIXELS.check(name, 1)


@pytest.mark.parametrize(
    ("part", "changed", "said"),
    [
        ("vision_cfg", {"layers": 100_000}, "has layers=100000, more than the 1,024 that are safe to open"),
        ("vision_cfg", {"layers": [3, 4, 10**5, 3]}, "has layers=100010, more than the 1,024"),
        ("vision_cfg", {"width": 10**9}, "has width=1000000000, more than the 4,194,304"),
        ("vision_cfg", {"image_size": [32, 10**5]}, "has image_size=100000, more than the 8,192"),
        ("text_cfg", {"vocab_size": 10**9}, "has vocab_size=1000000000, more than the 4,194,304"),
        (
            "text_cfg",
            {"width": 2**20, "layers": 4},
            "weights, more than the 8,589,934,592 that are safe to open",
        ),
        ("text_cfg", {"context_length": 2**20}, "weights, more than the 8,589,934,592"),
        ("text_cfg", {"width": 2**13, "layers": 4}, "and the file of its weights has"),
    ],
)
def test_an_architecture(tmp_path: Path, part: str, changed: dict[str, Any], said: str) -> None:
    torch.save(module_of(VIT).state_dict(), tmp_path / "x.pt")
    config = {**VIT, part: VIT[part] | changed}
    with pytest.raises(m2ib.SettingError) as caught:
        m2ib.load_model("open-clip", architecture=config, checkpoint=tmp_path / "x.pt", device="cpu")
    assert said in str(caught.value)


def test_a_description_of_any_length(tmp_path: Path) -> None:
    folder = save_tiny_clip(tmp_path / "clip")
    with (folder / "config.json").open("ab") as file:
        file.truncate(2**27 + 1)
    for name, options in (
        ("clip", {"checkpoint": folder}),
        ("open-clip", {"architecture": folder / "config.json"}),
    ):
        with pytest.raises(
            m2ib.M2IBError, match=r"has 134,217,729 bytes, more than the 134,217,728 that are safe to open"
        ):
            m2ib.load_model(name, **options, device="cpu")


def test_an_architecture_in_parts_in_parts() -> None:
    config: Any = VIT
    for _ in range(50):
        config = {**VIT, "vision_cfg": config}
    with pytest.raises(m2ib.SettingError, match="describes parts in parts in parts, more than 20 deep"):
        m2ib.load_model("open-clip", architecture=config, device="cpu")


@pytest.mark.filterwarnings("ignore::m2ib.M2IBWarning")
def test_an_imagebind() -> None:
    for sizes, said in (
        ({"vision_num_blocks": 10**5}, "has vision_num_blocks=100000, more than the 1,024"),
        ({"vision_embed_dim": 2**20}, "weights, more than the 8,589,934,592"),
        ({"pixels": 10**5}, "has pixels=100000, more than the 8,192"),
    ):
        with pytest.raises(m2ib.SettingError) as caught:
            m2ib.load_model("imagebind", architecture=sizes, device="cpu")
        assert said in str(caught.value)


@pytest.mark.parametrize("size", [{"shortest_edge": 10**9}, {"height": 10**5, "width": 32}, 10**9])
def test_an_image_processor(tmp_path: Path, size: Any) -> None:
    told = {"image_processor_type": "CLIPImageProcessor", "size": size, "crop_size": 32}
    folder = save_tiny_clip(tmp_path / "clip")
    (folder / "preprocessor_config.json").write_text(json.dumps(told))
    with pytest.raises(
        m2ib.CheckpointError, match=r"its image processor has .*, more than the 8,192 that are safe"
    ):
        m2ib.load_model("clip", checkpoint=folder, device="cpu")


@pytest.mark.filterwarnings("ignore::m2ib.M2IBWarning")
def test_a_size_that_is_asked_for(tmp_path: Path) -> None:
    folder = save_tiny_clip(tmp_path / "clip")
    for name, device, options in (
        ("clip", "cpu", {"checkpoint": folder, "image_size": 10**5}),
        ("open-clip", "cpu", {"architecture": VIT, "image_size": 10**5}),
        ("imagebind", "meta", {"image_size": 14 * 10**4}),
        ("photo", "cpu", {"size": 32 * 10**3}),
    ):
        with pytest.raises(m2ib.M2IBError, match=r"has (image_)?size=[0-9]*, more than the 8,192"):
            m2ib.load_model(name, **options, device=device)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "x.pt"])
def test_weights_that_are_compressed(tmp_path: Path, name: str) -> None:
    """Torch would inflate them."""
    folder = save_tiny_clip(tmp_path / "clip")
    (folder / "model.safetensors").unlink()
    torch.save({"x": torch.zeros(2**22)}, tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as small,
    ):
        for member in plain.namelist():
            small.writestr(member, plain.read(member))
    given: dict[str, Any] = (
        {"checkpoint": folder} if name != "x.pt" else {"checkpoint": folder / name, "config": folder}
    )
    with pytest.raises(
        m2ib.CheckpointError, match=r"stands for 16,.* bytes in .*, and weights are not compressed"
    ):
        m2ib.load_model("clip", **given, device="cpu")


@pytest.mark.parametrize("part", ["vision_cfg", "text_cfg", "preprocess_cfg"])
def test_a_part_that_is_none(part: str) -> None:
    with pytest.raises(m2ib.SettingError) as caught:
        m2ib.load_model("open-clip", architecture={"model_cfg": {**VIT, part: 3}, part: 3}, device="cpu")
    assert str(caught.value) == (
        f"open-clip: architecture given as a dict is not an open_clip model config: its {part} is 3, no mapping"
    )


def test_lists_in_lists_in_an_architecture(tmp_path: Path) -> None:
    text = json.dumps({**VIT, "vision_cfg": {**VIT["vision_cfg"], "patch_size": "HERE"}})
    (tmp_path / "x.json").write_text(text.replace('"HERE"', "[" * 900 + "]" * 900))
    with pytest.raises(m2ib.SettingError, match="describes parts in parts in parts, more than 20 deep"):
        m2ib.load_model("open-clip", architecture=tmp_path / "x.json", device="cpu")


def test_numbers_that_are_no_sizes_may_be_large() -> None:
    check_described({"rope_theta": 10**7, "model_max_length": 10**30, "pad_token_id": 10**9}, "a model")
    check_described({"max_pixels": 12845056, "total_size": 10**12, "created": 1700000000}, "a model")
    check_described({"max_size": -1, "min_length": -1, "window_length": -1}, "a model")
    with pytest.raises(m2ib.CheckpointError, match="has hidden_size=10000000, more than"):
        check_described({"text": {"hidden_size": 10**7}}, "a model")
    with pytest.raises(m2ib.CheckpointError, match=r"^a model has num_attention_heads=-4, which is no size$"):
        check_described({"text": {"num_attention_heads": -4}}, "a model")


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("clip", "checkpoint"),
        ("open-clip", "architecture"),
        ("cxr-repair", "checkpoint"),
        ("imagebind", "checkpoint"),
        ("imagebind-tiny", "checkpoint"),
    ],
)
def test_a_name_that_no_file_can_have(name: str, option: str) -> None:
    with pytest.raises(m2ib.M2IBError) as caught:
        m2ib.load_model(name, **{option: "x" * 5000}, device="cpu")
    assert len(str(caught.value)) < 2000
