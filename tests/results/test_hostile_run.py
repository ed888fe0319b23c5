"""A run's folder that somebody else made: it is read, or refused in one line, and nothing outside of it is read."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import m2ib
from m2ib.export import to_png
from m2ib.results import rows
from many_pairs import run

ASKED: dict[str, Any] = {"null": 2, "interactions": True}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("run"), keep_inputs=True, **ASKED).folder


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "copy")


def use(folder: Path) -> None:
    """All that is done with results."""
    table = m2ib.results.open(folder)
    table.summary()
    for row in table.where("error is null").records():
        assert all(side.words is not None for side in table.sides(row))
        table.explained(row).to_html(folder.parent / "page.html")
    table.overview(folder.parent / "overview.html")
    to_png(table, folder.parent / "png", show_progress=False, force=True)


def rewritten(path: Path, schema: pa.Schema, change: Callable[[dict[str, Any]], Any]) -> None:
    """With every row changed; what is no value of its column is written as a text."""
    found = pq.read_table(path, partitioning=None).to_pylist()
    for row in found:
        if row.get("error") is None:
            row |= change(row)
    for name in {name for row in found for name in row if isinstance(row[name], str)} & {"similarity"}:
        place = schema.get_field_index(name)
        schema = schema.set(place, pa.field(name, pa.string()))
    pq.write_table(pa.Table.from_pylist(found, schema), path)


def within(value: Any, path: str, new: Any) -> str:
    """JSON with another value at a path."""
    found = json.loads(value)
    *places, last = path.split(".")
    inner = found
    for place in places:
        inner = inner[place]
    inner[last] = new
    return json.dumps(found)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: {"provenance": "{"}, "rows' is damaged: Expecting"),
        (lambda row: {"provenance": "[]"}, r"rows' is damaged: provenance is \[\], not a mapping"),
        (lambda row: {"provenance": '{"usual": {"image": 1}}'}, "provenance.usual.image is 1, not a mapping"),
        (lambda row: {"similarity": 7.0}, "similarity is 7.0; it must be a cosine"),
        (
            lambda row: {"similarity": "high"},
            "part-000000.parquet' is damaged .*no column 'similarity' of double",
        ),
        (
            lambda row: {"side_1": within(row["side_1"], "raster", {"size": [10**6, 10**6], "axes": []})},
            r"side_1.raster.size is \[?\(?1000000, 1000000.*, not \(rows, columns\) of a picture",
        ),
        (
            lambda row: {"side_2": within(row["side_2"], "layout.tokens", [])},
            "damaged: .*the grid's shape|text",
        ),
        (lambda row: {"side_1": within(row["side_1"], "unit", "\ud800")}, "side_1 holds half a character"),
        (lambda row: {"side_1": within(row["side_1"], "renderer", "gone")}, "gone"),
        (lambda row: {"null_mean_1": row["null_mean_1"][1:]}, "rows' is damaged: cannot reshape"),
        (lambda row: {"null_deviation_2": None}, "rows' is damaged: cannot reshape|holds nan"),
        (lambda row: {"side_1": within(row["side_1"], "null.similarities", [0.5])}, "null: its inputs is 1"),
        (lambda row: {"matrix": row["matrix"][1:]}, "rows' is damaged: cannot reshape"),
        (lambda row: {"interactions": "[]"}, "interactions is .*not a mapping"),
        (
            lambda row: {"interactions": within(row["interactions"], "method", "\ud800")},
            "interactions holds half a character",
        ),
    ],
)
def test_rows_that_no_run_writes(copied: Path, change: Callable[[Any], Any], said: str) -> None:
    rewritten(copied / "rows" / "part-000000.parquet", rows.schema(ASKED), change)
    with pytest.raises(m2ib.StorageError, match=said):
        use(copied)


def test_a_column_that_is_not_there(copied: Path) -> None:
    path = copied / "rows" / "part-000000.parquet"
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns(["similarity"]), path)
    with pytest.raises(m2ib.StorageError, match=r"is damaged .*it has no column 'similarity' of double"):
        use(copied)


@pytest.mark.parametrize("name", ["..", "", "view.jpg\0"])
def test_views_whose_files_are_called_otherwise(copied: Path, name: str) -> None:
    def change(row: dict[str, Any]) -> dict[str, Any]:
        return {"files": [{**each, "name": name} for each in row["files"]]}

    rewritten(copied / "views" / "part-000000.parquet", rows.view_schema(), change)
    with pytest.raises(m2ib.StorageError, match="rows' is damaged: "):
        use(copied)


@pytest.mark.parametrize(
    "name", ["run.json", "rows/part-000000.parquet", "views/part-000000.parquet", "rows", "views"]
)
def test_links_are_not_followed(copied: Path, name: str) -> None:
    elsewhere = (copied / name).rename(copied.parent / "elsewhere")
    (copied / name).symlink_to(elsewhere)
    with pytest.raises(m2ib.StorageError, match=r"is a link|is reached by a link"):
        use(copied)


@pytest.mark.parametrize("name", ["run.json", "rows/pipe.parquet", "views/part-000000.parquet"])
def test_pipes_are_not_waited_for(copied: Path, name: str) -> None:
    (copied / name).unlink(missing_ok=True)
    os.mkfifo(copied / name)
    with pytest.raises(m2ib.StorageError, match=r"is no regular file|run\.json is missing"):
        use(copied)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: [], "not a mapping"),
        (lambda found: found | {"recipe": "clip"}, "recipe is 'clip', not a mapping"),
        (lambda found: found | {"provenance": 3}, "provenance is 3, not a mapping"),
        (lambda found: found | {"asked": {**found["asked"], "methods": 3}}, "methods is 3, not a mapping"),
        (lambda found: found | {"data": " " * 2**23}, "has 8,.* bytes, more than"),
    ],
)
def test_manifests_that_no_run_writes(copied: Path, change: Callable[[Any], Any], said: str) -> None:
    path = copied / "run.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(m2ib.StorageError, match=rf"run.json' is damaged \(.*{said}"):
        m2ib.results.open(copied)
