"""Formats by name, parts of data, and what importing costs."""

from __future__ import annotations

import inspect
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from m2ib.data import FORMATS, BadRow, Pair, Pairs, Row, open_pairs, take
from m2ib.data.seen import SeenIds
from m2ib.errors import InputError, SettingError

NAMES = [
    "csv", "jsonl", "parquet", "webdataset", "folder", "coco", "conceptual-captions", "ms-cxr", "roco", "rsicd", "huggingface",
    "scenes",
]  # fmt: skip


def test_importing_and_listing_cost_little() -> None:
    program = (
        "import sys, m2ib.data; print(list(m2ib.data.FORMATS)); "
        "print([name for name in ('torch', 'datasets', 'PIL', 'matplotlib', 'pyarrow', 'fsspec') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == f"{NAMES}\n[]\n"


@pytest.mark.parametrize("name", list(FORMATS))
def test_formats_say_all_their_options(name: str) -> None:
    known = FORMATS[name]
    parameters = inspect.signature(known.open).parameters
    assert list(parameters) == list(known.options)
    assert tuple(p for p in parameters if parameters[p].default is inspect.Parameter.empty) == known.needs
    for line in (known.summary, *known.options.values()):
        assert line
        assert "\n" not in line


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        (
            "ms-cxt",
            {},
            "data: 'ms-cxt' is neither a format nor a file with the suffix .csv, .tsv, .tab, .jsonl, .ndjson, .parquet, .tar, "
            ".tar.gz, .tgz, .tar.bz2, .tar.xz; did you mean 'ms-cxr'? The formats are " + ", ".join(NAMES),
        ),
        ("pairs.txt", {}, "data: 'pairs.txt' is neither a format nor a file with the suffix .csv"),
        (
            "ms-cxr",
            {"boxs": "a.csv", "images": "b"},
            "data format 'ms-cxr' has no option 'boxs'; did you mean 'boxes'? It has boxes, images",
        ),
        ("ms-cxr", {"images": "b"}, "data format 'ms-cxr' needs boxes: MS-CXR's CSV or COCO JSON"),
        (
            "ms-cxr",
            {"images": "b", "boxes": None},
            "data format 'ms-cxr' needs boxes: MS-CXR's CSV or COCO JSON",
        ),
        ("csv", {}, "data format 'csv' needs path: the .csv or .tsv file; paths in it begin in its folder"),
        ("a.csv", {"images": "b"}, "data format 'csv' has no option 'images'. It has path, columns"),
        (
            "a.csv",
            {"text": "words"},
            "data format 'csv' has no option 'text'; columns are chosen together, as in columns='text=words,image=file' "
            "(data.columns=text=words,image=file). It has path, columns",
        ),
        ("a.csv", {"path": "b.csv"}, "data: 'a.csv' is a path, and path='b.csv' is another; give one"),
        ("csv", {"path": 3}, "data: path=3 is no path"),
        ("csv", {"path": ""}, "data: path='' is no path"),
    ],
)
def test_what_is_refused(name: str, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(SettingError) as caught:
        open_pairs(name, **options)
    assert str(caught.value).startswith(reason)


def test_an_option_of_none_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "P.CSV"
    path.write_text("text_1,text_2\na,b\n")
    assert [pair.id for pair in open_pairs(path, columns=None)] == ["0"]
    assert [pair.id for pair in open_pairs("csv", path=str(path))] == ["0"]


def counting(total: int = 10) -> tuple[Pairs, list[int]]:
    """Pairs whose every third row is bad, and the rows that were looked at."""
    looked: list[int] = []

    def read(number: int) -> Pair:
        looked.append(number)
        if number % 3 == 2:
            raise InputError("it is a third")
        return Pair(str(number), (("text", "a"), ("text", "b")))

    def rows() -> Iterator[Row]:
        for number in range(total):
            yield Row(f"row {number}", lambda number=number: read(number))  # type: ignore[misc]

    return Pairs("thirds", ("text", "text"), rows, located=True), looked


def test_bad_rows_are_listed_once() -> None:
    pairs, _ = counting()
    assert repr(pairs) == "Pairs('thirds', text and text)"
    wanted = ["0", "1", "3", "4", "6", "7", "9"]
    for _ in range(2):
        assert [pair.id for pair in pairs] == wanted
        assert pairs.bad == [BadRow(f"row {number}", "it is a third") for number in (2, 5, 8)]
    assert str(pairs.bad[0]) == "row 2: it is a third"


def test_a_part() -> None:
    pairs, looked = counting()
    part = take(pairs, 3, skip=1)
    assert (part.name, part.modalities, part.located, looked) == ("thirds", ("text", "text"), True, [])
    for _ in range(2):
        looked.clear()
        assert [pair.id for pair in part] == ["1", "3", "4"]
        assert looked == [0, 1, 2, 3, 4]
        assert part.bad == pairs.bad == [BadRow("row 2", "it is a third")]
    assert [pair.id for pair in take(part, 1, skip=1)] == ["3"]
    assert [pair.id for pair in take(pairs, None, skip=5)] == ["7", "9"]
    assert list(take(pairs, 0)) == []
    assert list(take(pairs, 5, skip=99)) == []
    assert [row.place for row in part.bad] == ["row 2", "row 5", "row 8"]


@pytest.mark.parametrize("cuts", [(0, 3, 5), (0, 2), (0, 1, 7), (0, 0, 4)])
def test_parts_that_follow_each_other_share_no_row(cuts: tuple[int, ...]) -> None:
    pairs, _ = counting()
    whole = [(place, str(getattr(found, "id", found))) for place, found in pairs.each()]
    rows = []
    for start, stop in pairwise((*cuts, None)):
        part = take(pairs, None if stop is None else stop - start, skip=start)
        found = list(part.each())
        assert [f.id for _, f in found if isinstance(f, Pair)] == [pair.id for pair in part]
        rows += [(place, str(getattr(each, "id", each))) for place, each in found]
    assert rows == whole


def test_how_many_rows_a_part_has() -> None:
    rows, _ = counting()
    whole = Pairs(rows.name, rows.modalities, rows._rows, total=lambda: 10)
    assert (rows.total(), take(rows, None).total()) == (None, None)
    assert [take(whole, n).total() for n in (None, 10, 9)] == [10, 10, None]
    assert [len(list(take(whole, n).each())) for n in (None, 10)] == [10, 10]
    assert take(whole, None, skip=1).total() is None


def test_ids_that_were_there_before() -> None:
    def rows() -> Iterator[Row]:
        for place, name in (
            ("line 1", "a"),
            ("line 02", "b"),
            ("line 3", "a"),
            ("line 4", "b"),
            ("line 5", "a"),
        ):
            yield Row(place, lambda name=name: Pair(name, (("text", "a"), ("text", "b"))))  # type: ignore[misc]

    pairs = Pairs("twice", ("text", "text"), rows)
    assert [pair.id for pair in pairs] == ["a", "b"]
    assert [str(row) for row in pairs.bad] == [
        "line 3: its id 'a' is that of line 1",
        "line 4: its id 'b' is that of an earlier row",
        "line 5: its id 'a' is that of line 1",
    ]


def test_many_ids_take_little_memory() -> None:
    ids, known = SeenIds(), {}
    rng = Random(0)
    tracemalloc.start()
    for number in range(40_000):
        identity, place = f"pair-{rng.randrange(30_000)}", f"{'ab'[number % 2]}.tar: line {number}"
        first = ids.before(identity, place)
        assert first == known.get(hash(identity))
        known.setdefault(hash(identity), place)
    known.clear()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 40_000 * 40


@pytest.mark.parametrize(("limit", "skip"), [(-1, 0), (True, 0), (1.5, 0), (3, -2), (3, None)])
def test_parts_that_are_none(limit: Any, skip: Any) -> None:
    name, value = ("limit", limit) if skip == 0 else ("skip", skip)
    with pytest.raises(SettingError) as caught:
        take(counting()[0], limit, skip=skip)
    assert str(caught.value) == f"data: {name}={value!r} is out of range; give a whole number from 0"


def test_a_file_that_goes_away(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("text_1,text_2\na,b\n")
    pairs = open_pairs(path)
    path.unlink()
    with pytest.raises(InputError, match=r"p\.csv' cannot be read: No such file or directory$"):
        list(pairs)
