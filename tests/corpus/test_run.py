"""A run: what stands in its rows, and that it goes on with what is there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow
import pytest
import torch
from PIL import Image

import m2ib
from m2ib.results import rows
from toy import toy_model
from toy_pairs import FEW, WORDS, model, pairs, pictures, table

ASKED: list[int] = []


def counted() -> m2ib.Model:
    """The toy model, which notes each text that it embeds."""

    def noting(encoder: m2ib.Encoder) -> m2ib.Encoder:
        def prepare(raw: Any, *, truncate: bool = False) -> m2ib.Item:
            ASKED.append(1)
            assert encoder.prepare is not None
            if raw == "bad":
                raise m2ib.InputError("text: it is bad")
            return encoder.prepare(raw)

        return replace(encoder, prepare=prepare)

    return toy_model(text=noting)


def explained(folder: Path, given: Any, **more: Any) -> int:
    """Run, and tell how many texts were made ready."""
    ASKED.clear()
    m2ib.run(counted(), given, folder, **{**FEW, **more})
    return len(ASKED)


def test_rows_hold_what_explain_gives(tmp_path: Path) -> None:
    given = pairs(7)
    found = m2ib.run(model(), given, tmp_path / "r", batch_size=3, method="m2ib,gradcam", **FEW)
    assert len(found) == 14
    for pair in given:
        alone = m2ib.explain(model(), image=pair["image"], text=pair["text"], **FEW)
        row, back = found.row(pair["id"], "m2ib"), found.explanation(pair["id"], "m2ib")
        assert row["similarity"] == pytest.approx(alone.similarity, abs=1e-6)
        assert (row["unit"], row["error"], row["layer_1"]) == ("nats", None, 1)
        assert row["tokens_2"] == list(alone["text"].tokens)
        assert [each["word"] for each in row["words_2"]] == pair["text"].split()
        assert row["seconds"] > 0
        for mine, theirs in zip(back, alone, strict=True):
            assert mine.grid.shape == theirs.grid.shape
            np.testing.assert_allclose(mine.grid, theirs.grid, rtol=2e-3, atol=1e-3 * theirs.grid.max())
            assert (mine.settings, mine.layout, mine.origin) == (
                theirs.settings,
                theirs.layout,
                theirs.origin,
            )
            assert mine.curve is not None
            np.testing.assert_allclose(mine.curve.fit, theirs.curve.fit, atol=1e-5)  # type: ignore[union-attr]
        assert np.array_equal(back["image"].view.pixels, alone["image"].view.pixels)
        assert back.to_html(tmp_path / "page.html").stat().st_size > 1000


USUAL = {"image": pictures(4)[1:], "text": ["the roof", "of a shed"]}
PAIRWISE: Any = {**FEW, "null": 2, "interactions": True, "reference": USUAL}


@pytest.mark.parametrize("large", [rows.LARGE, 2])
def test_rows_hold_whether_a_pair_stands_out_and_what_acts_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: int
) -> None:
    monkeypatch.setattr(rows, "LARGE", large)
    given = [*pairs(6), {"id": "x", "image": "gone.png", "text": "rain"}]
    found = m2ib.run(model(), given, tmp_path / "r", batch_size=4, **PAIRWISE)
    assert found.summary().errors
    by_z = [row["id"] for row in found.where("error is null").sort("specificity desc")]
    values, few = {}, 0
    for pair in given[:6]:
        alone = m2ib.explain(model(), image=pair["image"], text=pair["text"], **PAIRWISE)
        row, back = found.row(pair["id"]), found.explanation(pair["id"])
        assert row["specificity"] == back.specificity == pytest.approx(alone.specificity, abs=1e-4)
        assert row["unspecific"] is back.unspecific is alone.unspecific
        values[pair["id"]], few = back.specificity, few + back.unspecific
        for n, (mine, theirs) in enumerate(zip(back, alone, strict=True), 1):
            assert mine.null is not None
            assert theirs.null is not None
            assert row[f"null_score_{n}"] == mine.null.score
            assert mine.null.similarities == pytest.approx(theirs.null.similarities, abs=1e-6)
            most = np.abs(theirs.grid).max()
            np.testing.assert_allclose(mine.null.mean, theirs.null.mean, rtol=1e-3, atol=1e-3 * most)
            np.testing.assert_allclose(
                mine.null.deviation, theirs.null.deviation, rtol=0.02, atol=1e-3 * most
            )
        assert back.interactions is not None
        assert alone.interactions is not None
        wanted = alone.interactions
        np.testing.assert_allclose(back.interactions.matrix, wanted.matrix, rtol=1e-3, atol=1e-5)
        assert (back.interactions.units, back.interactions.unit) == (wanted.units, wanted.unit)
        assert (back.interactions.method, back.interactions.settings) == (wanted.method, wanted.settings)
        strongest = back.interactions.links(1)[0]
        assert row["links"][0]["second"] == wanted.units[1].name(strongest.second)
        assert row["links"][0]["first"] == "row {}, column {}".format(
            *(1 + at for at in wanted.units[0].place(strongest.first))
        )
        assert row["links"][0]["value"] == pytest.approx(strongest.value)
        page = back.to_html(tmp_path / "page.html").read_text(encoding="utf-8")
        assert ("This pair is no closer than 2 other" in page) == back.unspecific
        assert "The strongest links, by second-order" in page
    assert by_z == sorted(values, key=lambda name: -values[name])
    assert 0 < few < 6
    assert found.summary().unspecific == len(found.where("unspecific")) == few
    assert ("unspecific", f"{few}: no closer than others usually are") in found.summary().lines()
    cards = found.overview(tmp_path / "cards.html").read_text(encoding="utf-8")
    assert cards.count('<p class="note">This pair is no closer') == few


def test_a_run_without_them_is_as_it_was(tmp_path: Path) -> None:
    """Its columns, and its fingerprint; and it is said where those columns come from."""
    given = pairs(2)
    assert explained(tmp_path / "r", given) == 2
    assert explained(tmp_path / "r", given, null=0, signed=False, interactions=None, units=None) == 0
    found = m2ib.results.open(tmp_path / "r")
    assert set(found.row("p0")) == set(rows.schema().names)
    assert found.summary().unspecific is None
    for name, option in (("specificity", "null"), ("links", "interactions")):
        for ask in (lambda name=name: found.where(f"{name} is null"), lambda name=name: found.to_arrow(name)):
            with pytest.raises(
                m2ib.SettingError, match=rf"no column '{name}': it is of a run with {option}= \(--{option}\)"
            ):
                ask()
    with pytest.raises(m2ib.StorageError, match=r"options null \(None, now 2\)"):
        explained(tmp_path / "r", given, null=2, reference=USUAL)


def test_what_is_wrong_with_all_pairs_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for options, said in (
        ({"null": 2}, "null=2 for text: this model brings no reference inputs"),
        ({"interactions": "maxsim"}, "interactions: 'maxsim' is not defined for this model"),
    ):
        with pytest.raises(m2ib.SettingError, match=said):
            m2ib.run(model(), pairs(2), tmp_path / "r", **FEW, **options)
        assert not (tmp_path / "r").exists()


def test_the_same_from_one_worker_or_two_and_any_way_there(tmp_path: Path) -> None:
    given, one = pairs(11), torch.get_num_threads()
    torch.set_num_threads(2)
    m2ib.run(model(), given, tmp_path / "one", batch_size=2, **FEW)
    m2ib.run(model(), given, tmp_path / "two", batch_size=2, workers=2, **FEW)
    torch.set_num_threads(one)
    for shard in ("2/2", "1/2"):
        m2ib.run(model(), given, tmp_path / "halves", batch_size=2, shard=shard, **FEW)
    m2ib.run(model(), given[:5], tmp_path / "grown", batch_size=2, **FEW)
    m2ib.run(model(), given, tmp_path / "grown", batch_size=2, limit=8, **FEW)
    assert len(table(tmp_path / "grown")) == 8
    m2ib.run(model(), iter(given), tmp_path / "grown", batch_size=2, **FEW)
    wanted = table(tmp_path / "one")
    assert len(wanted) == 11
    for name in ("two", "halves"):
        assert table(tmp_path / name) == wanted
    for mine, theirs in zip(
        table(tmp_path / "grown"), wanted, strict=True
    ):  # chunks were others where it grew
        np.testing.assert_allclose(mine["grid_1"], theirs["grid_1"], rtol=2e-3)


def test_another_batch_size_goes_on_where_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No pair is done twice, or by no part: parts stay divided as they were. The maps are those of one batch size, up to rounding."""
    given, folder, loud = pairs(11), tmp_path / "r", {"show_progress": True}
    m2ib.run(model(), given, tmp_path / "whole", batch_size=4, **FEW)
    assert explained(folder, given, batch_size=4, shard="1/2", limit=6, **loud) == 4
    assert capsys.readouterr().err == ""
    assert explained(folder, given, batch_size=3, shard="2/2", **loud) == 4
    assert explained(folder, given, batch_size=1, shard="1/2", **loud) == 3
    assert capsys.readouterr().err.splitlines() == [
        "m2ib: run: going on: 4 of 11 pairs were there already",
        "m2ib: run: going on: 8 of 11 pairs were there already",
    ]
    assert explained(folder, given, batch_size=5, **loud) == 0
    assert capsys.readouterr().err == ""
    found, wanted = table(folder), table(tmp_path / "whole")
    assert [row["id"] for row in found] == [row["id"] for row in wanted]
    for mine, theirs in zip(found, wanted, strict=True):
        for name in ("grid_1", "grid_2"):
            np.testing.assert_allclose(mine[name], theirs[name], rtol=2e-3, atol=1e-3 * max(theirs[name]))
    for name, sizes in (("r", [4, 3, 1]), ("whole", [4])):
        assert m2ib.results.open(tmp_path / name).manifest["batch_sizes"] == sizes


def test_what_is_of_pairs_is_the_same_from_workers_and_when_it_goes_on(tmp_path: Path) -> None:
    given, threads = pairs(4), torch.get_num_threads()
    torch.set_num_threads(1)  # as many as each worker has
    m2ib.run(model(), given, tmp_path / "one", batch_size=2, **PAIRWISE)
    m2ib.run(model(), given, tmp_path / "two", batch_size=2, workers=2, **PAIRWISE)
    for count in (2, 4):
        m2ib.run(model(), given[:count], tmp_path / "grown", batch_size=2, **PAIRWISE)
    torch.set_num_threads(threads)
    wanted = table(tmp_path / "one")
    assert all(row["links"] and row["null_mean_1"] and row["matrix"] for row in wanted)
    assert table(tmp_path / "two") == table(tmp_path / "grown") == wanted


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    given = [*pairs(5), {"id": "x", "image": pictures(1)[0], "text": "bad"}]
    assert explained(tmp_path / "r", given) == 6
    whole = table(tmp_path / "r")
    assert [row["error"] for row in whole] == [None] * 5 + ["text: it is bad"]
    assert whole[5]["error_kind"] == "InputError"
    assert explained(tmp_path / "r", given) == 0
    assert explained(tmp_path / "r", given, retry_errors=True) == 1
    assert table(tmp_path / "r") == whole
    given[5] = {**given[5], "text": "a dog"}  # repaired
    given[2] = {**given[2], "text": "another text"}
    assert explained(tmp_path / "r", given) == 2
    now = table(tmp_path / "r")
    assert [row["id"] for row in now] == [row["id"] for row in whole]
    assert [row["error"] for row in now] == [None] * 6
    assert now[2]["input_2"] == "another text"
    assert [each for n, each in enumerate(now) if n not in (2, 5)] == [
        each for n, each in enumerate(whole) if n not in (2, 5)
    ]


def test_a_run_of_nothing(tmp_path: Path) -> None:
    found = m2ib.run(model(), pairs(3), tmp_path / "r", limit=0, **FEW)
    assert (len(found), list(found), found.summary().rows) == (0, [], 0)
    assert found.to_arrow("id", "grid_1").num_rows == 0


def test_errors_may_end_a_run(tmp_path: Path) -> None:
    given = pairs(5)
    given[3] = {**given[3], "text": "bad"}
    with pytest.raises(m2ib.InputError, match=r"^pair 3 \(p3\): text: it is bad$"):
        m2ib.run(counted(), given, tmp_path / "r", batch_size=2, errors="raise", **FEW)
    assert [row["id"] for row in table(tmp_path / "r")] == ["p0", "p1", "p2"]


def test_what_people_have_as_pairs(tmp_path: Path) -> None:
    """Files, tables of three libraries, data sets: the same rows."""
    from datasets import Dataset

    photo = m2ib.load_model("photo", device="cpu", size=64)
    rows = []
    for number, words in enumerate(WORDS[:2]):
        path = tmp_path / f"{number}.png"
        Image.fromarray(np.full((40, 40, 3), 60 * number, np.uint8)).save(path)
        rows.append({"id": f"p{number}", "image": str(path), "text": words})
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    pandas.DataFrame(rows).to_csv(tmp_path / "pairs.csv", index=False)
    tables: dict[str, Any] = {
        "dicts": rows,
        "csv": tmp_path / "pairs.csv",
        "pairs": m2ib.open_pairs(tmp_path / "pairs.csv"),
        "pandas": pandas.DataFrame(rows),
        "polars": polars.DataFrame(rows),
        "arrow": pyarrow.table(columns),
        "datasets": Dataset.from_list(rows),
    }
    for name, given in tables.items():
        m2ib.run(photo, given, tmp_path / name, **FEW)
        mine = table(tmp_path / name)
        assert [(row["id"], row["input_1"], row["input_2"], row["error"]) for row in mine] == [
            (row["id"], row["image"], row["text"], None) for row in rows
        ]
        assert [row["grid_1"] for row in mine] == [row["grid_1"] for row in table(tmp_path / "dicts")]
        (first, _) = m2ib.explain_many(photo, given, **FEW)
        assert first.similarity == pytest.approx(mine[0]["similarity"], abs=1e-6)


def test_what_is_no_pairs_is_refused(tmp_path: Path) -> None:
    for given, said in (
        ({"image": 1, "text": 2}, "run: pairs are an iterable of pairs, not a dict"),
        (7, "run: pairs are an iterable of pairs, not a int"),
        (pandas.DataFrame({"a": [1], "text": ["x"]}), "run needs two columns that are named by a modality"),
    ):
        with pytest.raises(m2ib.InputError, match=said):
            m2ib.run(model(), given, tmp_path / "r", **FEW)


def test_rows_that_give_no_pair(tmp_path: Path) -> None:
    """A missing file, a picture that is none, no text, an id that comes twice."""
    (tmp_path / "broken.png").write_bytes(b"\x89PNG nothing")
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "a.png")
    lines = [
        "id,image,text",
        "a,a.png,a dog",
        "b,none.png,a dog",
        "c,broken.png,a dog",
        "d,a.png,",
        "a,a.png,a cat",
    ]
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    photo = m2ib.load_model("photo", device="cpu", size=64)
    found = m2ib.run(photo, tmp_path / "pairs.csv", tmp_path / "r", **FEW)
    rows = table(tmp_path / "r")
    assert [(row["id"], row["error"] is None) for row in rows] == [
        ("a", True),
        ("b", False),
        ("c", False),
        ("d", False),
        ("line 6", False),
    ]
    assert [row["error"] for row in rows[1:]] == [
        f"there is no image {str(tmp_path / 'none.png')!r}",
        rows[2]["error"],
        "its text is empty",
        "its id 'a' is that of line 2",
    ]
    assert "broken.png" in rows[2]["error"]
    assert found.summary().errors["InputError"][0] == 4
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "none.png")  # there now
    m2ib.run(photo, tmp_path / "pairs.csv", tmp_path / "r", **FEW)
    assert [row["id"] for row in table(tmp_path / "r")] == ["a", "b", "c", "d", "line 6"]


def test_another_runs_folder_is_left_alone(tmp_path: Path) -> None:
    m2ib.run(model(), pairs(2), tmp_path / "r", **FEW)
    before = {path: path.read_bytes() for path in (tmp_path / "r").rglob("*") if path.is_file()}
    other = toy_model()
    with torch.no_grad():
        other.module.image_head.weight.add_(1)
    for changed, more, said in (
        (model(), {"steps": 3}, "methods m2ib settings steps (2, now 3)"),
        (model(), {"seed": 1}, "options seed (0, now 1)"),
        (other, {}, "model weights"),
    ):
        with pytest.raises(m2ib.StorageError) as caught:
            m2ib.run(changed, pairs(2), tmp_path / "r", **{**FEW, **more})
        mine, theirs = m2ib.results.open(tmp_path / "r").manifest["fingerprint"], str(caught.value)
        assert f"holds another run: its fingerprint is {mine}, this one's " in theirs
        assert f"for another {said}; use another folder, or begin anew with --force" in theirs
    assert {path: path.read_bytes() for path in before} == before
    (tmp_path / "r" / "mine.txt").write_text("of the user")
    m2ib.run(model(), pairs(1), tmp_path / "r", force=True, **{**FEW, "steps": 3})
    assert len(table(tmp_path / "r")) == 1
    assert (tmp_path / "r" / "mine.txt").read_text() == "of the user"
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "rows").touch()
    with pytest.raises(m2ib.StorageError, match="exists and is not empty"):
        m2ib.run(model(), pairs(1), tmp_path / "theirs", **FEW)


def test_pairs_that_are_not_given_any_more(tmp_path: Path) -> None:
    given = pairs(4)
    m2ib.run(model(), given, tmp_path / "r", **FEW)
    with pytest.warns(
        m2ib.M2IBWarning, match="2 pairs of '.*r' are not among those given now, and in its tables"
    ):
        assert len(m2ib.run(model(), given[2:], tmp_path / "r", **FEW)) == 4
    assert len(m2ib.run(model(), given[::-1], tmp_path / "r", **FEW)) == 4


def test_a_setting_that_is_wrong_for_all_pairs_begins_no_folder(tmp_path: Path) -> None:
    with pytest.raises(m2ib.SettingError, match="layer"):
        m2ib.run(model(), pairs(2), tmp_path / "r", **{**FEW, "layer": 99})
    assert not (tmp_path / "r").exists()


def test_errors_of_before_are_raised_too(tmp_path: Path) -> None:
    given = [*pairs(2), {"id": "x", "image": pictures(1)[0], "text": "bad"}]
    m2ib.run(counted(), given, tmp_path / "r", **FEW)
    with pytest.raises(m2ib.InputError, match=r"pair 2 \(x\): text: it is bad"):
        m2ib.run(counted(), given, tmp_path / "r", errors="raise", **FEW)


def test_faulty_rows_keep_their_ids(tmp_path: Path) -> None:
    picture = pictures(1)[0]
    given = [
        {"id": "one", "image": picture},
        {"id": "two", "image": picture, "tekst": "a dog", "more": 1},
        {"id": "row 1", "image": picture, "text": "a dog"},
        {"id": 3.5, "image": picture, "text": "a dog"},
        {"id": "two", "image": picture, "text": "a dog"},
    ]
    m2ib.run(model(), given, tmp_path / "r", **FEW)
    found = [(row["id"], row["error"]) for row in table(tmp_path / "r")]
    assert [name for name, _ in found] == ["one", "two", "row 1", "row 3", "row 4"]
    assert [error and error[:32] for _, error in found] == [
        "explain: takes two inputs, got 1",
        "a row needs two columns that are",
        None,
        "its id is no text but 3.5",
        "its id 'two' is that of row 1",
    ]
    given[1]["text"] = "a dog"
    given[4]["id"] = "five"
    m2ib.run(model(), given, tmp_path / "r", **FEW)
    now = [(row["id"], row["error"] is None) for row in table(tmp_path / "r")]
    assert now == [("one", False), ("two", True), ("row 1", True), ("row 3", False), ("five", True)]


def test_dicts_are_read_as_rows_of_tables_are() -> None:
    from m2ib.corpus.rows import rows_of

    given = [
        {"id": "a", "text_2": "second", "text_1": "first"},
        {"image": "a.png", "caption": "of the user's own", "text": "a dog", "id": 7},
    ]
    found = [(row.id, row.inputs) for row in rows_of(given, "run").rows]
    assert found == [
        ("a", (("text", "first"), ("text", "second"))),
        ("7", (("image", "a.png"), ("text", "a dog"))),
    ]


def test_targets_of_several_inputs_are_told(tmp_path: Path) -> None:
    picture = pictures(1)[0]
    texts = [m2ib.contrast("a dog", "a cat", "a bird"), m2ib.ensemble("a dog", "the dog"), "a dog"]
    given = [{"id": str(n), "image": picture, "text": text} for n, text in enumerate(texts)]
    m2ib.run(model(), given, tmp_path / "r", **FEW)
    assert [row["input_2"] for row in table(tmp_path / "r")] == [
        "a dog rather than a cat, a bird",
        "the mean of a dog, the dog",
        "a dog",
    ]


def test_values_that_float16_does_not_hold(tmp_path: Path) -> None:
    from m2ib.results.rows import scale_of

    for values in (np.array([1e-7, 3e-9]), np.array([1e9, -5.0]), np.array([0.0]), np.array([5e4, 1.0])):
        scale = scale_of(values)
        back = (values / scale).astype(np.float16).astype(np.float64) * scale
        np.testing.assert_allclose(back, values, rtol=1e-3, atol=1e-3 * abs(values).max())
    assert scale_of(np.array([100.0, 1e-3])) == 1


def test_large_maps_lie_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m2ib.results.rows.LARGE", 8)
    found = m2ib.run(model(), pairs(2), tmp_path / "r", seeds=2, **FEW)
    row = found.row("p1")
    assert row["grid_1"] is None
    assert row["by_seed_1"] is None
    assert row["arrays"] == "arrays/part-000000.safetensors"
    alone = m2ib.explain(model(), image=pairs(2)[1]["image"], text=pairs(2)[1]["text"], seeds=2, **FEW)
    np.testing.assert_allclose(found["p1"]["image"].grid, alone["image"].grid, rtol=1e-5)
    np.testing.assert_allclose(found["p1"]["image"].by_seed, alone["image"].by_seed, rtol=1e-5)


def test_a_relative_path_is_found_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = m2ib.load_model("photo", device="cpu", size=64)
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "pairs.csv").write_text("image,text\na.png,a dog\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    m2ib.run(photo, "pairs.csv", "r", **FEW)
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = m2ib.results.open(tmp_path / "r")
    assert found.row("0")["input_1"] == str(tmp_path / "a.png")
    assert found.explanation("0", model=photo)["image"].view.pixels.shape == (40, 40, 3)


def test_a_data_set_that_does_not_tell_its_columns(tmp_path: Path) -> None:
    from datasets import IterableDataset

    rows = [
        {"id": "a", "text_1": "a dog", "text_2": "rain"},
        {"id": "b", "text_1": "a cat", "text_2": "snow"},
    ]
    streamed = IterableDataset.from_generator(lambda: iter(rows))
    assert streamed.column_names is None
    m2ib.run(m2ib.load_model("photo", device="cpu", size=64), streamed, tmp_path / "r", **FEW)
    assert [(row["id"], row["input_2"]) for row in table(tmp_path / "r")] == [("a", "rain"), ("b", "snow")]


def test_a_setting_that_is_given_twice(tmp_path: Path) -> None:
    with pytest.raises(
        m2ib.SettingError, match=r"^settings: 'steps' is given twice, by itself and in settings$"
    ):
        m2ib.run(model(), pairs(1), tmp_path / "r", **FEW, settings={"steps": 3})
    assert not (tmp_path / "r").exists()


def test_folders_that_are_called_as_parts_of_a_model_are_none_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from m2ib.results.resume import model_facts

    tiny = m2ib.load_model("imagebind-tiny", device="cpu")
    before = model_facts(tiny)
    for name in ("m2ib", "imagebind-tiny", "packaged", "float32"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(name)
    monkeypatch.chdir(tmp_path)
    assert model_facts(tiny) == before
