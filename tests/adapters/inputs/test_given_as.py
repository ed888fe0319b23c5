"""What is given as bytes or as an open file is what its path is; homes and URLs in place of paths."""

from __future__ import annotations

import base64
import gc
import io
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from pydicom.data import get_testdata_file

import m2ib
from m2ib.contract.inputs import Item
from m2ib.errors import InputError, M2IBWarning
from m2ib_adapters.inputs.audio import AudioPreparation
from m2ib_adapters.inputs.depth import DepthPreparation
from m2ib_adapters.inputs.images import open_image
from m2ib_adapters.inputs.imu import ImuPreparation
from m2ib_adapters.inputs.thermal import ThermalPreparation
from m2ib_adapters.inputs.video import VideoPreparation
from tiny_clip import END, START

RNG = np.random.default_rng(0)
Prepare = Callable[[Any], Item]


def _image(raw: Any) -> Item:
    image, origin = open_image(raw)
    return Item(torch.from_numpy(np.array(image)), None, None, origin)  # type: ignore[arg-type]


def _photo(path: Path) -> None:
    Image.fromarray(RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path)


def _deep(path: Path) -> None:
    Image.fromarray(RNG.integers(500, 4000, (240, 250), dtype=np.uint16)).save(path)


def _dicom(path: Path) -> None:
    path.write_bytes(Path(get_testdata_file("CT_small.dcm")).read_bytes())


def _bare_dicom(path: Path) -> None:
    """Without the preamble and the mark."""
    path.write_bytes(Path(get_testdata_file("CT_small.dcm")).read_bytes()[132:])


def _metres(path: Path) -> None:
    np.save(path, RNG.uniform(1, 5, (240, 250)))


def _exr(path: Path) -> None:
    openexr = pytest.importorskip("OpenEXR")
    channels = {"Z": RNG.uniform(1, 5, (240, 250)).astype(np.float32)}
    openexr.File({"compression": openexr.ZIP_COMPRESSION}, channels).write(str(path))


def _sound(path: Path) -> None:
    soundfile.write(path, RNG.uniform(-0.5, 0.5, 2 * 16000), 16000)


def _stream(path: Path) -> None:
    """MP3 without a header that says how long it is, and nothing that libsndfile knows at its beginning."""
    _sound(path)
    path.write_bytes(b"ID3\x04\0\0\0\0\0\x08" + bytes(8) + path.read_bytes())


def _film(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 8 * number, np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _animation(path: Path) -> None:
    first, *others = (Image.new("RGB", (64, 48), (8 * n, 0, 99)) for n in range(20))
    first.save(path, save_all=True, append_images=others, duration=100, lossless=True)


def _table(path: Path) -> None:
    rows = RNG.normal((0, 0, 9.81, 0, 0, 0), 1, (2000, 6))
    lines = [",".join(map(str, (n / 400, *row))) for n, row in enumerate(rows)]
    path.write_text("\n".join(["time,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z", *lines]))


def _traces(path: Path) -> None:
    np.save(path, RNG.normal(0, 1, (6, 2000)) + np.array([0, 0, 9.81, 0, 0, 0])[:, None])


KINDS: dict[str, tuple[Callable[[Path], None], Prepare]] = {
    "photo.png": (_photo, _image),
    "scan.dcm": (_dicom, _image),
    "bare.dcm": (_bare_dicom, _image),
    "room.png": (_deep, DepthPreparation().prepare),
    "room.npy": (_metres, DepthPreparation().prepare),
    "room.exr": (_exr, DepthPreparation().prepare),
    "heat.tif": (_deep, ThermalPreparation().prepare),
    "bark.wav": (_sound, AudioPreparation().prepare),
    "stream.mp3": (_stream, AudioPreparation().prepare),
    "dog.mp4": (_film, VideoPreparation().prepare),
    "dog.webp": (_animation, VideoPreparation().prepare),
    "walk.csv": (_table, ImuPreparation().prepare),
    "walk.npy": (_traces, ImuPreparation().prepare),
}


def _warned(prepare: Prepare, raw: Any) -> tuple[Item, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", M2IBWarning)
        item = prepare(raw)
    return item, [str(each.message) for each in caught]


@pytest.mark.parametrize("name", KINDS)
def test_bytes_and_open_files_are_what_their_path_is(name: str, tmp_path: Path) -> None:
    write, prepare = KINDS[name]
    path = tmp_path / name
    write(path)
    content = path.read_bytes()
    expected, warned = _warned(prepare, path)
    unnamed = io.BytesIO(content)
    unnamed.seek(len(content) // 2)
    with path.open("rb") as opened, tempfile.TemporaryFile() as temporary:
        temporary.write(content)  # and not rewound
        given = {
            "bytes": (content, "bytes", "bytes"),
            "memoryview": (memoryview(content), "bytes", "bytes"),
            "BytesIO": (unnamed, "file", "file"),
            "open": (opened, str(path), "file"),
            "temporary": (temporary, "file", "file"),
        }
        for how, (raw, source, given_as) in given.items():
            item, said = _warned(prepare, raw)
            assert torch.equal(item.inputs, expected.inputs), how  # type: ignore[arg-type]
            assert item.layout == expected.layout
            own = {"source": source, "given_as": given_as, "sha256": sha256(content).hexdigest()}
            assert item.origin == {**expected.origin, **own}, how
            assert said == [text.replace(f" {str(path)!r}", "") if how != "open" else text for text in warned]
        assert not opened.closed
        assert opened.tell() == 0
    assert unnamed.tell() == len(content) // 2


def test_members_of_archives_and_streams(tmp_path: Path) -> None:
    _photo(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    expected = open_image(tmp_path / "a.png")[0]
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "inner/a.png")
    with tarfile.open(tmp_path / "all.tar", "w") as tar:
        tar.add(tmp_path / "a.png", "inner/a.png")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive, archive.open("inner/a.png") as member:
        image, origin = open_image(member)
        assert image == expected
        assert origin["source"] == "inner/a.png"
    with tarfile.open(tmp_path / "all.tar") as tar:
        assert open_image(tar.extractfile("inner/a.png"))[0] == expected

    class Body(io.RawIOBase):  # as of a response: no way back
        def __init__(self) -> None:
            self._rest = io.BytesIO(content)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            return self._rest.readinto(buffer)

    body = Body()
    assert open_image(body)[0] == expected
    with pytest.raises(InputError, match=r"^image is empty: its stream holds nothing, or was read before$"):
        open_image(body)


def test_open_files_that_cannot_be_read(tmp_path: Path) -> None:
    _photo(path := tmp_path / "a.png")
    closed = path.open("rb")
    closed.close()
    with path.open(encoding="utf-8") as text, (tmp_path / "new.png").open("wb") as writing:
        for raw, said in {
            text: f"image '{path}' is open as text; open it for bytes, as in open(path, 'rb')",
            closed: f"image '{path}' cannot be read from its open file: I/O operation on closed file",
            writing: f"image '{tmp_path / 'new.png'}' is not open for reading; open it for bytes, as in open(path, 'rb')",
            io.BytesIO(): "image is empty: 0 bytes",
        }.items():
            with pytest.raises(InputError) as caught:
                open_image(raw)
            assert str(caught.value) == said
    for prepare, kind in ((_image, "image"), (AudioPreparation().prepare, "audio")):
        with pytest.raises(InputError, match=f"^{kind} is "):
            prepare(b"neither a picture nor a sound")


def test_copies_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "copies"))
    (tmp_path / "copies").mkdir()
    for name, (write, prepare) in KINDS.items():
        if name not in ("room.exr", "bare.dcm"):
            write(tmp_path / name)
            _warned(prepare, (tmp_path / name).read_bytes())
    gc.collect()
    assert not list((tmp_path / "copies").iterdir())


def test_a_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("PHOTOS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("photo.png", "room.npy", "bark.wav", "dog.mp4", "walk.csv"):
        write, prepare = KINDS[name]
        write(tmp_path / name)
        assert prepare(f"~/{name}").origin == prepare(tmp_path / name).origin
        assert prepare(Path("~", name)).origin["source"] == str(tmp_path / name)
    with pytest.raises(InputError, match=r"^image '\$PHOTOS/photo.png' does not exist"):
        open_image("$PHOTOS/photo.png")
    with pytest.raises(InputError, match=r"^image '.*nobody-of-this-name/photo.png' does not exist"):
        open_image("~nobody-of-this-name/photo.png")


@pytest.mark.parametrize("kind", ["image", "depth", "thermal", "audio", "video", "imu"])
def test_urls_are_not_fetched(kind: str, tmp_path: Path) -> None:
    prepare: Prepare = {
        "image": _image,
        "depth": DepthPreparation().prepare,
        "thermal": ThermalPreparation().prepare,
        "audio": AudioPreparation().prepare,
        "video": VideoPreparation().prepare,
        "imu": ImuPreparation().prepare,
    }[kind]
    for url in ("https://x.org/a%20b.png", "HTTP://x.org/a", "ftp://x/a", "s3://x/a", "gs://x/a", "hf://x/a"):
        with pytest.raises(InputError) as caught:
            prepare(url)
        assert str(caught.value) == (
            f"{kind} '{url}' is a URL, and nothing is fetched; download it and give the path"
        )
    with pytest.raises(InputError, match=r"^\w+ 'https:/x.org/a.png' is a URL, and nothing is fetched"):
        prepare(Path("https://x.org/a.png"))  # which has lost a slash
    with pytest.raises(InputError) as caught:
        prepare((tmp_path / "a b.png").as_uri())
    assert str(caught.value).endswith(f"is a URL; give the path, '{tmp_path / 'a b.png'}'")
    data = "data:image/png;base64," + base64.b64encode(bytes(3000)).decode()
    with pytest.raises(InputError) as caught:
        prepare(data)
    assert str(caught.value) == (
        f"{kind} '{data[:60]} ...' is a URL that holds its data itself; give the bytes, "
        "base64.b64decode(url.partition(',')[2])"
    )


def test_a_folder_that_looks_like_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data:").mkdir()
    _photo(tmp_path / "data:" / "a.png")
    assert open_image("data:/a.png")[1]["source"] == "data:/a.png"


def test_a_page_names_bytes_only_where_they_have_a_name(clip64: m2ib.Model, tmp_path: Path) -> None:
    _photo(tmp_path / "a.png")
    ids = torch.tensor([START, 5, END])
    with (tmp_path / "a.png").open("rb") as opened:
        by_file = m2ib.explain(clip64, image=opened, text=ids, steps=1, samples=1)
    by_bytes = m2ib.explain(clip64, image=(tmp_path / "a.png").read_bytes(), text=ids, steps=1, samples=1)
    assert np.array_equal(by_file["image"].grid, by_bytes["image"].grid)
    assert '<span class="name">a.png</span>' in by_file.to_html(tmp_path / "file.html").read_text()
    page = by_bytes.to_html(tmp_path / "bytes.html").read_text()
    assert '<span class="name">' not in page
    assert "<td>bytes</td>" in page
    assert by_bytes.with_boxes([(1, 2, 3, 4)])["image"].view.boxes
