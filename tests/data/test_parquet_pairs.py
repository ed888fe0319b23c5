"""Pairs out of Parquet: one file, folders and patterns; texts, paths and media in the cells."""

from __future__ import annotations

import io
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from m2ib import Box
from m2ib.data import Pairs, open_pairs
from m2ib.errors import InputError, SettingError


def png(size: tuple[int, int] = (8, 6)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size).save(file, "PNG")
    return file.getvalue()


def write(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, **options)
    return path


def bad(pairs: Pairs) -> list[str]:
    return [str(row) for row in pairs.bad]


def test_paths_texts_ids_and_boxes_as_pandas_writes_them(tmp_path: Path, draw: Any) -> None:
    image = draw("photos/a.png")
    table = pandas.DataFrame(
        {
            "id": [7, 8, 7, 9, 10],
            "text": ["Zürich 東京", None, "three", "four", "five"],
            "image": ["photos/a.png", str(image), str(image), "gone.png", "https://x.org/a.png"],
            "boxes": [[[1.0, 2.0, 3.0, 4.0]], [], None, [], []],
            "other": [float("nan")] * 5,
        }
    )
    table.to_parquet(tmp_path / "P.PARQUET")
    pairs = open_pairs(tmp_path / "P.PARQUET")
    assert (pairs.name, pairs.modalities, pairs.located) == ("P", ("text", "image"), True)
    (pair,) = pairs
    assert (pair.id, pair.boxes) == ("7", (Box(1, 2, 3, 4),))
    assert pair.inputs == (("text", "Zürich 東京"), ("image", image))
    assert bad(pairs) == [
        "row 1: its text is empty",
        "row 2: its id '7' is that of row 0",
        f"row 3: there is no image {str(tmp_path / 'gone.png')!r}",
        "row 4: its image 'https://x.org/a.png' is a URL, and nothing is fetched; download it and give the path",
    ]


def test_media_in_the_cells(tmp_path: Path, draw: Any) -> None:
    draw("a.png", (5, 4))
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = [(png(), "x.png"), (None, "a.png"), (b"<html>", None), (b"", None)]
    pictures = pa.array([dict(zip(("bytes", "path"), cell, strict=True)) for cell in cells], kind)
    path = write(
        tmp_path / "p.parquet", {"image": pictures, "text": pa.array(list("abcd")).dictionary_encode()}
    )
    pairs = open_pairs(path)
    first, second = pairs
    assert (first.inputs[0][1].size, second.inputs[0][1]) == ((8, 6), tmp_path / "a.png")
    assert bad(pairs) == [
        "row 2: its image is no image that can be read",
        "row 3: its image holds neither bytes nor a path",
    ]
    depth = pa.array([[[1, 2], [3, 4]]], pa.list_(pa.list_(pa.int16())))
    path = write(tmp_path / "d.parquet", {"picture": [png((3, 2))], "depth": depth})
    ((_, picture), (_, field)) = next(iter(open_pairs(path, columns="image=picture,depth=depth"))).inputs
    assert (picture.size, field.dtype, field.tolist()) == ((3, 2), np.int16, [[1, 2], [3, 4]])


def test_what_is_not_utf8_spoils_its_row_alone(tmp_path: Path) -> None:
    buffers = pa.array([b"ok", b"\xff\xfe", b"yes"]).buffers()
    texts = pa.Array.from_buffers(pa.string(), 3, buffers)
    pairs = open_pairs(write(tmp_path / "p.parquet", {"text_1": texts, "text_2": list("abc")}))
    assert [pair.inputs[0][1] for pair in pairs] == ["ok", "yes"]
    assert bad(pairs) == ["row 1: it is not UTF-8 text"]


def test_many_files(tmp_path: Path) -> None:
    two = {"text_1": ["a", "b"], "text_2": ["c", "d"]}
    write(tmp_path / "d" / "train-00.parquet", two)
    write(tmp_path / "d" / "train-01.parquet", two)
    write(tmp_path / "d" / "test-00.parquet", two)
    for name in ("_metadata.parquet", "._train-02.parquet", "_SUCCESS"):
        (tmp_path / "d" / name).touch()
    for given, name, ids, places in (
        (f"{tmp_path}/d/train-*.parquet", "d/train-*", 4, ["train-00.parquet", "train-01.parquet"]),
        (
            f"{tmp_path}/d/train-{{01..00}}.parquet",
            "d/train-{01..00}",
            4,
            ["train-01.parquet", "train-00.parquet"],
        ),
        (
            f"{tmp_path}/d/{{train,test}}-00.parquet",
            "d/{train,test}-00",
            4,
            ["train-00.parquet", "test-00.parquet"],
        ),
    ):
        pairs = open_pairs(given)
        assert (pairs.name, pairs.total()) == (name, ids)
        assert [pair.id for pair in pairs] == [str(number) for number in range(ids)]
        assert [place for place, _ in pairs.each()] == [f"{p}: row {n}" for p in places for n in range(2)]
    write(tmp_path / "d" / "k=1" / "train-02.parquet", two)
    pairs = open_pairs("parquet", path=tmp_path / "d")
    assert (pairs.name, pairs.total(), len(list(pairs))) == ("d", 8, 8)
    for given, reason in (
        (
            f"{tmp_path}/d/train-{{00..02}}.parquet",
            "train-02.parquet' cannot be read: No such file or directory",
        ),
        (f"{tmp_path}/d/none-*.parquet", "none-*.parquet': there is no file that ends in .parquet"),
        (f"{tmp_path}/d/{{0..9999999}}.parquet", "stands for more than 1,000,000 files"),
    ):
        with pytest.raises(InputError) as caught:
            open_pairs(given)
        assert str(caught.value).endswith(reason)


def test_files_that_are_damaged(tmp_path: Path) -> None:
    texts = {"text_1": [str(n) for n in range(64)], "text_2": ["x"] * 64}
    path = write(tmp_path / "0.parquet", texts, row_group_size=32)
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + 20] = b"\xff" * 20
    path.write_bytes(content)
    write(tmp_path / "1.parquet", {"text_1": ["a"]})
    (tmp_path / "2.parquet").write_text("text_1,text_2\n")
    write(tmp_path / "3.parquet", {"text_1": ["a"], "text_2": ["b"]})
    pairs = open_pairs(f"{tmp_path}/*.parquet")
    assert [pair.id for pair in pairs] == [*(str(n) for n in range(32)), "65"]
    assert pairs.total() == 64 + 1 + 1 + 1
    places, reasons = zip(*((row.place, row.reason) for row in pairs.bad), strict=True)
    assert places == ("0.parquet: row 32", "1.parquet: row 0", "2.parquet: row 0")
    assert f"{path}' is damaged: " in reasons[0]
    assert (
        "1.parquet' lacks the column 'text_2'; it has 'text_1'; what follows in this file is left out"
        in reasons[1]
    )
    assert "2.parquet' is no Parquet file that can be read: " in reasons[2]
    with pytest.raises(InputError, match="is no Parquet file that can be read"):
        open_pairs(tmp_path / "2.parquet")


def test_a_row_group_is_not_held_at_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    columns = {
        "image": [png() + rng.bytes(2**19) for _ in range(64)],
        "text": ["a"] * 64,
        "other": [rng.bytes(2**19)] * 64,
    }
    path = write(tmp_path / "p.parquet", columns, write_batch_size=1, use_dictionary=False)
    del columns
    assert path.stat().st_size > 2**25
    tracemalloc.start()
    pairs = open_pairs(path)
    assert sum(1 for _ in pairs) == 64
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**23


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "p.parquet", {"text_1": ["a"], "text_2": ["b"]})
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(SettingError) as caught:
        open_pairs(path)
    assert str(caught.value) == "data format 'parquet' needs pyarrow: pip install 'm2ib[run]'"
