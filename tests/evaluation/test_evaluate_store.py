"""The file that an evaluation keeps what it found in."""

from __future__ import annotations

import math
import sqlite3
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from m2ib.errors import StorageError
from m2ib.evaluation.results import read_results
from m2ib.evaluation.store import FILE, FORMAT, MapRecord, Score, Store


def found(seed: int = 0, pair: str = "a", number: int = 0, **scores: float) -> MapRecord:
    grid = np.random.default_rng(number).standard_normal((2, 3))
    return MapRecord(0, "rise", seed, pair, number, grid, scores, 0.25 if seed == 0 else math.nan)


def test_numbers_come_back_as_they_were(tmp_path: Path) -> None:
    given = [
        found(0, "b", 1, drop=0.1 + 0.2, iou=math.nan),
        found(0, "a", 0, drop=-0.0),
        found(1, "b", 1, drop=3),
    ]
    with Store(tmp_path) as store, store.whole():
        store.add(given)
    with Store(tmp_path) as store:
        grids = store.grids(0, "rise", 0)
        assert list(grids) == ["a", "b"]  # in the order of the data
        assert np.array_equal(grids["b"], given[0].grid)
        assert [(s.seed, s.pair, s.metric) for s in store.scores()] == [
            (0, "a", "drop"),
            (0, "b", "drop"),
            (0, "b", "iou"),
            (1, "b", "drop"),
        ]
        values = store.scores_of(0, "rise", 0)["b"]
        assert values["drop"] == 0.1 + 0.2
        assert math.isnan(values["iou"])
        assert math.isnan(store.scores()[2].value)
        assert store.numbers(0) == {"a": 0, "b": 1}
        assert store.numbers(1) == {}
        assert store.seconds() == {(0, "rise"): [0.25, 0.25]}  # what was not made took no time
        store.add([found(0, "b", 1, drop=9)])
        assert store.scores_of(0, "rise", 0)["b"]["drop"] == 9


def test_facts_notes_and_units(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        assert store.fact("cases") is None
        store.set_fact("cases", {"größe": [1, None, "é"]})
        assert store.fact("cases") == {"größe": [1, None, "é"]}
        assert not store.is_done("0/0/rise/0")
        store.set_done("0/0/rise/0")
        assert store.is_done("0/0/rise/0")
        for text in ("why", "why", "also"):
            store.note("bad pair", "7", text)
        assert store.notes("bad pair") == [("7", "why"), ("7", "also")]
        assert store.notes("bad row") == []


def test_what_is_written_together_is_there_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        with suppress(RuntimeError), store.whole():
            store.add([found(drop=1)])
            store.set_done("unit")
            raise RuntimeError("half way")
        assert store.scores() == []
        assert not store.is_done("unit")
        with store.whole():
            store.add_scores([Score(0, "rise", 0, "a", 0, "drop", 1.0)])
        assert len(store.scores()) == 1


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"these are not the tables you are looking for" * 100)
    for read in (Store, read_results):
        with pytest.raises(StorageError) as caught:
            read(tmp_path)
        assert str(caught.value) == f"cannot use {str(tmp_path / FILE)!r}: file is not a database"


def test_a_file_that_was_damaged(tmp_path: Path) -> None:
    with Store(tmp_path) as store, store.whole():
        store.set_fact("asked", {"study": {}})
        store.add([found(0, str(number), number, drop=1) for number in range(400)])
    content = bytearray((tmp_path / FILE).read_bytes())
    for page in range(8, len(content) // 4096):
        content[page * 4096 : page * 4096 + 200] = b"\xff" * 200
    (tmp_path / FILE).write_bytes(content)
    with (
        Store(tmp_path) as store,
        pytest.raises(StorageError, match=r"^cannot read '.*': database disk image is"),
    ):
        store.scores()


def test_a_file_of_another_format(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.set_fact("format", FORMAT + 1)
    with pytest.raises(StorageError) as caught:
        Store(tmp_path)
    assert str(caught.value) == (
        f"{str(tmp_path / FILE)!r} is of format 2, and this version writes 1; use another folder"
    )


def test_a_file_with_other_tables(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute("CREATE TABLE facts (colour TEXT)")
    connection.close()
    with pytest.raises(
        StorageError,
        match="is no evaluation of this version: its tables are others; use another folder, or begin",
    ):
        Store(tmp_path)


def test_a_folder_without_results(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        read_results(tmp_path)
    assert str(caught.value) == f"{str(tmp_path)!r} holds no evaluation: {FILE} is missing"
    Store(tmp_path).close()
    with pytest.raises(StorageError, match="holds an evaluation that had not begun"):
        read_results(tmp_path)
    with pytest.raises(StorageError, match="cannot use"):
        Store(tmp_path / "nowhere")


def test_a_text_that_is_none_is_refused_on_one_line(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.note("bad pair", "a", "why")
        store._connection.execute("UPDATE notes SET text = CAST(x'ff0a0aff' AS TEXT)")
        with pytest.raises(StorageError, match=r"^cannot read .*Could not decode to UTF-8") as caught:
            store.notes("bad pair")
    assert str(caught.value).isprintable()
