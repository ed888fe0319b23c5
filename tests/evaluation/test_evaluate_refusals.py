"""What cannot be evaluated or explained is refused in one line, before a model is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import m2ib
from m2ib.cli import main
from m2ib.data import open_pairs
from m2ib.errors import SettingError
from m2ib.evaluation.measures import MEASURES
from m2ib.evaluation.study import Study, check

METHODS = "m2ib, gradcam, saliency, integrated-gradients, kernelshap, rise, chefer, grad-eclip, legrad, uniform, random"
SCENES = ("--model", "imagebind-tiny", "--data", "scenes")
PICTURES = ("--model", "photo", "--data", "pairs.jsonl")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with pairs, without boxes and with; and no model can be loaded."""

    def load(*given: Any, **options: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("m2ib.loading.load_model", load)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save("dog.png")
    row = {"image": "dog.png", "text": "a dog"}
    Path("pairs.jsonl").write_text(json.dumps(row) + "\n")
    Path("boxes.jsonl").write_text(json.dumps(row | {"boxes": [[1, 2, 3, 4]]}) + "\n")
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(list(words)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("m2ib: error: ")
    assert err.count("\n") == 1
    assert not Path("m2ib-evaluation").exists()
    return err.removeprefix("m2ib: error: ").strip()


EVALUATE = {
    "unknown model": (
        ("--model", "photos", "--data", "pairs.jsonl"),
        "load_model: no adapter is called 'photos' (did you mean 'photo'?). Known: photo, clip, ",
    ),
    "unknown method": (
        (*PICTURES, "--methods", "m2ib", "gradcm"),
        f"method: 'gradcm' is unknown; did you mean 'gradcam'? There is {METHODS}",
    ),
    "no method": ((*PICTURES, "methods=[]"), f"evaluate: give at least one method of {METHODS}"),
    "unknown metric": (
        (*PICTURES, "--metrics", "drop", "insertions"),
        f"evaluate: metric 'insertions' is unknown; did you mean 'insertion'? There is {', '.join(MEASURES)}",
    ),
    "metric without boxes": (
        (*PICTURES, "--metrics", "iou"),
        "evaluate: metric 'iou' needs to know where the evidence is, and the data 'pairs' has no boxes or regions; "
        "leave it out, or give pairs with boxes",
    ),
    "attention on a model that shows none": (
        (*PICTURES, "--methods", "m2ib", "chefer", "--sides", "image"),
        "evaluate: the method 'chefer' reads attention, and the model 'photo' shows none for image; leave it out",
    ),
    "modality": (
        ("--model", "photo", "--data", "scenes", "data.modality=audio"),
        "evaluate: the data 'scenes: audio' has audio and text, and the model 'photo' takes no audio; it takes image, "
        "text",
    ),
    "setting of none": (
        (*PICTURES, "--methods", "gradcam", "saliency", "settings.masks=3"),
        "evaluate: no method of gradcam, saliency has the setting 'masks'. They have layer",
    ),
    "setting of another method": (
        (*PICTURES, "--methods", "gradcam", "rise", "settings.gradcam.masks=3"),
        "evaluate: the method 'gradcam' has no setting 'masks'. It has layer",
    ),
    "misspelt setting": (
        (*PICTURES, "--methods", "rise", "settings.mask=3"),
        "evaluate: no method of rise has the setting 'mask'; did you mean 'masks'? They have cells, keep, layer, masks",
    ),
    "settings of a method that are no dict": (
        (*PICTURES, "--methods", "rise", "settings.rise=3"),
        "evaluate: settings of the method 'rise' are a dict by name, not 3",
    ),
    "setting as an option": (
        (*PICTURES, "masks=3"),
        "options: 'masks' is unknown; did you mean 'settings.masks', a setting of a method?",
    ),
    "adapter's option as an option": (
        (*PICTURES, "architecture=ViT-B-32"),
        "options: 'architecture' is unknown; did you mean 'options.architecture', an option of the adapter?",
    ),
    "no data": (
        ("--model", "photo"),
        "evaluate: --data is missing; it is a .csv, .jsonl, .parquet or .tar file, or a format with its options, as",
    ),
    "data without format": (
        ("--model", "photo", "data.count=3"),
        "evaluate: data has no format; the formats are csv, jsonl, ",
    ),
    "unknown data format": (
        ("--model", "photo", "--data", "scene"),
        "data: 'scene' is neither a format nor a file with the suffix .csv, .tsv, .tab, .jsonl, .ndjson, .parquet, .tar, "
        ".tar.gz, .tgz, .tar.bz2, .tar.xz; did you mean 'scenes'? The formats are csv, ",
    ),
    "unknown data option": (
        (*SCENES, "data.modalty=audio"),
        "data format 'scenes' has no option 'modalty'; did you mean 'modality'? It has modality, count, seed, split",
    ),
    "no such file": (("--model", "photo", "--data", "no.jsonl"), "no.jsonl"),
    "seed": ((*PICTURES, "--seeds", "0", "-1"), "evaluate: seed -1 is not a whole number >= 0"),
    "seed that is no number": (
        (*PICTURES, "--seeds", "one"),
        "evaluate: seed 'one' is not a whole number >= 0",
    ),
    "half a seed": ((*PICTURES, "seeds=[0,0.5]"), "evaluate: seed 0.5 is not a whole number >= 0"),
    "no seed": ((*PICTURES, "seeds=[]"), "evaluate: give at least one seed"),
    "side": (
        (*PICTURES, "--sides", "images"),
        "evaluate: side 'images' is not a modality of the pairs; they are image and text",
    ),
    "no side": ((*PICTURES, "sides=[]"), "evaluate: give at least one side of image and text"),
    "limit": ((*PICTURES, "--limit", "0"), "evaluate: limit 0 is out of range; it must be >= 1"),
    "batch size": ((*PICTURES, "batch_size=0"), "evaluate: batch_size 0 is out of range; it must be >= 1"),
    "stages": ((*PICTURES, "sanity_stages=1"), "evaluate: sanity_stages 1 is out of range; it must be >= 2"),
    "roar": (
        (*PICTURES, "roar.epoch=3"),
        "evaluate: roar has no 'epoch'; did you mean 'epochs'? It has ",
    ),
    "roar's values": ((*PICTURES, "roar.epochs=0"), "epochs"),
    "paper": (
        (*PICTURES, "--paper", "mscxr"),
        "evaluate: paper 'mscxr' is unknown; did you mean 'ms-cxr'? There is conceptual-captions, ms-cxr",
    ),
    "one seed": (
        (*PICTURES, "--metrics", "rank-correlation", "--seeds", "3"),
        "evaluate: rank-correlation compares seeds, and there is only 3; give more",
    ),
    "adapter's reserved option": (
        (*PICTURES, "options.device=cpu"),
        "options: 'device' is not one of an adapter's own options",
    ),
    "no option at all": ((*PICTURES, "gradcam"), "evaluate: 'gradcam' is neither an option nor key=value"),
}


@pytest.mark.parametrize(("words", "reason"), EVALUATE.values(), ids=EVALUATE.keys())
def test_evaluate_refuses(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], reason: str) -> None:
    found = refused(capsys, "evaluate", *words)
    assert found.startswith(reason) or (" " not in reason and reason in found)


def test_a_folder_that_holds_something_else_is_refused(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    (here / "taken").mkdir()
    (here / "taken" / "thesis.tex").write_text("years of work")
    assert refused(capsys, "evaluate", *PICTURES, "--out", "taken") == (
        "output folder 'taken' exists and is not empty; use --force (force=True) to write into it"
    )
    for more in ((), ("--force",)):
        assert refused(capsys, "evaluate", *PICTURES, "--out", "dog.png", *more) == (
            "output folder 'dog.png' cannot be made: it is a file; name a folder"
        )
        assert (here / "dog.png").is_file()


SIDES = ("--image", "dog.png", "--text", "a dog", "--model", "photo")

EXPLAIN = {
    "unknown": (
        ("--method", "m2ib,rize"),
        f"method: 'rize' is unknown; did you mean 'rise'? There is {METHODS}",
    ),
    "attention": (
        ("--method", "chefer"),
        "method 'chefer' reads attention, and the model 'photo' shows none for image; leave it out",
    ),
    "attention of several": (
        ("--method", "gradcam,legrad"),
        "method 'legrad' reads attention, and the model 'photo' shows none for image; leave it out",
    ),
    "nothing": (("--method", ","), "method: none is given; as in --method m2ib or --method m2ib,gradcam"),
    "setting of none": (
        ("--method", "gradcam,saliency", "settings.masks=3"),
        "settings: 'masks' is none of gradcam, saliency. There is layer",
    ),
    "option of none": (
        ("--method", "gradcam", "--beta", "0.5"),
        "settings: 'beta' is none of gradcam. There is layer",
    ),
    "setting of the bottleneck alone": (
        ("settings.mask=3",),
        "settings: 'mask' is none of m2ib. There is beta, ",
    ),
    "setting as an option": (
        ("masks=3",),
        "options: 'masks' is unknown; did you mean 'settings.masks', a setting of a method?",
    ),
}


@pytest.mark.parametrize(("words", "reason"), EXPLAIN.values(), ids=EXPLAIN.keys())
def test_explain_refuses(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], reason: str) -> None:
    assert refused(capsys, "explain", *SIDES, *words).startswith(reason)


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["evaluate", *words, "--print-config"]) == 0
    found: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return found


def test_options_from_a_file_from_flags_and_as_words(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    (here / "study.yaml").write_text(
        "model: imagebind-tiny\nmethods: [m2ib, rise]\nsettings: {masks: 5}\nlimit: 9\n"
    )
    found = printed(
        capsys,
        *("--config", "study.yaml", "--data", "scenes", "data.modality=imu", "--methods", "gradcam", "rise"),
        *("settings.rise.masks=7", "--seeds", "4", "5", "limit=2", "--controls", "false"),
    )
    assert found["model"] == "imagebind-tiny"
    assert found["data"] == {"format": "scenes", "modality": "imu"}
    assert found["methods"] == ["gradcam", "rise"]
    assert found["settings"] == {"masks": 5, "rise": {"masks": 7}}
    assert (found["seeds"], found["limit"], found["controls"]) == ([4, 5], 2, False)
    (here / "again.yaml").write_text(yaml.safe_dump(found))
    assert printed(capsys, "--config", "again.yaml") == found


@pytest.mark.parametrize("seeds", [("0,1,2",), ("0", "1", "2"), ("0,1", "2")])
def test_lists_are_words_or_have_commas_between(seeds: tuple[str, ...]) -> None:
    from m2ib.cli.evaluate import EvaluateConfig, study_of

    study = study_of(
        EvaluateConfig(seeds=list(seeds), methods="m2ib,gradcam", metrics=["drop, iou"], sides="text")
    )
    assert study.seeds == (0, 1, 2)
    checked = check(Study(**{**vars(study), "metrics": ("drop",)}), open_pairs("pairs.jsonl"))
    assert checked.study.seeds == (0, 1, 2)
    assert (study.methods, study.metrics, study.sides) == (("m2ib", "gradcam"), ("drop", "iou"), ("text",))


# What "all" is


def test_all_is_what_the_pairs_allow() -> None:
    plain, located = open_pairs("pairs.jsonl"), open_pairs("boxes.jsonl")
    info = m2ib.list_adapters()["photo"]
    everything = Study(("all",), ("all",))
    found = check(everything, plain, info)
    assert found.study.metrics == (
        "drop",
        "increase",
        "deletion",
        "insertion",
        "rank-correlation",
        "sanity",
        "mass",
    )
    assert ", ".join(found.study.methods) == METHODS
    assert {(place, name) for place, name, _ in found.undefined} == {
        (0, "chefer"),
        (0, "grad-eclip"),
        (0, "legrad"),
    }
    assert not found.defined(0, "chefer")
    assert found.defined(1, "chefer")
    assert {"iou", "pointing", "mass-in-region"} <= set(check(everything, located, info).study.metrics)
    alone = check(Study(["all"], ["all"], seeds=[1]), plain, info)  # type: ignore[arg-type]
    assert "rank-correlation" not in alone.study.metrics
    assert "roar" not in found.study.metrics
    assert check(Study(("m2ib",), ("drop",)), plain).study.metrics == ("drop", "mass")


def test_a_method_that_is_left_with_one_side_is_no_error() -> None:
    found = check(Study(("chefer",), ("drop",)), open_pairs("pairs.jsonl"), m2ib.list_adapters()["photo"])
    assert found.undefined == ((0, "chefer", "it reads attention, and the image encoder shows none"),)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"settings": 3}, "evaluate: settings are a dict by name, as in {'masks': 512}, not 3"),
        ({"roar": 3}, "evaluate: roar is a dict by name, as in {'epochs': 3}, not 3"),
        ({"seeds": (True,)}, "evaluate: seed True is not a whole number >= 0"),
        ({"null": 1}, "evaluate: null 1 is out of range; it must be >= 2"),
        ({"curve_steps": 2.5}, "evaluate: curve_steps 2.5 is out of range; it must be >= 1"),
    ],
)
def test_python_callers_are_told_as_well(more: dict[str, Any], reason: str) -> None:
    with pytest.raises(SettingError) as caught:
        check(Study(("gradcam",), ("drop",), **more), open_pairs("pairs.jsonl"))
    assert str(caught.value) == reason


def test_what_a_method_is_given() -> None:
    settings = {"masks": 5, "layer": {"image": 1}, "rise": {"masks": {"text": 3}}}
    found = check(Study(("rise", "gradcam"), ("drop",), settings=settings), open_pairs("pairs.jsonl"))
    assert found.given("rise", 2) == {"masks": {"text": 3}, "layer": {"image": 1}, "seed": 2}
    assert found.given("rise", 2, "image") == {"masks": None, "layer": 1, "seed": 2}
    assert found.given("rise", 2, "text") == {"masks": 3, "layer": None, "seed": 2}
    assert found.given("gradcam", 0, "image") == {"layer": 1, "seed": 0}
