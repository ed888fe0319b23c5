"""The whole benchmark on a few scenes: what is counted, what is written, and how it refuses."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

import m2ib
from m2ib.benchmark import METHODS, Benchmark, run_scenes, save
from m2ib.benchmark.report import show
from m2ib.cli import main
from m2ib.scenes import scene
from m2ib.scenes.questions import questions
from scene_model import SceneModel, save_scene_model
from spotter import spotter
from where_run import noted, others


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> SceneModel:
    return save_scene_model(tmp_path_factory.mktemp("weights") / "random.safetensors")


SCENES, SEEDS = 3, (0, 2)


@pytest.fixture(scope="module")
def measured(tiny: SceneModel) -> Benchmark:
    """Sound, motion and text, all methods, two seeds."""
    model = replace(tiny.model, origin={"adapter": "<b>tiny</b>"})
    return run_scenes(
        model,
        scenes=SCENES,
        seeds=SEEDS,
        modalities=("imu", "audio", "text"),
        random_weights=tiny.model,
        batch_size=3,
    )


def test_every_map_has_a_row(measured: Benchmark) -> None:
    count: dict[tuple[str, str, str], int] = {}
    for row in measured.maps:
        key = row.modality, row.method, row.control
        count[key] = count.get(key, 0) + 1
    both = SCENES * len(SEEDS)
    expected = {(modality, method, ""): both for modality in ("imu", "audio", "text") for method in METHODS}
    expected |= {("audio-tf", method, ""): both for method in METHODS}
    for modality in ("imu", "audio", "audio-tf"):
        for method in ("m2ib", "sharp"):
            expected[modality, method, "random weights"] = both
            expected[modality, method, "absent object"] = len(SEEDS)  # one in four
    assert count == expected


def test_rows_ask_what_they_say(measured: Benchmark) -> None:
    asked = {question.scene.seed: question for seed in SEEDS for question in questions("test", seed, SCENES)}
    for row in measured.maps:
        question = asked[row.scene]
        assert row.kind == (question.absent if row.control == "absent object" else question.kind)
        assert ("pointing" in row.values) == (row.control != "absent object")
        assert ("deletion" in row.values) == (row.control == "" and row.modality in ("imu", "audio"))
        assert ("above_filler" in row.values) == (row.modality == "text")
        assert row.values["seconds"] >= 0


def test_controls_are_what_they_must_be(measured: Benchmark) -> None:
    found = {key: figure.mean for key, figure in measured.figures.items()}
    for modality in ("imu", "audio"):
        assert found[modality, "oracle", "", "pointing"] == 1
        assert found[modality, "oracle", "", "wrong"] == 0
        assert found[modality, "oracle", "", "iou"] > 0.8
        assert found[modality, "uniform", "", "auc"] == 0.5
        assert found[modality, "uniform", "", "mass"] == pytest.approx(1)
        area = np.mean(
            [
                question.scene.masks[modality][question.kind].any(0).mean()
                for seed in SEEDS
                for question in questions("test", seed, SCENES)
            ]
        )
        assert found[modality, "uniform", "", "pointing"] == pytest.approx(area)
    assert found["text", "oracle", "", "above_filler"] == 1
    assert found["text", "uniform", "", "above_filler"] == 0


def test_the_same_model_as_control_gives_the_same_maps(measured: Benchmark) -> None:
    for metric in ("pointing", "auc", "total"):
        own, control = (measured.figures["imu", "m2ib", c, metric].mean for c in ("", "random weights"))
        assert own == pytest.approx(control)


def test_one_map_by_hand(measured: Benchmark, tiny: SceneModel) -> None:
    """A row against explain() and a loop over the samples."""
    row = next(row for row in measured.maps if (row.modality, row.method, row.control) == ("imu", "m2ib", ""))
    question = questions("test", row.seed, SCENES)[0]
    assert row.scene == question.scene.seed
    text = f"a photo of a {question.kind}"
    grid = m2ib.explain(tiny.model, imu=question.scene.imu, text=text, seed=row.seed)["imu"].grid
    assert row.values["total"] == pytest.approx(grid.sum(), rel=1e-4)
    mask = question.scene.masks["imu"][question.kind].any(0)
    values = np.interp(np.arange(200) + 0.5, np.arange(40) * 5 + 2.5, grid)
    assert row.values["pointing"] == mask[values.argmax()]
    assert row.values["mass"] == pytest.approx(values[mask].sum() / values.sum() / mask.mean(), rel=1e-4)
    best = np.zeros(200, bool)
    best[np.argsort(-values)[: mask.sum()]] = True
    x = tiny.model.preprocess("imu", [question.scene.imu])
    assert isinstance(x, torch.Tensor)
    target = tiny.model.embed("text", tiny.model.preprocess("text", [text]))[0]

    def cosine(hidden: np.ndarray) -> float:
        changed = x.clone()
        changed[0, :, hidden] = 0  # the mean of each trace
        return float(tiny.model.embed("imu", changed)[0] @ target)

    nothing = np.zeros(200, bool)
    for name, chosen in (("", best), ("mask_", mask)):
        assert row.values[f"{name}deletion"] == pytest.approx(cosine(nothing) - cosine(chosen), abs=2e-5)
        assert row.values[f"{name}insertion"] == pytest.approx(cosine(~chosen) - cosine(~nothing), abs=2e-5)


def test_files(measured: Benchmark, tmp_path: Path) -> None:
    page = save(measured, tmp_path / "out")
    assert page == tmp_path / "out" / "index.html"
    with (page.parent / "maps.csv").open() as file:
        maps = list(csv.DictReader(file))
    assert len(maps) == len(measured.maps)
    assert [row["warnings"] for row in maps] == ["; ".join(each.warnings) for each in measured.maps]
    with (page.parent / "results.csv").open() as file:
        results = list(csv.DictReader(file))
    assert list(results[0]) == ["seed", "modality", "method", "control", "metric", "value", "maps"]
    for seed in SEEDS:  # a mean can be made again out of the maps
        own = [
            float(row["pointing"])
            for row in maps
            if (row["seed"], row["modality"], row["method"], row["control"])
            == (str(seed), "imu", "sharp", "")
        ]
        (value,) = [
            row
            for row in results
            if (row["seed"], row["modality"], row["method"], row["control"], row["metric"])
            == (str(seed), "imu", "sharp", "", "pointing")
        ]
        assert (float(value["value"]), int(value["maps"])) == (pytest.approx(np.mean(own)), len(own))
    absent = next(row for row in maps if row["control"] == "absent object")
    assert absent["pointing"] == ""
    assert float(absent["total"]) > 0
    settings = json.loads((page.parent / "settings.json").read_text())
    assert (settings["scenes"], settings["seeds"], settings["split"]) == (SCENES, list(SEEDS), "test")
    html = page.read_text()
    assert "http" not in html.replace("http-equiv", "")
    assert "<b>tiny</b>" not in html
    assert "&lt;b&gt;tiny&lt;/b&gt;" in html
    assert html.count('src="data:image/png') == 3  # a picture for each modality
    assert all(f"<q>{kind}</q>" in html for example in measured.examples for kind, _ in example.asked)
    with pytest.raises(m2ib.StorageError, match="is not empty"):
        save(measured, page.parent)


def test_missed_gates_are_shown(measured: Benchmark, tmp_path: Path) -> None:
    failed = [outcome for outcome in measured.outcomes if outcome.passed is False]
    assert failed  # the weights are random
    with (tmp_path / "shown.txt").open("w") as file:
        show(measured, Console(file=file, width=80))
    shown = (tmp_path / "shown.txt").read_text()
    assert shown.count("FAIL") == len(failed)
    assert "…" not in shown  # all of it fits
    assert max(map(len, shown.splitlines())) <= 80
    with (tmp_path / "wide.txt").open("w") as file:
        show(measured, Console(file=file, width=140))
    assert " ± " in (tmp_path / "wide.txt").read_text()
    html = save(measured, tmp_path / "out").read_text()
    assert html.count('class="FAIL"') == len(failed)


def test_two_workers_find_what_one_process_does(tiny: SceneModel, tmp_path: Path) -> None:
    found = []
    for workers in (1, 2):
        place = tmp_path / f"processes-{workers}"
        model = noted(tiny.model, "imu", place)
        asked = {"scenes": 3, "seeds": [0], "methods": ["m2ib", "oracle"], "modalities": ["imu"]}
        made = run_scenes(model, **asked, batch_size=2, workers=workers, show_progress=False)
        found.append([replace(each, values={**each.values, "seconds": 0}) for each in made.maps])
        assert bool(others(place)) == (workers == 2)
    assert found[0] == found[1]
    with pytest.raises(m2ib.SettingError, match="workers: 0 is out of range"):
        run_scenes(tiny.model, workers=0)


@pytest.mark.filterwarnings("ignore:.*goes without shifts and smooth:m2ib.M2IBWarning")
def test_a_plugins_model_without_axes() -> None:
    found = run_scenes(spotter(), scenes=4, seeds=[1]).figures
    assert ("text", "rise", "", "pointing") not in found  # it is not known how its words are hidden
    assert found["image", "oracle", "", "pointing"].mean > 0.5
    assert found["image", "oracle", "", "wrong"].mean == 0
    assert found["image", "rise", "", "seconds"].mean > 0
    assert 0 <= found["text", "m2ib", "", "pointing"].mean <= 1
    assert {key[0] for key in found} == {"image", "text"}


def test_inputs_in_which_nothing_can_be_hidden() -> None:
    model = spotter(by_name=True)
    found = run_scenes(model, scenes=2, seeds=[0], methods=["m2ib"], modalities="image").figures
    assert ("image", "m2ib", "", "pointing") in found
    assert ("image", "m2ib", "", "deletion") not in found
    with pytest.raises(m2ib.InputError) as error:
        run_scenes(model, scenes=2, seeds=[0], methods=["rise"], modalities=["image"])
    assert str(error.value) == (
        "benchmark: rise hides parts of an input, and those of image cannot be told in what this model takes; "
        "leave rise out of the methods"
    )
    with pytest.raises(m2ib.InputError, match="those of text cannot be told in what this model takes"):
        run_scenes(model, scenes=2, seeds=[0], methods=["rise"], modalities=["text"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"methods": ["rice"]},
            "method: 'rice' is unknown; did you mean 'rise'? There is "
            + ", ".join(m2ib.list_methods().names),
        ),
        (
            {"methods": []},
            "evaluate: give at least one method of " + ", ".join(m2ib.list_methods().names),
        ),
        ({"modalities": ["audio"]}, "benchmark: modality 'audio' is unknown. There is image, text"),
        ({"seeds": [1, 1]}, "benchmark: seeds=[1, 1] must be one or more different numbers"),
        ({"seeds": []}, "benchmark: seeds=[] must be one or more different numbers"),
        ({"scenes": 1}, "benchmark: scenes=1 is out of range; give 2 to 250,000"),
        ({"split": "train"}, "benchmark: split 'train' is unknown; it is 'test' or 'tune'"),
        ({"batch_size": 0}, "evaluate: batch_size 0 is out of range; it must be >= 1"),
    ],
)
def test_settings_that_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(m2ib.SettingError) as error:
        run_scenes(spotter(), **options)  # type: ignore[arg-type]
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("modalities", "message"),
    [
        (
            ["image"],
            "benchmark: the model 'spotter' takes no text, and a scene's objects are asked for by their names",
        ),
        (
            ["text"],
            "benchmark: the model 'spotter' takes text; besides text, scenes have image, audio, depth, thermal, imu",
        ),
    ],
)
def test_models_that_are_refused(modalities: list[str], message: str) -> None:
    model = spotter()
    part = replace(model, encoders={name: model.encoders[name] for name in modalities})
    with pytest.raises(m2ib.SettingError) as error:
        run_scenes(part)
    assert str(error.value) == message


# The command line


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["benchmark", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err.removeprefix("m2ib: error: ").strip()


def test_command(tiny: SceneModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["scenes", "--checkpoint", str(tiny.path), "--device", "cpu", "--scenes", "2", "--seeds", "3"]
    words += ["--methods", "m2ib", "oracle", "--modalities", "imu", "--out", str(tmp_path / "out")]
    assert main(["benchmark", *words, "--random-weights"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == str(tmp_path / "out" / "index.html")
    assert "m2ib pointing: imu" in out
    assert err == "m2ib: warning: imagebind-tiny: checkpoint='random' was loaded; its weights are random\n"
    with (tmp_path / "out" / "maps.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["method"], row["control"]) for row in rows} == {
        ("m2ib", ""),
        ("oracle", ""),
        ("m2ib", "absent object"),
        ("m2ib", "random weights"),
    }
    kept = (tmp_path / "out" / "maps.csv").read_text()
    assert main(["benchmark", *words, "--random-weights"]) == 0  # goes on, and finds everything done
    assert (tmp_path / "out" / "maps.csv").read_text() == kept
    capsys.readouterr()
    assert refused(capsys, *words, "--scenes", "3").startswith(
        "the folder holds an evaluation of other pairs (more or fewer of them)"
    )
    assert main(["benchmark", *words, "--force"]) == 0
    capsys.readouterr()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    said = refused(capsys, *words[:-1], str(tmp_path / "other"))
    assert said.endswith("is not empty; use --force (force=True) to write into it")
    assert scene(503_000_000, count=2).seed == int(rows[0]["scene"])


def test_command_refuses(tmp_path: Path, clip_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ("--out", str(tmp_path / "out"))
    assert refused(capsys, "photos", *out).startswith(
        "argument scenes: invalid choice: 'photos' (choose from"
    )
    assert refused(capsys, "scenes", "--model", "nope", *out).startswith(
        "load_model: no adapter is called 'nope'"
    )
    assert refused(capsys, "scenes", "--speed", "3", *out) == (
        "benchmark: '--speed' is not an option of this command; one of the adapter's is options.NAME=VALUE"
    )
    assert refused(capsys, "scenes", "options.device=cpu", *out) == (
        "benchmark: 'device' is not one of an adapter's own options; see --help"
    )
    assert refused(capsys, "scenes", "options.audio=[", *out) == (
        "benchmark: 'options.audio=[' is not key=value with a YAML value"
    )
    clip = ("--model", "clip", "--checkpoint", str(clip_folder), "--device", "cpu")
    assert refused(capsys, "scenes", *clip, "--random-weights", *out).startswith(
        "benchmark: --random-weights needs an adapter that takes checkpoint=\"random\", and 'clip' refuses it: "
    )
    assert not (tmp_path / "out").exists()
