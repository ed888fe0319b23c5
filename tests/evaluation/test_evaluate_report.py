"""What is written of an evaluation: CSV, Markdown, a page, and the tables on a terminal."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import m2ib
from accessible import alternatives, lacking
from m2ib.cli import main
from m2ib.data import open_pairs
from m2ib.evaluation.files import save
from m2ib.evaluation.measures import MEASURES
from m2ib.evaluation.published import PUBLISHED
from m2ib.evaluation.report import (
    cell_text,
    definition,
    explained,
    head,
    markdown,
    number,
    remarks,
    sheet,
    show,
    time_text,
)
from m2ib.evaluation.results import Cell, Results, read_results
from m2ib.evaluation.run import evaluate
from m2ib.evaluation.store import Score, Store
from m2ib.evaluation.study import Study
from m2ib.metrics import mean_over_seeds
from toy import save_clip_with_words

SCRIPT = "<script>alert('dog')</script>"
CSV_HEAD = "side,modality,method,control,metric,mean,error_over_seeds,error_over_pairs,pairs,undefined,seconds,published"


def written_pairs(folder: Path, texts: Sequence[str]) -> Path:
    folder.mkdir(exist_ok=True)
    lines = []
    for place, text in enumerate(texts):
        pixels = np.random.default_rng(place).integers(0, 256, (48, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{place}.png")
        row = {"id": f"<b>{place}", "image": f"{place}.png", "text": text, "boxes": [[4, 6, 20, 30]]}
        lines.append(json.dumps(row))
    path = folder / "pairs.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an evaluation with every piece: a bad pair, captions of strangers, boxes, sanity curves."""
    folder = tmp_path_factory.mktemp("report")
    model = m2ib.load_model("photo", device="cpu", size=64)
    path = written_pairs(folder / "data", [SCRIPT, "a cat & a dog", "the red cup"])
    (folder / "data" / "3.png").write_bytes(b"")
    with path.open("a") as file:
        file.write(json.dumps({"id": "broken", "image": "3.png", "text": "a dog"}) + "\n")
    study = Study(
        methods=("gradcam", "m2ib", "uniform"),
        metrics=("all",),
        seeds=(0, 1),
        settings={"m2ib": {"steps": 1, "samples": 2}},
        curve_steps=3,
        sanity_pairs=2,
        sanity_stages=2,
    )
    evaluate(model, open_pairs(path), study, folder / "out", show_progress=False)
    save(read_results(folder / "out"))
    return folder / "out"


def table_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_files(whole: Path) -> None:
    assert {path.name for path in whole.iterdir()} >= {
        "results.csv",
        "samples.csv",
        "bad-rows.csv",
        "results.md",
        "index.html",
        "evaluation.sqlite",
        "sanity-0-image.png",
        "sanity-1-text.png",
    }


def test_the_figures_as_csv(whole: Path) -> None:
    assert (whole / "results.csv").read_text().splitlines()[0] == CSV_HEAD
    results, rows = read_results(whole), table_of(whole / "results.csv")
    by_key = {(row["modality"], row["method"], row["metric"]): row for row in rows}
    assert len(by_key) == len(rows)
    samples = table_of(whole / "samples.csv")
    for table in results.tables:
        for (method, metric), cell in table.cells.items():
            row = by_key[table.modality, method, metric]
            assert (row["side"], row["control"]) == (str(table.side), str(int(dict(table.rows)[method])))
            own = [
                float(sample["mean_over_seeds"])
                for sample in samples
                if (sample["modality"], sample["method"], sample["metric"])
                == (table.modality, method, metric)
            ]
            assert int(row["pairs"]) == len(own) == len(cell.samples)
            assert repr(float(row["mean"])) == repr(cell.found.mean)
            if metric != "sanity" and own:
                assert float(row["mean"]) == pytest.approx(sum(own) / len(own))
            if metric != "sanity" and len(own) > 1:
                error = np.std(own, ddof=1) / math.sqrt(len(own))
                assert float(row["error_over_pairs"]) == pytest.approx(error)
            assert row["published"] == ""
    assert set(results.tables[0].metrics) == {name for name, each in MEASURES.items() if not each.extra}
    assert set(results.tables[0].metrics) - set(results.tables[1].metrics) == {
        "iou",
        "pointing",
        "mass-in-region",
    }
    assert by_key["image", "uniform", "drop"]["mean"] == "0.0"
    assert by_key["image", "gradcam (shuffled)", "drop"]["seconds"] == "nan"
    assert float(by_key["image", "gradcam", "drop"]["seconds"]) > 0
    assert float(by_key["image", "gradcam", "drop"]["error_over_seeds"]) == 0


def test_bad_rows_are_told(whole: Path) -> None:
    ((place, reason),) = ((row["place"], row["reason"]) for row in table_of(whole / "bad-rows.csv"))
    assert place == "broken"
    assert "3.png" in reason
    assert "1 bad row was left out: see bad-rows.csv" in remarks(read_results(whole))


def test_markdown(whole: Path) -> None:
    lines = (whole / "results.md").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "### Maps of image, against text"
    assert lines[2].startswith(
        "| method | pointing ↑ | IoU ↑ | mass in region ↑ | confidence drop, % ↓ | confidence increase, % ↑ | deletion AUC ↓ | "
    )
    assert any(
        line.startswith("| method | confidence drop, % ↓ | ") for line in lines
    )  # of texts nothing is known
    assert "- pointing ↑: " + definition("pointing") in lines
    assert set(lines[3]) == set("| -:")
    methods = [line.split(" | ")[0] for line in lines[4:9]]
    assert methods == [
        "| gradcam",
        "| *gradcam (shuffled)*",
        "| **m2ib**",
        "| *m2ib (shuffled)*",
        "| *uniform*",
    ]
    assert re.search(r"^\| \*uniform\* \| 0\.00 ± 0\.00 \| 0\.00 ± 0\.00 \| ", "\n".join(lines), re.MULTILINE)
    assert len({line.count("|") for line in lines[2:9]}) == 1
    assert any(line.startswith("3 pairs, 2 seeds. Means, ± the standard error over seeds.") for line in lines)
    assert lines[-1] == "- 1 bad row was left out: see bad-rows.csv"


@pytest.mark.parametrize("width", [60, 80, 200, 500])
def test_a_terminal_shows_every_figure_whatever_its_width(whole: Path, width: int) -> None:
    results, out = read_results(whole), io.StringIO()
    show(results, Console(file=out, width=width))
    text = out.getvalue()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    for table in results.tables:
        for (_, metric), cell in table.cells.items():
            assert cell_text(cell, metric) in text
    assert "time" in text
    assert "pointing ↑: How often the highest place" in text
    assert sheet(results.tables[0]).heads[:4] == [
        "pointing ↑",
        "IoU ↑",
        "mass in region ↑",
        "confidence drop, % ↓",
    ]
    if width == 500:
        assert text.count("┏") == 2


def test_the_page_has_every_piece(whole: Path) -> None:
    page = (whole / "index.html").read_text(encoding="utf-8")
    assert page.count('<div class="strip">') == len(
        [metric for table in read_results(whole).tables for metric in table.metrics]
    )
    assert page.count('<figure class="sanity">') == 2
    assert page.count("data:image/png;base64,") >= 2
    assert "Worst cases of gradcam" in page
    assert re.search(r"<b>IoU</b> of \d\.png and “", page)
    assert "</b> of pair" not in page
    assert page.index("<b>IoU</b>") < page.index("<b>confidence drop</b>")
    assert page.index("<dt>pointing ↑</dt>") < page.index("<dt>confidence drop, % ↓</dt>")
    assert lacking(page) == []
    said = " ".join(alternatives(page))
    for told in (
        "pointing of each pair",
        "map of image, with the means gradcam: ",
        "maps of text as weights are randomised",
    ):
        assert told in said
    assert re.search(r"heatmap over the image: image \d\.png, by gradcam, highest at row", said)
    assert page.count('<section class="case">') == 2 * 3 * 2  # sides, cases, metrics
    assert "Settings and provenance" in page
    assert "<h2>Maps of text, against image</h2>" in page
    for word in ("prefers-color-scheme: dark", 'content="light dark"'):
        assert word in page


def test_the_page_stands_alone_and_trusts_no_caption(whole: Path) -> None:
    page = (whole / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://(?!www\.w3\.org/)", page)
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert SCRIPT not in page
    assert "&lt;script&gt;alert" in page
    assert "<b>0" not in page
    assert "&lt;b&gt;0" in page
    assert page.count("<script>") == 1
    assert page.count("<script") == page.count("</script>")  # the others hold the numbers of the maps


def test_what_was_cut_off_can_be_shown(whole: Path, tmp_path: Path) -> None:
    """Without cases, curves and the count of pairs."""
    (tmp_path / "evaluation.sqlite").write_bytes((whole / "evaluation.sqlite").read_bytes())
    with Store(tmp_path) as store:
        for name in ("cases", "pairs", "sanity 0", "sanity 1"):
            store._write("DELETE FROM facts WHERE name = ?", (name,))
    page = save(read_results(tmp_path)).read_text(encoding="utf-8")
    assert "Worst cases" not in page
    assert '<figure class="sanity">' not in page
    assert "0 pairs, 2 seeds" in page


def test_the_paper_s_figures_in_brackets(whole: Path) -> None:
    found = read_results(whole, paper="ms-cxr")
    text = markdown(found)
    row = next(line for line in text.splitlines() if line.startswith("| **m2ib** |"))
    assert row.count("[") == 3  # drop, increase and IoU; ROAR+ was not asked for
    assert "[0.55]" in row
    assert "[45.92]" in row
    assert "[0.226]" in row
    assert "In brackets: Wang et al. 2023." in text
    assert "In brackets" not in markdown(read_results(whole))
    captions = markdown(read_results(whole, paper="conceptual-captions"))
    assert "[4.96]" in captions
    assert "[17.84]" in captions


def test_the_paper_s_figures_are_those_of_its_tables() -> None:
    assert PUBLISHED["conceptual-captions"]["image"]["m2ib"] == {
        "drop": 1.11,
        "increase": 41.55,
        "roar": 10.59,
    }
    assert PUBLISHED["conceptual-captions"]["text"]["kernelshap"] == {
        "drop": 1.71,
        "increase": 46.87,
        "roar": 47.46,
    }
    assert PUBLISHED["ms-cxr"]["image"]["chefer"] == pytest.approx(
        {"drop": 1.87, "increase": 21.44, "roar": 24.42, "iou": 0.2165}
    )
    assert PUBLISHED["ms-cxr"]["text"]["rise"] == {"drop": 1.16, "increase": 57.2, "roar": 12.09}


def test_every_metric_is_defined_in_one_sentence_with_its_direction_and_range() -> None:
    for name, measure in MEASURES.items():
        assert re.fullmatch(r"[A-Z][^.]+( [^.]+)*\.", measure.summary), name
        said = definition(name)
        assert ("is better" in said) == bool(measure.better)
        assert ("from 0 to 1" in said) == (measure.unit in ("share", "%"))
    assert definition("iou") == (
        "How well the highest quarter of the map and the true region agree: what both hold over what either holds. Higher is better, from 0 to 1."
    )
    assert definition("mass").endswith("No merit by itself, from 0 to 1.")
    known = [name for name, measure in MEASURES.items() if measure.located and not measure.extra]
    assert [*MEASURES][:3] == known  # whether maps find what is known leads every table


def cell_of(*seeds: Sequence[float], published: float | None = None) -> Cell:
    return Cell(mean_over_seeds(dict(enumerate(seeds))), {}, 0, published)


def test_numbers_as_text() -> None:
    assert head("drop") == "confidence drop, % ↓"
    assert head("iou") == "IoU ↑"
    assert head("mass") == "mean mass"
    assert [number(0.12345, "drop"), number(0.12345, "iou"), number(math.nan, "iou")] == [
        "0.12",
        "0.123",
        "–",
    ]
    assert cell_text(cell_of([1, 3], [2, 4]), "drop") == "2.50 ± 0.50"
    assert cell_text(cell_of([1, 3], published=1.11), "drop") == "2.00 [1.11]"
    assert cell_text(cell_of([math.nan]), "drop") == cell_text(None, "drop") == "–"
    assert [time_text(value) for value in (None, math.nan, 0.0123, 1.234)] == ["", "", "12.3 ms", "1.23 s"]


def test_remarks_tell_what_is_not_there(whole: Path) -> None:
    results = read_results(whole)
    first = results.tables[0]
    lacking = replace(first.cells["m2ib", "iou"], undefined=2)
    changed = replace(
        first, cells={**first.cells, ("m2ib", "iou"): lacking}, undefined={"chefer": "it reads attention"}
    )
    found = remarks(replace(results, tables=[changed], notes=[("line 3", "bad")] * 2))
    assert found[0] == "chefer for image: not defined, it reads attention"
    assert "IoU of image: up to 2 maps have none" in found
    assert found[-1] == "2 bad rows were left out: see bad-rows.csv"
    assert explained(replace(results, pairs=1)).startswith("1 pair, 2 seeds.")


def test_a_seed_that_was_not_asked_for_counts_for_nothing(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "evaluation.sqlite").write_bytes((whole / "evaluation.sqlite").read_bytes())
    before: Results = read_results(tmp_path)
    with Store(tmp_path) as store:
        store.add_scores(
            [Score(0, "gradcam", 9, "<b>1", 1, "drop", 1e6), Score(0, "rise", 0, "<b>1", 1, "drop", 1e6)]
        )
    after = read_results(tmp_path)
    assert after.tables[0].rows == before.tables[0].rows
    assert after.tables[0].cells["gradcam", "drop"].found == before.tables[0].cells["gradcam", "drop"].found


def test_the_command_shows_prints_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = save_clip_with_words(tmp_path / "clip")
    pairs, out = written_pairs(tmp_path / "data", ["a cat", "a red dog"]), tmp_path / "out"
    words = [
        "evaluate",
        "--model",
        "clip",
        "--checkpoint",
        str(clip),
        "--data",
        str(pairs),
        "--out",
        str(out),
    ]
    words += ["--methods", "gradcam", "--metrics", "drop", "--paper", "ms-cxr", "--device", "cpu"]
    assert main([*words, "--seeds", "0"]) == 0
    printed = capsys.readouterr().out
    assert "Maps of image, against text" in printed
    assert "[2.76]" in printed
    assert "One seed, so no standard error." in " ".join(printed.split())
    assert printed.splitlines()[-1] == str(out / "index.html")
    assert main([*words, "--seeds", "0,1"]) == 0
    assert "2 pairs, 2 seeds" in capsys.readouterr().out
    assert main([*words, "--seeds", "0", "--limit", "1"]) == 2
    assert capsys.readouterr().err == (
        "m2ib: error: the folder holds an evaluation with another study limit (None, now 1): use another folder, or begin anew with "
        "--force\n"
    )
    (out / "roar").mkdir()
    (out / "roar" / "original-0.pt").write_bytes(b"of another model")
    (out / "notes.txt").write_text("mine")
    assert main([*words[:4], str(tmp_path / "no checkpoint"), *words[5:], "--force"]) == 2
    assert (out / "evaluation.sqlite").is_file()  # nothing is thrown away for what cannot begin
    capsys.readouterr()
    assert main([*words, "--seeds", "0", "--limit", "1", "--force"]) == 0
    assert "1 pair, 1 seed." in capsys.readouterr().out
    assert (out / "roar" / "original-0.pt").read_bytes() == b"of another model"
    assert (out / "notes.txt").read_text() == "mine"


JUNK = ("{", "3", "[]", "[[]]", '{"study": 3}', "[" * 100_000)


def test_a_file_that_somebody_changed_is_shown_or_refused(whole: Path, tmp_path: Path) -> None:
    """Never a traceback, whatever stands in it."""
    data = (whole / "evaluation.sqlite").read_bytes()
    with Store(whole) as store:
        facts = [name for (name,) in store._read("SELECT name FROM facts")]
        asked = store.fact("asked")
    changes = [("UPDATE facts SET value = ? WHERE name = ?", (junk, name)) for name in facts for junk in JUNK]
    for group in asked:
        for name in asked[group]:
            for junk in (None, 3, [], {"methods": 3}):
                changed = json.dumps({**asked, group: {**asked[group], name: junk}})
                changes.append(("UPDATE facts SET value = ? WHERE name = 'asked'", (changed,)))
    columns = {
        "maps": ("side", "method", "seed", "pair", "number", "shape", "grid", "seconds"),
        "scores": ("side", "method", "seed", "pair", "number", "metric", "value"),
        "notes": ("kind", "place", "text"),
    }
    for table, names in columns.items():
        changes += [
            (f"UPDATE OR REPLACE {table} SET {name} = ?", (junk,))
            for name in names
            for junk in (None, 2**62, "x", b"\xff\0")
        ]
    refused: list[str] = []
    for place, (command, values) in enumerate(changes):
        folder = tmp_path / str(place)
        folder.mkdir()
        (folder / "evaluation.sqlite").write_bytes(data)
        with Store(folder) as store:
            store._connection.execute(command, values)
        try:
            results = read_results(folder)
            if "facts" in command:
                save(results)
            show(results, Console(file=io.StringIO()))
        except m2ib.StorageError as error:
            refused.append(str(error))
        shutil.rmtree(folder)
    assert 100 < len(refused) < len(changes)
    assert all(len(each) < 500 and "\n" not in each for each in refused)


@pytest.mark.parametrize(
    "command",
    [
        "CREATE VIEW more AS SELECT * FROM facts",
        "CREATE TRIGGER more AFTER INSERT ON facts BEGIN DELETE FROM maps; END",
        "ALTER TABLE maps ADD COLUMN more TEXT",
        "DROP TABLE notes",
    ],
)
def test_tables_of_another_version_are_refused(whole: Path, tmp_path: Path, command: str) -> None:
    (tmp_path / "evaluation.sqlite").write_bytes((whole / "evaluation.sqlite").read_bytes())
    with Store(tmp_path) as store:
        store._connection.execute(command)
    with pytest.raises(
        m2ib.StorageError, match="is no evaluation of this version: its tables are others; use another"
    ):
        read_results(tmp_path)
