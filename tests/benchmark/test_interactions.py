"""``m2ib benchmark scenes --interactions``: whose words point where, and what stands beside."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import m2ib
from m2ib.benchmark import InteractionScores, run_interactions, save_interactions
from m2ib.benchmark.gates import INTERACTIONS
from m2ib.benchmark.interactions import WordScore
from m2ib.cli import main


@pytest.fixture(scope="module")
def scores() -> InteractionScores:
    model = m2ib.load_model("imagebind-tiny")
    with pytest.warns(m2ib.M2IBWarning, match="its weights are random"):
        random = m2ib.load_model("imagebind-tiny", checkpoint="random")
    return run_interactions(
        model,
        scenes=12,
        ways=["second-order"],
        modalities=["image", "imu"],
        random_weights=random,
        split="tune",
    )


def test_words_point_into_their_objects_and_the_controls_do_not(scores: InteractionScores) -> None:
    found = scores.figures
    for modality in ("image", "imu"):
        own = found[modality, "second-order", "", "pointing"].mean
        assert own >= 0.8
        assert found[modality, "second-order", "", "wrong"].mean <= 0.1
        for control in ("shuffled words", "uniform", "centre", "random weights"):
            assert found[modality, "second-order", control, "pointing"].mean < own - 0.25
        assert found[modality, "null", "", "auc"].mean >= 0.85
    kinds = {(each.scene, each.kind) for each in scores.words}
    assert len(scores.words) == 2 * 5 * len(kinds)  # modalities, controls and what was found
    assert scores.settings["random_weights"] is True


def test_the_files_hold_what_was_found(scores: InteractionScores, tmp_path: Path) -> None:
    folder = save_interactions(scores, tmp_path / "out")
    with (folder / "interactions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(scores.words)
    assert float(rows[0]["pointing"]) == scores.words[0].pointing
    assert json.loads((folder / "settings.json").read_text())["ways"] == ["second-order"]
    with (folder / "apart.csv").open() as file:
        assert [row["modality"] for row in csv.DictReader(file)] == ["image", "imu"]


def test_means_are_over_seeds_and_gates_are_held() -> None:
    words = [
        WordScore(seed, n, "image", "second-order", "", "dog", float(hit), 0.0)
        for seed, hits in ((0, (1, 1)), (1, (1, 0)), (1, (0, 0)))
        for n, hit in enumerate(hits)
    ]
    made = InteractionScores(words, {(0, "image"): 0.9, (1, "image"): 1.0}, {})
    assert made.figures["image", "second-order", "", "pointing"].mean == pytest.approx(np.mean([1, 0.25]))
    assert made.figures["image", "null", "", "auc"].mean == pytest.approx(0.95)
    verdicts = {each.gate.name: each.verdict for each in made.outcomes}
    assert len(verdicts) == len(INTERACTIONS)
    assert verdicts["a word points into its object: image"] == "FAIL"
    assert verdicts["a word points into another: image"] == "pass"
    assert verdicts["a word points into its object: audio"] == "not measured"


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        "benchmark",
        "scenes",
        "--interactions",
        "--scenes",
        "2",
        "--seeds",
        "0",
        "--modalities",
        "imu",
    ]
    assert main([*command, "--methods", "second-order", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "a word points into its object: imu" in said
    assert (tmp_path / "out" / "interactions.csv").exists()
    assert main([*command, "--out", str(tmp_path / "out")]) == 2  # and not after all has been computed
    assert "--force" in capsys.readouterr().err
    assert main([*command, "--methods", "gradcam", "--out", str(tmp_path / "other")]) == 2
    assert "makes maps of one input; there is second-order" in capsys.readouterr().err
    with pytest.raises(m2ib.SettingError, match=r"interactions are of texts and .* not of taste"):
        run_interactions(m2ib.load_model("imagebind-tiny"), modalities=["taste"])
