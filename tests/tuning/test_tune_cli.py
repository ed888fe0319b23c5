"""``m2ib tune`` in process, its settings in ``m2ib explain``, and processes that are killed at any moment."""

from __future__ import annotations

import csv
import multiprocessing
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import m2ib
from m2ib.cli import main

COMMON = [
    "--model",
    "imagebind-tiny",
    "--device",
    "cpu",
    "--data",
    "scenes",
    "data.split=tune",
    "data.count=4",
]
QUICK = ["settings.steps=2", "settings.samples=2", "--pairs", "1", "--held-out", "1"]
GRID = ["grid.layer=[0,1]", "grid.beta=[1,0.01]", "grid.variance=[1.0]"]


def words(out: Path, *more: str) -> list[str]:
    grid = [word for word in GRID if word.split("=")[0] not in {word.split("=")[0] for word in more}]
    return ["tune", *COMMON, *QUICK, *grid, "--out", str(out), *more]


def tables(folder: Path, side: str = "image") -> list[list[dict[str, str]]]:
    """What is written, without the times."""
    found = []
    for part in ("trials", "held-out"):
        with (folder / f"{side}-{part}.csv").open(newline="", encoding="utf-8") as file:
            found.append([{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)])
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both sides, tuned in one folder one after the other."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    for side, metric in (("image", "insertion"), ("text", "drop")):
        assert main(words(folder, "--side", side, "--metric", metric)) == 0
    return folder


def refused(capsys: pytest.CaptureFixture[str], *given: str) -> str:
    capsys.readouterr()
    assert main(list(given)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("m2ib: error: ")
    assert err.count("\n") == 1
    return err.removeprefix("m2ib: error: ").strip()


def test_settings_of_both_sides_are_what_explain_takes(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best: dict[str, dict[str, Any]] = {}
    for side in ("image", "text"):
        row = next(row for row in tables(whole, side)[0] if row["best"] == "1")
        best[side] = {
            "layer": int(row["layer"]),
            "beta": float(row["beta"]),
            "variance": float(row["variance"]),
        }
    written = yaml.safe_load((whole / "settings.yaml").read_text(encoding="utf-8"))
    assert written == {
        "model": "imagebind-tiny",
        "steps": {"image": 2, "text": 2},
        "samples": {"image": 2, "text": 2},
        **{name: {side: best[side][name] for side in best} for name in ("layer", "beta", "variance")},
    }
    picture = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(picture)
    code = main(
        [
            "explain",
            *("--config", str(whole / "settings.yaml"), "--image", str(picture), "--text", "a bell"),
            *("--out", str(tmp_path / "report"), "--device", "cpu"),
        ]
    )
    assert (code, capsys.readouterr().err) == (0, "")
    explanation = m2ib.load_explanation(tmp_path / "report")
    for side in ("image", "text"):
        settings = explanation[side].settings
        assert {name: settings[name] for name in best[side]} == best[side]
        assert (settings["steps"], settings["samples"]) == (2, 2)


def test_what_is_printed_and_written(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tables(whole)
    assert main(words(whole, "--side", "image", "--metric", "insertion")) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[-1] == str(whole / "settings.yaml")
    assert "Maps of image: 4 settings on 1 pair " in out
    assert tables(whole) == before
    with Image.open(whole / "image.png") as picture:
        assert picture.width > 500


def test_a_folder_of_another_search_is_refused_and_force_begins_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = ["grid.layer=[1]", "grid.beta=[1]"]
    assert main(words(tmp_path / "out", "--side", "image", *one)) == 0
    other = words(tmp_path / "out", "--side", "image", "--metric", "drop", *one)
    assert refused(capsys, *other) == (
        "the folder holds a search with another search metric: use another folder, or begin anew with --force"
    )
    assert main([*other, "--force"]) == 0
    assert {row["metric"] for row in tables(tmp_path / "out")[0]} == {"drop"}


def test_a_folder_of_something_else_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert refused(capsys, *words(tmp_path)) == (
        f"output folder {str(tmp_path)!r} exists and is not empty; use --force (force=True) to write into it"
    )
    assert main(words(tmp_path, "--side", "image", "grid.layer=[1]", "grid.beta=[1]", "--force")) == 0
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_both_sides_are_the_default_and_a_grid_can_be_by_modality(tmp_path: Path) -> None:
    given = words(tmp_path / "out", "grid.beta=[1.0]", "grid.layer={image: [1], text: [-1, 0]}")
    assert main([*given, "--metric", "drop"]) == 0
    points = {
        side: [(row["layer"], row["beta"]) for row in tables(tmp_path / "out", side)[0]]
        for side in ("image", "text")
    }
    assert points == {"image": [("1", "1.0")], "text": [("-1", "0.1"), ("-1", "1.0"), ("0", "1.0")]}


def test_bad_input_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    for more, message in (
        (
            ["--side", "image,audio"],
            "tune: side 'audio' is not a modality of the pairs; they are image and text",
        ),
        (["--metric", "insertoin"], "tune: metric 'insertoin' is unknown; did you mean 'insertion'?"),
        (["--side", "audio"], "tune: side 'audio' is not a modality of the pairs; they are image and text"),
        (["--held-out", "0"], "tune: held_out 0 is out of range; it must be >= 1"),
        (["grid.betta=[1]"], "tune: grid 'betta' is unknown; did you mean 'beta'?"),
        (
            ["grid.beta={imagge: [1]}"],
            "tune: grid 'beta': 'imagge' is not a modality of the pairs; did you mean 'image'? They are image and text",
        ),
        (["beta=1"], "options: 'beta' is unknown; did you mean 'grid.beta', values to be tried? Known:"),
        (["steps=1"], "options: 'steps' is unknown; did you mean 'settings.steps', a setting of a method?"),
        (["grid.layer=[9]"], "layer for image: 9 is out of range; this encoder has the blocks 0 to 3"),
        (
            ["--pairs", "9"],
            "tune: 'scenes: image' has 4 rows, and pairs=9 with held_out=1 need 10; give fewer, or more data",
        ),
        (["--nonsense"], "tune: '--nonsense' is neither an option nor key=value; see m2ib tune --help"),
    ):
        assert refused(capsys, *words(out, *more)).startswith(message)
    assert not (out / "study.db").exists()


def test_the_configuration_can_be_printed_and_read_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words(tmp_path), "--print-config"]) == 0
    text = capsys.readouterr().out
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    assert main(["tune", "--config", str(tmp_path / "config.yaml"), "--print-config"]) == 0
    assert capsys.readouterr().out == text
    assert yaml.safe_load(text)["grid"] == {"layer": [0, 1], "beta": [1, 0.01], "variance": [1.0]}


# Killed


def start(given: Sequence[str]) -> Any:
    """The command in a process of its own. What it imports was imported once, in the process that it is forked from."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "m2ib.cli",
            "m2ib.tuning.run",
            "m2ib.tuning.report",
            "m2ib_adapters.imagebind_tiny.adapter",
            "optuna",
        ]
    )
    process = context.Process(target=main, args=(list(given),))
    process.start()
    return process


def test_killed_at_any_moment_it_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    def command(folder: str) -> list[str]:
        return words(tmp_path / folder, "--side", "image", "--metric", "drop")

    start(["adapters"]).join()  # and everything is imported
    began = time.monotonic()
    start(command("one")).join()
    took = time.monotonic() - began
    random, killed = np.random.default_rng(0), 0
    for _ in range(10):
        process = start(command("two"))
        process.join(random.uniform(0.15, 0.55) * took)
        process.kill()
        process.join()
        killed += process.exitcode == -9
        assert process.exitcode in (0, -9)
    last = start(command("two"))
    last.join()
    assert last.exitcode == 0
    assert killed >= 3
    assert tables(tmp_path / "two") == tables(tmp_path / "one")
