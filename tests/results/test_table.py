"""The table of a run's results: asked, sorted, opened, and drawn as a page; and what is said where that cannot be."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import m2ib
from m2ib.results import query, rows
from m2ib.results.views import KeptViews
from m2ib.scenes import scene
from many_pairs import FAST, pairs, run

WAY_OUT = r"give model=, or run with keep_inputs=True \(--keep-inputs\)"


@pytest.fixture(scope="module")
def model() -> m2ib.Model:
    return m2ib.load_model("imagebind-tiny", device="cpu")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> m2ib.results.ResultTable:
    """By two methods, the files' views not kept."""
    return run(tmp_path_factory.mktemp("run"), method="m2ib,gradcam")


def ids(table: m2ib.results.ResultTable) -> list[tuple[str, str]]:
    return [(row["id"], row["method"]) for row in table]


def test_rows_are_filtered_sorted_and_cut(table: m2ib.results.ResultTable) -> None:
    every = [*table]
    assert len(table) == len(every) == 16
    known = [row for row in every if row["similarity"] is not None]
    least = sorted(known, key=lambda row: (row["similarity"], row["number"], row["method"]))
    found = table.where("error is null").sort("similarity")
    assert ids(found) == [(row["id"], row["method"]) for row in least]
    assert ids(found.head(5).head(3)) == ids(found)[:3]
    assert [len(found.head(3)), len(found.head(99)), len(table.where("false"))] == [3, 12, 0]
    assert [*table.where("id = 'wide'").records("id", "method")] == [
        {"id": "wide", "method": "m2ib"},
        {"id": "wide", "method": "gradcam"},
    ]
    assert table.where("error is not null").to_arrow("id", "error_kind").to_pylist() == [
        {"id": name, "error_kind": "InputError"} for name in ("gone", "gone", "word", "word")
    ]
    assert (
        table.where("false").to_arrow("id", "similarity").schema
        == rows.schema().empty_table().select(["id", "similarity"]).schema
    )


def test_many_sorted_rows_come_by_their_places(
    table: m2ib.results.ResultTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No sort holds whole rows in memory, whatever their number."""
    found = table.sort("seconds desc nulls first")
    whole, some = [*found], [*found.head(7).records("id", "grid_1")]
    monkeypatch.setattr(query, "_SORTED", 0)
    monkeypatch.setattr(query, "_TAKEN", 3)
    monkeypatch.setattr(query, "_READ", 2)
    assert [*found] == whole
    assert [*found.head(7).records("id", "grid_1")] == some
    assert [*table.where("false").sort("id")] == []


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (
            "simlarity < 1",
            "results: 'simlarity < 1' cannot be asked: there is no column 'simlarity'; did you mean 'similarity'?",
        ),
        (
            "similarity <",
            "the condition 'similarity <' cannot be asked: Parser Error.*; give one as 'similarity < .2'",
        ),
        ("", "the condition '' cannot be asked: it is empty"),
        ("1=1) or (1=1", r"'1=1\) or \(1=1' cannot be asked: Parser Error"),
        ("true limit 1", "'true limit 1' cannot be asked: Parser Error"),
        ("true; select 1", "'true; select 1' cannot be asked: Parser Error"),
        ("id = '\udcff'", "cannot be asked: it holds half a character"),
        (
            "similarity < 'high'",
            "cannot be asked: Conversion Error: Could not convert string 'high' to DOUBLE$",
        ),
        ("regexp_matches(id, '(')", r"cannot be asked: Invalid Input Error: missing \)"),
    ],
)
def test_a_condition_that_cannot_be_asked(table: m2ib.results.ResultTable, condition: str, said: str) -> None:
    with pytest.raises(m2ib.SettingError, match=said):
        [*table.where(condition)]


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ("", "the order '' cannot be asked: it is empty; give one as 'similarity desc', or leave it out"),
        ("nothing", "results: 'nothing' cannot be asked: there is no column 'nothing'. There are id, "),
        ("id limit 1", "the order 'id limit 1' cannot be asked: Parser Error"),
        ("id; select 1 order by id", "cannot be asked: Parser Error"),
        ("id) union (select 1", r"'id\) union \(select 1' cannot be asked: Parser Error"),
    ],
)
def test_an_order_that_cannot_be_asked(table: m2ib.results.ResultTable, order: str, said: str) -> None:
    with pytest.raises(m2ib.SettingError, match=said):
        table.sort(order)


def test_sql_may_end_with_a_comment(table: m2ib.results.ResultTable) -> None:
    found = table.where("error is null -- (those").sort("id desc -- last")
    assert ids(found) == ids(table.where("error is null").sort("id desc"))


@pytest.mark.parametrize(
    "source",
    [
        "read_csv('{0}/other.csv')",
        "read_text('{0}/*')",
        "'{0}/other.csv'",
        "glob('{0}/*')",
        "read_text('http://127.0.0.1:1')",
    ],
)
def test_sql_reads_the_rows_and_nothing_else(
    table: m2ib.results.ResultTable, tmp_path: Path, source: str
) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    reads = f"exists (select 1 from {source.format(tmp_path)})"
    for ask in (table.where, table.sort):
        with pytest.raises(m2ib.SettingError, match="it reads something else than the rows of this folder"):
            ask(reads)


@pytest.mark.parametrize(
    "clause", ["true); copy (select 1) to '{0}'; select (1", "true; copy (select 1) to '{0}'"]
)
def test_sql_writes_nothing(table: m2ib.results.ResultTable, tmp_path: Path, clause: str) -> None:
    for place in (tmp_path / "new.csv", table.folder / "new.csv"):
        for ask in (table.where, table.sort):
            with pytest.raises(m2ib.SettingError, match="cannot be asked: Parser Error"):
                ask(clause.format(place))
        assert not place.exists()


@pytest.mark.parametrize("name", ["it's", "a [1]*", "ü"])
def test_a_folder_may_have_any_name(
    table: m2ib.results.ResultTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    shutil.copytree(table.folder, tmp_path / name)
    (tmp_path / "link").symlink_to(name)
    monkeypatch.chdir(tmp_path)
    for place in (name, tmp_path / name, Path("..") / tmp_path.name / name, "link"):
        assert len(m2ib.results.open(place).where("error is null").sort("id")) == 12


def test_an_error_that_shows_when_rows_are_read(table: m2ib.results.ResultTable) -> None:
    late = table.where("cast(id as int) > 1")  # nothing is wrong with it but the ids
    for ask in (len, list, lambda found: found.to_arrow("id"), lambda found: found.summary()):
        with pytest.raises(m2ib.SettingError, match="Could not convert string"):
            ask(late)
    with pytest.raises(m2ib.SettingError, match="there is no column 'simlarity'; did you mean 'similarity'"):
        table.to_arrow("simlarity")
    with pytest.raises(m2ib.SettingError, match="sorted by 'cast\\(id as int\\)' cannot be asked: Conv"):
        [*table.where("error is null").sort("cast(id as int)")]


def damaged(source: Path, place: Path, change: Any) -> m2ib.results.ResultTable:
    folder = shutil.copytree(source, place / "copy")
    path = next((folder / "rows").glob("*.parquet"))
    path.write_bytes(change(path.read_bytes()))
    return m2ib.results.open(folder)


@pytest.mark.parametrize(
    "change",
    [lambda data: data[:-50], lambda data: b"", lambda data: data[:-9000] + bytes(8992) + data[-8:]],
    ids=["cut", "empty", "no footer"],
)
def test_a_damaged_shard_is_named(table: m2ib.results.ResultTable, tmp_path: Path, change: Any) -> None:
    found = damaged(table.folder, tmp_path, change)
    for ask in (len, list, lambda found: found.row("wide", "m2ib"), lambda found: found.sort("id")):
        with pytest.raises(m2ib.StorageError, match=r"part-000000\.parquet' is damaged"):
            ask(found)


def test_an_explanation_comes_back_as_it_was(
    table: m2ib.results.ResultTable, model: m2ib.Model, tmp_path: Path
) -> None:
    for given in pairs(tmp_path):
        name = given.pop("id")
        if name in ("gone", "word"):
            continue
        before = m2ib.explain(model, *given.items(), **FAST)
        after = table.explanation(name, "m2ib", model=model)
        assert after.similarity == pytest.approx(before.similarity, abs=1e-6)
        for old, new in zip(before, after, strict=True):
            np.testing.assert_allclose(new.grid, old.grid, rtol=2e-3, atol=1e-3)
            assert new.layout == old.layout
            assert new.words == [(word, pytest.approx(value, rel=5e-3)) for word, value in old.words]


def test_a_sides_places_are_those_of_the_renderer(
    table: m2ib.results.ResultTable, model: m2ib.Model, photo64: m2ib.Model, tmp_path: Path
) -> None:
    """Whoever exports boxes has neither the model nor the pixels; of convolutions the layout says nothing."""
    loose = m2ib.run(photo64, pairs(tmp_path), tmp_path / "photo", show_progress=False, steps=1, samples=1)
    placed = 0
    for found, reader in ((table, model), (loose, photo64)):
        for row in found.where("error is null").records():
            for side, shown in zip(found.sides(row), found.explained(row, reader), strict=True):
                if shown.modality in ("image", "depth"):
                    size, axes = shown.renderer.raster(shown)
                    assert side.raster == size
                    assert [axis.name for axis in side.axes] == ["row", "column"]
                    for mine, its in zip(side.axes, axes, strict=True):
                        np.testing.assert_allclose(mine.spans, its.spans, atol=1e-9)
                    placed += 1
                else:
                    assert side.raster == ()
                assert side.words == shown.placed_words
    assert placed == 2 * 5 + 5


def test_inputs_that_were_not_kept(
    table: m2ib.results.ResultTable, model: m2ib.Model, tmp_path: Path
) -> None:
    with pytest.raises(
        m2ib.InputError, match=f"the image '.*wide.png' was not kept, .*{WAY_OUT}".replace("wide", "1")
    ):
        table.explanation("wide", "m2ib")

    def never() -> m2ib.Model:
        raise AssertionError("the model is not needed")

    assert table.explanation("array", "m2ib", model=never)["image"].view.pixels.shape == (112, 112, 3)
    assert table.explanation("wide", "m2ib", model=lambda: model)["image"].view.pixels.shape == (120, 180, 3)
    with pytest.raises(
        m2ib.InputError, match=r"the pair 'gone' has no explanation: image '.*' does not exist"
    ):
        table.explanation("gone", "m2ib")
    with pytest.raises(m2ib.InputError, match="'wide' was explained by gradcam, m2ib; name one of them"):
        table["wide"]
    with pytest.raises(m2ib.InputError, match="there is no pair 'nobody' by 'm2ib'"):
        table.explanation("nobody", "m2ib")


def test_a_file_that_changed_and_a_model_that_reads_otherwise(
    model: m2ib.Model, photo64: m2ib.Model, tmp_path: Path
) -> None:
    few = [each for each in pairs(tmp_path) if each["id"] == "tall"]
    found = m2ib.run(model, few, tmp_path / "results", show_progress=False, **FAST)
    with pytest.raises(
        m2ib.InputError, match=r"is read in another way .*: its input_size is \[64, 64\], not \[112, 112\]"
    ):
        found.explanation("tall", model=photo64)
    Image.new("RGB", (64, 96)).save(tmp_path / "pictures" / "2.png")
    with pytest.raises(m2ib.InputError, match=r"2\.png' is not the file that was explained"):
        found.explanation("tall", model=model)


def test_a_view_lies_in_another_shard_than_its_row(model: m2ib.Model, tmp_path: Path) -> None:
    """It is kept once, with the first row that shows it."""
    array = next(each["image"] for each in pairs(tmp_path) if each["id"] == "array")
    data = [{"id": word, "image": array, "text": f"a {word}"} for word in ("cat", "clock", "frog")]
    for limit in (1, 3):
        found = m2ib.run(model, data, tmp_path / "results", show_progress=False, limit=limit, **FAST)
    assert len([*(tmp_path / "results" / "rows").iterdir()]) == 2
    assert len([*(tmp_path / "results" / "views").iterdir()]) == 1
    for explanation in found.explanations():
        assert np.abs(explanation["image"].view.pixels.astype(int) - array).mean() < 2
    row = next(found.records())
    shutil.rmtree(tmp_path / "results" / "views")
    with pytest.raises(m2ib.StorageError, match="lacks a view that a row names"):
        KeptViews(tmp_path / "results").files(row["view_1"], row["filename"])


def test_maps_that_lie_beside(model: m2ib.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = m2ib.run(model, pairs(tmp_path), tmp_path / "in", show_progress=False, **FAST)
    monkeypatch.setattr(rows, "LARGE", 10)
    beside = m2ib.run(model, pairs(tmp_path), tmp_path / "beside", show_progress=False, **FAST)
    assert beside.row("array")["grid_1"] is None
    for mine, its in zip(whole.explanation("array"), beside.explanation("array"), strict=True):
        np.testing.assert_allclose(mine.grid, its.grid, rtol=1e-3)
    next((tmp_path / "beside" / "arrays").iterdir()).unlink()
    with pytest.raises(m2ib.StorageError, match=r"arrays.*cannot be read"):
        beside.explanation("array")


def test_the_summary(table: m2ib.results.ResultTable) -> None:
    found = table.summary()
    known = sorted(row["similarity"] for row in table if row["similarity"] is not None)
    assert (found.rows, found.explained, found.methods) == (16, 12, {"gradcam": 8, "m2ib": 8})
    assert found.similarity == pytest.approx(np.quantile(known, [0, 0.25, 0.5, 0.75, 1]))
    assert found.errors["InputError"][0] == 4
    lines = dict(found.lines())
    assert lines["rows"] == "16 (8 by gradcam, 8 by m2ib)"
    assert lines["errors"].startswith("4 InputError, as: image '")
    assert lines["similarity"].startswith(f"{known[0]:.3f} to {known[-1]:.3f}, median {np.median(known):.3f}")
    none = table.where("id = 'gone'").summary()
    assert (none.explained, none.similarity, [name for name, _ in none.lines()]) == (
        0,
        None,
        ["rows", "explained", "errors", "seconds"],
    )


# The page.


def cards(page: str) -> list[str]:
    return page.split('<article class="card"')[1:]


def test_the_overview_has_a_card_for_each_row_in_order(
    table: m2ib.results.ResultTable, model: m2ib.Model, tmp_path: Path
) -> None:
    asked = table.where("method = 'm2ib'").sort("similarity desc")
    page = asked.overview(tmp_path / "new" / "page.html", model=model, title="<best & worst>").read_text()
    assert "<title>&lt;best &amp; worst&gt;</title>" in page
    found = cards(page)
    assert [re.search(r"<h2>(\w+)", card)[1] for card in found] == [row["id"] for row in asked]  # type: ignore[index]
    assert [
        f"{row['similarity']:.3f}</b>" in card
        for row, card in zip(asked, found, strict=True)
        if row["similarity"]
    ] == [True] * 6
    assert "gone.png&#39; does not exist" in found[-2]
    assert "does not know the word &#39;zebra&#39;" in found[-1]
    by = {re.search(r"<h2>(\w+)", card)[1]: card for card in found}  # type: ignore[index]
    assert by["wide"].split("<template>")[0].count("data:image/jpeg") == 1
    assert by["wide"].split("<template>")[1].count('<figure class="heat"') == 1
    assert '<span class="word" style="--value:1.000">' in by["wide"]
    assert "The first" not in page
    assert not re.search(r'(src|href)="https?:', page)


def test_the_overview_says_that_there_are_more(
    table: m2ib.results.ResultTable, model: m2ib.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("m2ib.results.table._FIRST", 5)
    page = table.overview(tmp_path / "page.html", model=model).read_text()
    assert len(cards(page)) == 5
    assert "The first 5 of 16 rows" in page
    assert len(cards(table.head(9).overview(tmp_path / "page.html", model=model).read_text())) == 9


def test_a_file_that_is_gone_is_told_on_its_card(model: m2ib.Model, tmp_path: Path) -> None:
    few = [each for each in pairs(tmp_path) if each["id"] in ("tall", "wide")]
    found = m2ib.run(model, few, tmp_path / "results", show_progress=False, **FAST)
    with pytest.raises(m2ib.InputError, match=WAY_OUT):
        found.overview(tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
    (tmp_path / "pictures" / "2.png").unlink()
    first, second = cards(found.overview(tmp_path / "page.html", model=model).read_text())
    assert "data:image" in first
    assert "data:image" not in second
    assert "2.png" in re.search('<p class="note">(.*?)</p>', second)[1]  # type: ignore[index]


def test_large_pictures_make_no_large_page(model: m2ib.Model, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (900, 1400, 3), np.uint8)
    found = m2ib.run(
        model, [{"image": noise, "text": "a bell"}], tmp_path / "results", show_progress=False, **FAST
    )
    size = len(found.overview(tmp_path / "page.html").read_text())
    assert size < 250_000, "of noise, which compresses worst"
    shown = found["0"]["image"]
    assert shown.view.pixels.shape == (329, 512, 3)
    small = shown.view.reduced(384)
    assert small.pixels.shape == (247, 384, 3)
    assert small.scale == pytest.approx((384 / 1400, 247 / 900))


def test_pictures_are_kept_small_and_their_maps_lie_as_before(model: m2ib.Model, tmp_path: Path) -> None:
    """Arrays and pictures without a file, wide and tall, of which the model crops the middle; and one that PNG holds in less."""
    drawn = [Image.fromarray(scene(seed=n).image) for n in range(2)]
    blurred = [drawn[0].resize((1800, 1201), Image.Resampling.BICUBIC), drawn[1].resize((400, 777))]
    raws = [np.asarray(blurred[0]), blurred[1], np.full((300, 700, 3), 90, np.uint8)]
    data = [{"image": raw, "text": "a bell"} for raw in raws]
    found = m2ib.run(model, data, tmp_path / "results", show_progress=False, **FAST)
    files = [
        each for part in pq.read_table(tmp_path / "results" / "views")["files"].to_pylist() for each in part
    ]
    assert sorted(each["name"] for each in files) == ["view.jpg", "view.jpg", "view.png"]
    assert max(len(each["content"]) for each in files) < 60_000
    for row, raw, explanation in zip(found.records(), data, found.explanations(), strict=True):
        before, after = m2ib.explain(model, *raw.items(), **FAST)["image"], explanation["image"]
        assert max(after.view.pixels.shape) <= 512
        small = before.view.reduced(512).pixels.astype(int)
        assert np.abs(after.view.pixels - small).mean() < 2
        (size, axes), (was, were) = (each.renderer.raster(each) for each in (after, before))  # type: ignore[attr-defined]
        assert size == was == found.sides(row)[0].raster
        for mine, its in zip(axes, were, strict=True):
            np.testing.assert_allclose(mine.spans, its.spans, rtol=0, atol=1e-9)
        same = replace(before, grid=after.grid)  # in float16
        np.testing.assert_allclose(after.scores, same.scores, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(after.at_input_size(), same.at_input_size())


def test_what_comes_from_a_row_is_text(model: m2ib.Model, tmp_path: Path) -> None:
    evil = "</template><script>alert(1)</script>"
    drawn = next(each["image"] for each in pairs(tmp_path) if each["id"] == "array")
    data = [{"id": evil, "image": drawn, "text": "a bell"}, {"id": "b", "image": drawn, "text": f"a {evil}"}]
    found = m2ib.run(model, data, tmp_path / "results", show_progress=False, **FAST)
    page = found.overview(tmp_path / "page.html").read_text()
    assert evil not in page
    assert page.count("&lt;/template&gt;") >= 2
    assert page.count("<template>") == page.count("</template>") == 1


def test_a_contrast_is_in_two_hues(model: m2ib.Model, tmp_path: Path) -> None:
    drawn = next(each["image"] for each in pairs(tmp_path) if each["id"] == "array")
    explanation = m2ib.explain(model, image=drawn, text=m2ib.contrast("a cat", "a clock"), **FAST)
    grid, against = np.ones((8, 8), np.float32), np.ones((8, 8), np.float32)
    grid[1, 2], against[5, 6] = 3, 3
    image = replace(explanation["image"], grid=grid, against=against)
    shown = image.renderer.overlay(image, (112, 112)).astype(int)  # type: ignore[attr-defined]
    lead = image.grid - image.against
    rows_, columns = np.unravel_index([lead.argmax(), lead.argmin()], lead.shape)
    (red, _, blue), (other_red, _, other_blue) = (
        shown[y * 14 + 7, x * 14 + 7] for y, x in zip(rows_, columns, strict=True)
    )
    assert red - blue > 40
    assert other_blue - other_red > 40
