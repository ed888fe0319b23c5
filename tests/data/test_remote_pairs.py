"""Tables and tars behind URLs that the user gave, by fsspec, and what cells of them may name."""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import m2ib
from m2ib.data import Pairs, open_pairs
from m2ib.errors import InputError, SettingError


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    system.pipe("/d/in/ä b.png", picture())
    yield system
    system.rm("/", recursive=True)


def parquet(columns: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def tar(*keys: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in (
            (f"{key}.{end}", c) for key in keys for end, c in (("png", picture()), ("txt", b"x"))
        ):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def said(pairs: Pairs) -> list[tuple[str, Any, str]]:
    return [(pair.id, pair.inputs[0][1].name, pair.inputs[1][1]) for pair in pairs]


def bad(pairs: Pairs) -> list[str]:
    return [str(row) for row in pairs.bad]


def test_tables_and_what_lies_beside_them(memory: Any, clip64: m2ib.Model) -> None:
    memory.pipe("/d/p.csv", "\ufeffimage,text\nin/ä b.png,one\n./in/x/../ä b.png,two\n".encode())
    memory.pipe("/d/p.jsonl", '{"image": "in/ä b.png", "text": "one"}'.encode())
    memory.pipe("/d/t-0.parquet", parquet({"image": ["in/ä b.png"], "text": ["one"]}))
    memory.pipe("/d/t-1.parquet", parquet({"image": ["memory://d/in/ä b.png"], "text": ["two"]}))
    image = "memory://d/in/ä b.png"
    for url, name, texts in (
        ("memory://d/p.csv", "p", ["one", "two"]),
        ("memory://d/p.jsonl", "p", ["one"]),
        ("memory://d/t-1.parquet", "t-1", ["two"]),
        ("memory://d/t-*.parquet", "d/t-*", ["one", "two"]),
        ("memory://d/t-{1..0}.parquet", "d/t-{1..0}", ["two", "one"]),
        ("simplecache::memory://d/p.csv", "p", ["one", "two"]),
    ):
        pairs = pickle.loads(pickle.dumps(open_pairs(url)))
        assert (pairs.name, pairs.total()) == (name, len(texts))
        assert said(pairs) == [(str(n), image, text) for n, text in enumerate(texts)]
        assert pairs.bad == []
    memory.pipe("/d/_metadata.parquet", b"")
    assert len(list(open_pairs("parquet", path="memory://d"))) == 2
    (pair,) = open_pairs("memory://d/p.jsonl")
    assert pair.inputs[0][1].getvalue() == picture()
    origin = clip64.item(*pair.inputs[0]).origin
    assert (origin["source"], origin["size"]) == (image, [40, 30])


def test_nothing_else_is_asked_for(memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a cell says: it is from the table's folder, or refused."""
    (tmp_path / "a.png").write_bytes(picture())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("/a.png", "/dd/a.png", "/d/in/a.png"):
        memory.pipe(name, picture())
    cells = [
        "../a.png", "in/../../a.png", "..\\a.png", "/a.png", f"{tmp_path}/a.png", "~/a.png", "memory://a.png", "memory://dd/a.png",
        "memory://d/../a.png", f"file://{tmp_path}/a.png", "https://x.org/a.png", "HTTP://x.org/a.png", "s3://x/a.png",
        "zip://a.png::memory://d/x.zip", "simplecache::memory://a.png", "data:image/png;base64 AA", "..",
    ]  # fmt: skip
    memory.pipe(
        "/d/p.csv", "\n".join(["image,text", *(f"{cell},x" for cell in cells), "a.png,x", "in,x"]).encode()
    )
    pairs = open_pairs("memory://d/p.csv")
    assert list(pairs) == []
    for row, cell in zip(pairs.bad, cells, strict=False):
        assert row.reason == (
            f"its image {cell!r} does not lie in the folder of the table, from which alone files are read; give a path from "
            "there on, or download the data"
        )
    assert bad(pairs)[-2:] == [
        f"line {len(cells) + 2}: the image 'memory://d/a.png' cannot be read: No such file or directory",
        f"line {len(cells) + 3}: the image 'memory://d/in' cannot be read: No such file or directory",
    ]


def test_archives(memory: Any, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("sub/p.csv", "image,text\na.png,one\n../b.png,two\nzip://sub/a.png,three\n")
        archive.writestr("sub/a.png", picture())
        archive.writestr("b.png", picture())
        archive.writestr("s.tar", tar("k"))
        archive.writestr("t/0.parquet", parquet({"text_1": ["a"], "text_2": ["b"]}))
    memory.pipe("/x.zip", (tmp_path / "x.zip").read_bytes())
    for where in (str(tmp_path / "x.zip"), (tmp_path / "x.zip").as_uri(), "memory://x.zip"):
        pairs = open_pairs(f"zip://sub/p.csv::{where}")
        assert said(pairs) == [("0", "zip://sub/a.png", "one"), ("2", "zip://sub/a.png", "three")]
        assert [row.place for row in pairs.bad] == ["line 3"]
        assert said(open_pairs(f"zip://s.tar::{where}")) == [("k", "zip://s.tar/k.png", "x")]
        (pair,) = open_pairs(f"zip://t/*.parquet::{where}")
        assert pair.inputs == (("text", "a"), ("text", "b"))


def test_tars(memory: Any) -> None:
    memory.pipe("/s/0.tar", tar("a", "b"))
    memory.pipe("/s/1.tar", tar("c")[:800])
    for url, options in (
        ("memory://s/{0..2}.tar", {}),
        ("memory://s/*.tar", {}),
        ("webdataset", {"path": "memory://s"}),
    ):
        pairs = open_pairs(url, **options)
        assert [pair.id for pair in pairs] == ["a", "b"]
        assert bad(pairs)[0] == "1.tar: c: it has no text: there is 'png'"
        assert bad(pairs)[1].startswith("1.tar: its end: data 'memory://s/1.tar' is damaged or cut off: ")
    pairs = open_pairs("memory://s/{0..2}.tar")
    assert len(list(pairs)) == 2
    assert bad(pairs)[2].startswith(
        "2.tar: its end: data 'memory://s/2.tar' cannot be read: No such file or directory"
    )


def test_a_file_url_is_its_path(tmp_path: Path, draw: Any) -> None:
    image = draw("a b/c.png")
    (tmp_path / "a b" / "p.csv").write_text(
        f"image,text\nc.png,one\n{image},two\nhttps://x.org/a.png,three\n"
    )
    pairs = open_pairs((tmp_path / "a b" / "p.csv").as_uri())
    assert [pair.inputs[0][1] for pair in pairs] == [image, image]
    assert bad(pairs) == [
        "line 4: its image 'https://x.org/a.png' is a URL, and nothing is fetched; download it and give the path"
    ]


@pytest.mark.parametrize(
    ("given", "options", "error", "reason"),
    [
        ("memory://d/gone.csv", {}, InputError, "data 'memory://d/gone.csv' cannot be read: No such file or directory"),
        ("memory://d/gone-*.parquet", {}, InputError, "data 'memory://d/gone-*.parquet': there is no file that ends in .parquet"),
        ("zip://p.csv::/gone.zip", {}, InputError, "data 'zip://p.csv::/gone.zip' cannot be read: No such file or directory"),
        ("nothing://d/p.csv", {}, InputError, "data 'nothing://d/p.csv' cannot be read: Protocol not known: nothing"),
        ("gdrive://d/p.csv", {}, SettingError, "data 'gdrive://d/p.csv' needs a package that is missing: Please install gdrive_fs"),
        (Path("memory://d/p.csv"), {}, SettingError, "data: path='memory:/d/p.csv' is a URL that lost a slash as a Path; give it as"),
        ("memory://d/p.txt", {}, SettingError, "data: 'memory://d/p.txt' is neither a format nor a file with the suffix .csv"),
        ("folder", {"path": "memory://d"}, InputError, "data: path='memory://d' is a URL, and nothing is fetched; download it"),
        ("roco", {"captions": "https://x/c.txt"}, InputError, "data: captions='https://x/c.txt' is a URL, and nothing is fetched"),
    ],
)  # fmt: skip
def test_what_is_refused(
    memory: Any, given: Any, options: dict[str, Any], error: type[Exception], reason: str
) -> None:
    with pytest.raises(error) as caught:
        open_pairs(given, **options)
    assert str(caught.value).startswith(reason)
