"""``m2ib results``: what a run's folder holds, as lines, as a table, as a page, and one pair as ``m2ib explain`` writes it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import m2ib
from m2ib.cli import main
from many_pairs import FAST, pairs, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("run"), method="m2ib,gradcam").folder


class Results:
    """``m2ib results``: exit code, what was printed, and the one line of a refusal."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: object) -> list[str]:
        self._capsys.readouterr()
        code = main(["results", *map(str, words)])
        out, err = self._capsys.readouterr()
        assert (code, err) == (0, "")
        return out.splitlines()

    def refused(self, *words: object) -> str:
        self._capsys.readouterr()
        code = main(["results", *map(str, words)])
        out, err = self._capsys.readouterr()
        assert (code, out, err.count("\n")) == (2, "", 1)
        return err.removeprefix("m2ib: error: ").strip()


@pytest.fixture
def results(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Results:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return Results(capsys)


def test_the_summary_alone(results: Results, folder: Path) -> None:
    lines = results(folder)
    assert [line.split()[0] for line in lines] == ["rows", "explained", "errors", "similarity", "seconds"]
    assert lines[0].split(maxsplit=1)[1].strip() == "16 (8 by gradcam, 8 by m2ib)"


def test_a_table_of_rows(results: Results, folder: Path) -> None:
    asked = m2ib.results.open(folder).where("error is null").sort("similarity desc")
    head, *lines, last = results(
        folder, "--where", "error is null", "--sort", "similarity desc", "--limit", 3
    )
    assert head.split() == ["id", "method", "similarity", "input_1", "input_2", "words", "error"]
    assert last == "the first 3 of 12 rows; more with --limit"
    for line, row in zip(lines, asked.head(3), strict=True):
        best = sorted(row["words_2"], key=lambda each: -each["value"])[:3]
        assert line.startswith(f"{row['id']} ")
        assert f"{row['similarity']:.4g}" in line
        assert line.rstrip().endswith(", ".join(each["word"] for each in best))
    head, *lines = results(
        folder, "--columns", "id, error_kind", "--where", "error is not null and method = 'm2ib'"
    )
    assert [line.split() for line in (head, *lines)] == [
        ["id", "error_kind"],
        ["gone", "InputError"],
        ["word", "InputError"],
    ]
    assert results(folder, "--where", "false", "--columns", "id") == ["id"]


def test_a_run_that_asks_whether_pairs_belong_together(results: Results, tmp_path: Path) -> None:
    asked = ["--null", "2", "--interactions", "true", "--signed", "--steps", "2", "--samples", "2"]
    data = ["--data", "scenes", "data.modality=image", "data.count=2"]
    assert main(["run", *data, "--model", "imagebind-tiny", *asked, "--out", "asked"]) == 0
    assert [line.split()[0] for line in results("asked")] == ["rows", "explained", "similarity", "unspecific", "seconds"]  # fmt: skip
    head, *lines = results("asked", "--sort", "specificity")
    assert head.split()[:4] == ["id", "similarity", "specificity", "input_1"]
    found = m2ib.results.open("asked").sort("specificity")
    for line, row in zip(lines, found, strict=True):
        assert f"{row['specificity']:.4g}" in line
    results("asked", "--id", row["id"], "--out", "report")
    explanation = m2ib.load_explanation(tmp_path / "report")
    assert explanation.specificity == row["specificity"]
    assert explanation.interactions is not None
    assert explanation["image"].against is not None


def test_a_pair_as_explain_writes_it(results: Results, folder: Path, tmp_path: Path) -> None:
    similarity, page = results(folder, "--id", "wide", "--method", "m2ib", "--out", "report")
    explanation = m2ib.load_explanation(tmp_path / "report")
    assert similarity == f"cosine similarity {explanation.similarity:.4f}"
    assert page == str(tmp_path / "report" / "index.html")
    assert explanation["image"].view.pixels.shape == (120, 180, 3)
    assert {path.name for path in (tmp_path / "report").iterdir()} >= {
        "index.html",
        "figure.png",
        "manifest.json",
    }
    assert "name one of them as method" in results.refused(folder, "--id", "wide", "--out", "other")
    assert "has no explanation" in results.refused(
        folder, "--id", "gone", "--method", "m2ib", "--out", "other"
    )
    assert "exists and is not empty" in results.refused(
        folder, "--id", "tall", "--method", "m2ib", "--out", "report"
    )
    assert not (tmp_path / "other").exists()


def test_the_overview(results: Results, folder: Path, tmp_path: Path) -> None:
    (page,) = results(folder, "--where", "method = 'm2ib'", "--overview", "page.html", "--title", "Ours")
    text = Path(page).read_text()
    assert page == str(tmp_path / "page.html")
    assert "<h1>Ours</h1>" in text
    assert text.count('<article class="card"') == 8


def test_rows_of_one_method(results: Results, folder: Path, tmp_path: Path) -> None:
    lines = results(folder, "--method", "gradcam", "--columns", "method")
    assert [line.strip() for line in lines] == ["method", *["gradcam"] * 8]
    results(folder, "--method", "m2ib", "--where", "error is null", "--overview", "page.html")
    assert (tmp_path / "page.html").read_text().count('<article class="card"') == 6


def test_a_model_that_cannot_be_loaded_again(results: Results, tmp_path: Path) -> None:
    """It was made in Python: what was kept is shown, and of the rest the way out is said."""
    loaded = m2ib.load_model("imagebind-tiny", device="cpu")
    model = m2ib.Model(loaded.module, loaded.encoders, loaded.device, loaded.dtype, loaded.origin)
    m2ib.run(model, pairs(tmp_path), tmp_path / "mine", show_progress=False, limit=5, **FAST)
    said = results.refused("mine", "--overview", "page.html")
    assert said.startswith(
        "results: what is shown of inputs was not kept, and the model that reads them again was not loaded by name"
    )
    assert "--keep-inputs" in said
    assert not (tmp_path / "page.html").exists()
    assert results("mine", "--id", "array", "--out", "report")
    assert results("mine", "--where", "id = 'array'", "--overview", "page.html")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--where", "simlarity < 1"], "'simlarity < 1' cannot be asked"),
        (
            ["--where", ""],
            "results: the condition '' cannot be asked: it is empty; give one as 'similarity < .2'",
        ),
        (["--sort", ""], "results: the order '' cannot be asked: it is empty; give one as 'similarity desc'"),
        (["--sort", "nope"], "results: 'nope' cannot be asked: there is no column 'nope'"),
        (["--method", "gradcan"], "'gradcan' is no method of this run; did you mean 'gradcam'? There are "),
        (["--id", "a", "--method", "gradcan"], "'gradcan' is no method of this run; did you mean 'gradcam'?"),
        (["--id", "a", "--overview", "a.html"], "--overview has no use beside --id; leave one of them out"),
        (["--id", "a", "--limit", "0"], "--limit has no use beside --id"),
        (["--id", "a", "--sort", "id"], "--sort has no use beside --id"),
        (["--id", "a", "--columns", "id"], "--columns has no use beside --id"),
        (["--overview", "a.html", "--columns", "id"], "--columns has no use beside --overview"),
        (["--overview", "a.html", "--out", "report"], "--out has no use beside --overview"),
        (["--overview", "a.html", "--force"], "--force has no use beside --overview"),
        (["--title", ""], "--title is an option of --overview and --id; give one, or leave it out"),
        (["--limit", "3", "--device", "cpu"], "--device is an option of --overview and --id"),
        (["--out", "report"], "--out is an option of --id; give one, or leave it out"),
        (["--force"], "--force is an option of --id"),
        (["--columns", "id,words_3"], "there is no column 'words_3'; did you mean 'words_2'"),
        (["--limit", "-1"], "limit: -1 is none"),
        (["--id", "nobody"], "there is no pair 'nobody'"),
        (["--nonsense", "1"], "'--nonsense' is not an option of this command"),
        (["--overview", ""], "overview: '' names no place"),
    ],
)
def test_refusals(results: Results, folder: Path, words: list[str], said: str) -> None:
    assert said in results.refused(folder, *words)


def test_a_folder_of_something_else(results: Results, tmp_path: Path) -> None:
    said = "holds no results of a run: {}; give the folder that m2ib run wrote"
    assert results.refused(tmp_path) == f"{str(tmp_path)!r} {said.format('run.json is missing')}"
    gone = tmp_path / "gone"
    assert results.refused(gone) == f"{str(gone)!r} {said.format('there is no such folder')}"


def test_to_look_loads_no_torch(folder: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from m2ib.cli import main; "
        f"assert main(['results', {str(folder)!r}, '--limit', '2']) == 0; "
        f"assert main(['results', {str(folder)!r}, '--where', \"id = 'array'\", '--overview', {str(tmp_path / 'o.html')!r}]) == 0; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
