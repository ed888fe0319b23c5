"""Pictures, sounds, films and tables of motion, by every preparation of their kinds."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pydicom
import skimage
import soundfile
from PIL import Image

from attack.mutations import damaged, other_kind, png
from m2ib.contract.layout import Layout
from m2ib_adapters.cxr.preprocess import XrayPreparation
from m2ib_adapters.inputs.audio import AudioPreparation
from m2ib_adapters.inputs.depth import DepthPreparation
from m2ib_adapters.inputs.images import ImagePreparation
from m2ib_adapters.inputs.imu import ImuPreparation
from m2ib_adapters.inputs.thermal import ThermalPreparation
from m2ib_adapters.inputs.video import VideoPreparation

_LARGEST = 400_000  # bytes of a sample
_IMAGE = ImagePreparation((224, 224), (0.5,) * 3, (0.5,) * 3)
WAYS: dict[str, Callable[[str], Any]] = {
    "image": lambda path: _IMAGE.prepare(path, Layout()),
    "x-ray": lambda path: XrayPreparation("mimic", 224).prepare(path, Layout()),
    "depth": lambda path: DepthPreparation().prepare(path),
    "thermal": lambda path: ThermalPreparation().prepare(path),
    "audio": lambda path: AudioPreparation().prepare(path),
    "video": lambda path: VideoPreparation(size=32).prepare(path),
    "imu": lambda path: ImuPreparation().prepare(path),
}
_PICTURES = ("image", "image", "x-ray", "depth", "thermal")


def made() -> dict[str, bytes]:
    """One file of each format that can be written here, by name."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (48, 40, 3), dtype=np.uint8)
    picture, found = Image.fromarray(small), dict[str, bytes]()
    for kind in (
        "PNG",
        "JPEG",
        "GIF",
        "TIFF",
        "WEBP",
        "AVIF",
        "BMP",
        "PPM",
        "TGA",
        "ICO",
        "DDS",
        "JPEG2000",
        "PCX",
        "SGI",
        "MPO",
    ):
        held = io.BytesIO()
        try:
            several = (
                {"save_all": True, "append_images": [picture.rotate(90)] * 3}
                if kind in ("GIF", "TIFF", "WEBP", "AVIF", "MPO")
                else {}
            )
            picture.save(held, kind, **several)
        except (OSError, KeyError):  # this Pillow does not write it
            continue
        found[f"made.{kind.lower()}"] = held.getvalue()
    for name, mode in (
        ("deep.png", "I;16"),
        ("real.tiff", "F"),
        ("bits.png", "1"),
        ("palette.png", "P"),
        ("alpha.png", "RGBA"),
    ):
        held = io.BytesIO()
        grey = (
            Image.fromarray(small[..., 0].astype(np.uint16) * 200)
            if mode == "I;16"
            else picture.convert("L" if mode == "F" else mode)
        )
        (grey.convert("F") if mode == "F" else grey).save(held, name.rsplit(".")[1])
        found[name] = held.getvalue()
    wet = (np.sin(np.arange(16_000) / 9) * 0.5).astype(np.float32)
    for kind, subtype in (
        ("WAV", "PCM_16"),
        ("WAV", "FLOAT"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("MP3", "MPEG_LAYER_III"),
        ("AIFF", "PCM_16"),
        ("AU", "PCM_16"),
    ):
        held = io.BytesIO()
        try:
            soundfile.write(held, wet, 16_000, format=kind, subtype=subtype)
        except (ValueError, soundfile.LibsndfileError):
            continue
        found[f"sound-{subtype.lower()}.{kind.lower()}"] = held.getvalue()
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setparams((2, 1, 8000, 0, "NONE", ""))
        file.writeframes(bytes(16_000))
    found["eight.wav"] = held.getvalue()
    moved = rng.standard_normal((500, 6)).astype(np.float32)
    for name, values in (
        ("frames.npy", small),
        ("field.npy", rng.random((48, 40)).astype(np.float32)),
        ("film.npy", np.stack([small] * 6)),
        ("motion.npy", moved),
        ("heard.npy", wet),
    ):
        held = io.BytesIO()
        np.save(held, values)
        found[name] = held.getvalue()
    held = io.BytesIO()
    np.savez_compressed(held, a=moved)
    found["motion.npz"] = held.getvalue()
    head = "time,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z\n"
    rows = "\n".join(",".join(f"{value:.4f}" for value in (n / 100, *row)) for n, row in enumerate(moved))
    found["motion.csv"] = (head + rows).encode()
    found["motion.tsv"] = found["motion.csv"].replace(b",", b"\t")
    try:
        import av
    except ImportError:
        return found
    held = io.BytesIO()
    with av.open(held, "w", format="mp4") as film:
        stream = film.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 40, 48, "yuv420p"
        for n in range(20):
            for packet in stream.encode(av.VideoFrame.from_ndarray(np.roll(small, n, 1), "rgb24")):
                film.mux(packet)
        for packet in stream.encode():
            film.mux(packet)
    found["film.mp4"] = held.getvalue()
    return found


def ways(name: str) -> tuple[str, ...]:
    """By which preparations a file of this name is read."""
    if name.endswith(("wav", "mp3", "ogg", "flac", "aiff", "au")) or name == "heard.npy":
        return ("audio",)
    if name.endswith(("csv", "tsv", "npz")) or name == "motion.npy":
        return ("imu",)
    if name.endswith(("mp4", "gif")):
        return ("video", "image")
    return _PICTURES


class Target:
    """A real file, damaged; a bomb; another kind of file; or whole, but read as something else."""

    def __init__(self, home: Path) -> None:
        data = Path(skimage.__file__).parent / "data"
        installed = [
            *(Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm"),
            *data.glob("*.*g"),
            *data.glob("*.tif"),
            *data.glob("*.gif"),
        ]
        self.files = made() | {
            path.name: path.read_bytes() for path in sorted(installed) if path.stat().st_size < _LARGEST
        }
        self.by_suffix: dict[str, list[str]] = {}
        for name in sorted(self.files):
            self.by_suffix.setdefault(Path(name).suffix, []).append(name)
        for name in (
            "made.png",
            "sound-pcm_16.wav",
            "film.mp4",
            "motion.csv",
        ):  # what is loaded late is there before a fork
            (home / name).write_bytes(self.files[name])
            WAYS[ways(name)[0]](str(home / name))

    def attack(self, rng: Random, folder: Path) -> tuple[str, Callable[[], object]]:
        name = rng.choice(self.by_suffix[rng.choice(sorted(self.by_suffix))])
        way, path, content = rng.choice(ways(name)), folder / name, self.files[name]
        how = rng.choice(("damage",) * 14 + ("bomb", "kind", "way", "suffix"))
        if how == "damage":
            done, content = damaged(rng, content)
        elif how == "bomb":
            done, path, content = _bomb(rng, folder)
            way = rng.choice(ways(path.name))
        elif how == "way":
            done, way = "read as another", rng.choice(sorted(WAYS))
        elif how == "suffix":
            other = rng.choice(sorted(self.files))
            done, path = f"as {other}", folder / other
            way = rng.choice(ways(other))
        else:
            done = ""
        path.write_bytes(content)
        done = done or other_kind(rng, path)
        return f"{path.name} as {way}: {done}", lambda: WAYS[way](str(path))


def _bomb(rng: Random, folder: Path) -> tuple[str, Path, bytes]:
    """Small files that become large."""
    which = rng.choice(("png", "png", "grey png", "dicom", "npy", "npz", "gif", "wav", "csv"))
    width, height = rng.choice(
        ((30_000, 30_000), (16_000, 12_000), (100_000, 1), (2**31 - 1, 2**31 - 1), (9000, 9000))
    )
    if which == "png":
        return f"{width}x{height}", folder / "bomb.png", png(width, height)
    if which == "grey png":
        return f"grey {width}x{height}", folder / "bomb.png", png(width, height, depth=16, colour=0)
    if which == "dicom":
        return (
            f"deflated {height}x{width}",
            folder / "bomb.dcm",
            _deflated(min(width, 60_000), min(height, 60_000)),
        )
    if which in ("npy", "npz"):
        held = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            held, {"descr": "<f4", "fortran_order": False, "shape": (width, height)}
        )
        content = held.getvalue() + bytes(1000)
        if which == "npz":
            import zipfile

            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
                file.writestr("a.npy", content + bytes(2**27))
            content = packed.getvalue()
        return f"an array of {width}x{height}", folder / f"bomb.{which}", content
    if which == "gif":
        held = io.BytesIO()
        Image.new("P", (4000, 4000)).save(
            held, "GIF", save_all=True, append_images=[Image.new("P", (4000, 4000), n) for n in range(20)]
        )
        return "frames of 4000x4000", folder / "bomb.gif", held.getvalue()
    if which == "wav":
        content = bytearray(44)
        content[:4], content[8:16] = b"RIFF", b"WAVEfmt "
        content[16:36] = (
            (16).to_bytes(4, "little")
            + np.array([1, rng.choice((1, 65_535))], "<u2").tobytes()
            + (rng.choice((1, 2**31, 44_100))).to_bytes(4, "little")
            + bytes(4)
            + np.array([2, 16], "<u2").tobytes()
        )
        content[36:44] = b"data" + (2**32 - 1).to_bytes(4, "little")
        return "a head that claims 4 GB", folder / "bomb.wav", bytes(content) + bytes(1000)
    return (
        "one line of 10 MB",
        folder / "bomb.csv",
        b"time,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z\n" + b"9" * 10**7,
    )


def _deflated(rows: int, columns: int) -> bytes:
    import zlib

    data = pydicom.Dataset()
    data.Rows, data.Columns, data.BitsAllocated, data.BitsStored, data.HighBit = (
        rows % 2**16,
        columns % 2**16,
        8,
        8,
        7,
    )
    data.SamplesPerPixel, data.PixelRepresentation, data.PhotometricInterpretation = 1, 0, "MONOCHROME2"
    data.SOPClassUID, data.SOPInstanceUID = pydicom.uid.SecondaryCaptureImageStorage, "1.2.3"
    data.PixelData = bytes(16)
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    held = io.BytesIO()
    data.save_as(held, enforce_file_format=True)
    whole = held.getvalue()
    # The part that is deflated, with more behind it than anybody asked for.
    for start in range(132, len(whole)):
        try:
            plain = zlib.decompress(whole[start:], -15)
            break
        except zlib.error:
            continue
    else:
        return whole
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    end = plain[:-24] + b"\xe0\x7f\x10\x00OB\0\0" + (2**31).to_bytes(4, "little")
    packed = (
        packer.compress(end) + b"".join(packer.compress(bytes(2**24)) for _ in range(64)) + packer.flush()
    )
    return whole[:start] + packed
