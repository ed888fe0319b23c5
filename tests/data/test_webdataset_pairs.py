"""Pairs out of WebDataset's tar files, whole, damaged and cut off."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import m2ib
from m2ib.data import Pairs, open_pairs
from m2ib.errors import InputError, SettingError

Members = list[tuple[str, bytes]]


def picture(kind: str = "PNG", size: tuple[int, int] = (8, 6)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "red").save(file, kind)
    return file.getvalue()


def tar(path: Path, members: Members, mode: Any = "w", links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return path


def texts(pairs: Pairs) -> list[tuple[str, str]]:
    return [(pair.id, pair.inputs[1][1]) for pair in pairs]


def bad(pairs: Pairs) -> list[str]:
    return [str(row) for row in pairs.bad]


SAMPLES = [
    ("./a.JPG", picture("JPEG")),
    ("./a.txt", "\ufeffzwölf Dächer\n".encode()),
    ("./a.json", b'{"caption": "a roof", "meta": {"deep": "a house"}}'),
    (".DS_Store", b"x"),
    ("__MACOSX/._b.png", b"x"),
    ("README", b"x"),
    ("sub/b c.png", picture("WEBP")),  # a wrong suffix
    ("sub/b c.seg.png", picture()),
    ("sub/b c.txt", b"two"),
    ("東京.webp", picture("WEBP")),
    ("東京.txt", b"three"),
]
BROKEN: list[tuple[Members, str]] = [
    ([("c.jpg", b"<html>"), ("c.txt", b"x")], "c: its jpg is no image that can be read"),
    ([("d.jpg", picture()), ("d.json", b"{}")], "d: it has no text: there is 'jpg', 'json'"),
    ([("e.txt", b"x")], "e: it has no image: there is 'txt'"),
    ([("f.jpg", picture()), ("f.txt", b" \n")], "f: its text is empty"),
    ([("g.jpg", picture()), ("g.txt", b"\xff\xfe")], "g: its text is not UTF-8 text"),
    (
        [("h.jpg", picture()), ("h.png", picture()), ("h.txt", b"x")],
        "h: it has image more than once: 'jpg', 'png'",
    ),
    ([("i.jpg", picture()), ("i.jpg", picture()), ("i.txt", b"x")], "i: it has jpg twice"),
    ([("j.jpg", b""), ("j.txt", b"x")], "j: its jpg is empty: the file holds 0 bytes"),
    ([("a.jpg", picture()), ("a.txt", b"x")], "a: its id 'a' is that of an earlier row"),
]


@pytest.mark.parametrize(("name", "mode"), [("s.tar", "w"), ("s.tar.gz", "w:gz"), ("S.TGZ", "w:gz")])
def test_samples(tmp_path: Path, name: str, mode: str) -> None:
    members = SAMPLES + [member for some, _ in BROKEN for member in some]
    path = tar(tmp_path / name, members, mode, {"k.jpg": "a.jpg"})
    pairs = open_pairs(path)
    assert (pairs.name.lower(), pairs.modalities, pairs.located, pairs.total()) == (
        "s",
        ("image", "text"),
        False,
        None,
    )
    wanted = [("a", "zwölf Dächer"), ("sub/b c", "two"), ("東京", "three")]
    assert texts(pairs) == texts(pairs) == wanted
    assert bad(pairs) == [
        *(reason for _, reason in BROKEN),
        "k: its jpg is a link to 'a.jpg', which a stream cannot follow",
    ]
    (_, image), _ = next(iter(pairs)).inputs
    assert (image.name, image.getvalue()) == (f"{path}/a.jpg", SAMPLES[0][1])


def test_endings_are_chosen(tmp_path: Path) -> None:
    path = tar(tmp_path / "s.tar", SAMPLES)
    assert texts(open_pairs(path, columns="image=jpg;png,text=json.caption")) == [("a", "a roof")]
    pairs = open_pairs(path, columns={"image": "jpg", "text": "json.meta.deep"})
    assert texts(pairs) == [("a", "a house")]
    assert bad(pairs)[0] == "sub/b c: it has no image (jpg): there is 'png', 'seg.png', 'txt'"
    pairs = open_pairs(path, columns="image_1=png,image_2=seg.png")
    assert [[raw.name for _, raw in pair.inputs] for pair in pairs] == [
        [f"{path}/sub/b c.png", f"{path}/sub/b c.seg.png"]
    ]
    pairs = open_pairs(path, columns="image=jpg,text=json.none")
    assert (list(pairs), bad(pairs)[0]) == ([], "a: its json lacks 'none'")
    with pytest.raises(SettingError, match=r"columns: image=json\.x is no text; JSON holds texts alone$"):
        open_pairs(path, columns="image=json.x,text=txt")
    sounds = [
        ("a.flac", b"x"),
        ("a.depth.png", picture()),
        ("a.txt", b"x"),
        ("b.flac", b"x"),
        ("b.txt", b"y"),
    ]
    with pytest.raises(
        InputError, match=r"has 'audio', 'depth', 'text' beside each other; choose two by their endings"
    ):
        open_pairs(tar(tmp_path / "t.tar", sounds))
    pairs = open_pairs(tmp_path / "t.tar", columns="audio=flac,depth=depth.png")
    assert (pairs.modalities, [pair.id for pair in pairs]) == (("audio", "depth"), ["a"])


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([], "holds no files whose names say what they are"),
        ([("README", b"x")], "holds no files whose names say what they are"),
        (
            [("a.jpg", b"x"), ("b.jpg", b"x"), ("a.txt", b"x")],
            "holds no two files of one name that end so; names end in 'jpg', 'txt'. Choose two by their endings",
        ),
    ],
)
def test_tars_of_no_samples(tmp_path: Path, members: Members, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        open_pairs(tar(tmp_path / "s.tar", members))
    assert str(caught.value).startswith(f"data {str(tmp_path / 's.tar')!r} {reason}")


def test_what_is_no_tar(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    for content in (b"", b"text" * 1000, gzip.compress(b"text" * 1000)):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"s\.tar' is no tar that can be read: "):
            open_pairs(path)
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**33
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT))
    with pytest.raises(
        InputError, match=r"s\.tar' is no tar that can be read: ReadError: a name of 8,589,934,592 bytes$"
    ):
        open_pairs(path)


SOON = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PLAIN: Members = [(f"{n}.{end}", end.encode() * (9 + 300 * n)) for n in range(4) for end in ("flac", "txt")]


@SOON
@given(st.booleans(), st.floats(0, 1))
def test_a_tar_that_is_cut_off_is_told(tmp_path: Path, compressed: bool, share: float) -> None:
    """Wherever that is: what is whole before it is read, and nothing after it is lost without a word."""
    path = tar(tmp_path / "s.tar", PLAIN, "w:gz" if compressed else "w")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * (len(content) - 1))])
    told = re.compile(r"s\.tar' is (damaged or cut off|no tar that can be read): ")
    reasons, found = [], []
    try:
        pairs = open_pairs(path)
        found = [(pair.id, pair.inputs[0][1].getvalue()) for pair in pairs]
        reasons = [row.reason for row in pairs.bad]
    except InputError as error:
        reasons = [str(error)]
    whole = [(str(n), PLAIN[2 * n][1]) for n in range(4)]
    assert found == whole[: len(found)]
    if reasons or found != whole:
        assert told.search(reasons[-1])
        assert len(reasons) == 1 or reasons[:-1] == ["it has no text: there is 'flac'"]


def test_shards(tmp_path: Path) -> None:
    for shard in range(3):
        tar(tmp_path / f"s-{shard}.tar", [(f"{shard}{n}.{e}", c) for n in range(2) for e, c in (("jpg", picture()), ("txt", b"x"))])  # fmt: skip
    (tmp_path / "s-1.tar").write_bytes((tmp_path / "s-1.tar").read_bytes()[:3000])
    for path in (tmp_path / "s-{0..2}.tar", tmp_path / "s-*.tar"):
        pairs = open_pairs(path)
        assert [pair.id for pair in pairs] == ["00", "01", "10", "20", "21"]
        places = [row.place for row in pairs.bad]
        assert places == ["s-1.tar: 11", "s-1.tar: its end"]
    assert [pair.id for pair in open_pairs("webdataset", path=tmp_path)] == ["00", "01", "10", "20", "21"]


def test_memory_does_not_grow_with_the_tar(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    with tarfile.open(path, "w") as archive:
        for number in range(3000):
            for end, size in (("flac", 10_000), ("txt", 5), ("other", 10_000)):
                info = tarfile.TarInfo(f"{number:06d}.{end}")
                info.size = size
                archive.addfile(info, io.BytesIO(b"x" * size))
    tracemalloc.start()
    pairs = open_pairs(path)
    assert sum(1 for _ in pairs) == 3000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**21


def test_a_member_is_explained_as_its_file_is(tmp_path: Path, clip64: m2ib.Model) -> None:
    pixels = np.random.default_rng(0).integers(0, 2**16, (40, 50), dtype=np.uint16)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    (tmp_path / "a.png").write_bytes(file.getvalue())
    (pair,) = open_pairs(tar(tmp_path / "s.tar", [("a.png", file.getvalue()), ("a.txt", b"x")]))
    item, same = (clip64.item("image", raw) for raw in (pair.inputs[0][1], tmp_path / "a.png"))
    assert bool((item.inputs == same.inputs).all())
    assert item.origin["source"] == f"{tmp_path}/s.tar/a.png"
