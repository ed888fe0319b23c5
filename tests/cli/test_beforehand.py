"""What can be known without a model is refused before one is loaded: exit code 2, one line, and no adapter was asked for a model."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import m2ib
from m2ib.api import plan_for
from m2ib.cli import main
from m2ib.registry.specs import AdapterSpec

PAIR = "explain --image dog.png --text 'a dog' "
RUN, EVALUATE, TUNE = (f"{name} --data pairs.csv " for name in ("run", "evaluate", "tune"))
SCENES = "benchmark scenes "

REFUSED = {
    "explain --image nope.png --text 'a dog'": "image 'nope.png' does not exist; check the path",
    "explain --image '{image: nope.png}' --text 'a dog'": "image 'nope.png' does not exist; check the path",
    "explain --image '' --text 'a dog'": "image '' is empty; give a path",
    "explain --image dog.png --also nope.png --text 'a dog'": "image 'nope.png' does not exist; check the path",
    "explain --image dog.png --against nope.png --text 'a dog'": "image 'nope.png' does not exist; check the path",
    "explain --image https://a.b/c.png --text 'a dog'": "image 'https://a.b/c.png' is a URL, and nothing is fetched; download it and "
    "give the path",
    "explain --image dog.png --depth dog.png": "options: --depth is unknown. The model 'm2ib:photo' takes --image, --text",
    PAIR + "beta=-1": "beta for image: -1 is out of range; it must be >= 0",
    PAIR
    + "layer.text=-2": "layer for text: -2 is out of range; it must be >= -1, which is the embedding output",
    PAIR + "layer.image=x": "layer for image: 'x' is not a whole number; give one, or a dict by modality",
    PAIR + "steps=0": "steps for image: 0 is out of range; it must be >= 1",
    PAIR + "variance=0": "variance for image: 0 is out of range; it must be > 0",
    PAIR + "shifts=0": "shifts for image: 0 is out of range; it must be >= 1",
    PAIR + "noise=pink": "noise for image: 'pink' is unknown; it is 'independent' or 'antithetic'",
    PAIR + "preset=shrap": "preset for image: 'shrap' is unknown; did you mean 'sharp'? There is sharp",
    PAIR + "beta.depth=1": "beta: 'depth' is not a modality of this explanation (image, text)",
    PAIR + "target=alike": "target for image: 'alike' is unknown. It is 'similarity' or 'centred'",
    PAIR + "seed=-1": "seed for image: -1 is out of range; it must be >= 0",
    PAIR + "seeds=0": "seeds: 0 is not possible; give a whole number from 1 to 1000",
    PAIR + "null=1": "null: 1 is not possible; give how many other inputs, from 2 to 32, or 0 for none",
    PAIR + "--method gradcma": "method: 'gradcma' is unknown; did you mean 'gradcam'?",
    PAIR + "--method rise settings.masks=0": "masks for image: 0 is out of range; it must be >= 1",
    PAIR
    + "--method integrated-gradients settings.preset=sharp": "preset for image: 'sharp' is unknown. There is nib",
    PAIR + "--method m2ib,rise --signed": "signed: the method 'rise' does not tell what speaks against",
    PAIR
    + "--interactions '{method: banzhaf, masks: 2}'": "masks for image: 2 is out of range; it must be >= 4",
    PAIR
    + "--interactions '{method: banzhaf, maskz: 9}'": "interactions: 'maskz' is unknown; did you mean 'masks'?",
    PAIR
    + "units.image=slic:few": "units of image: 'slic:few' is no rule; there are slic:50, onsets and words",
    PAIR + "units.image=nope.png": "units of image 'nope.png' does not exist; check the path",
    PAIR + "units.depth=slic:5": "units: 'depth' is none of the pair's kinds. They are image, text",
    PAIR + "reference.image=[nope.png]": "image 'nope.png' does not exist; check the path",
    PAIR + "reference.depth=[dog.png]": "reference: 'depth' is not a modality of this model (image, text)",
    PAIR + "--boxes nope.json": "boxes 'nope.json' cannot be read: No such file or directory",
    PAIR + "--boxes empty.json": "boxes 'empty.json' is not COCO JSON, with images, annotations",
    PAIR + "--boxes '[[1, 2, 3]]'": "box 0 is (x, y, width, height[, label]), not [1, 2, 3]",
    PAIR + "--boxes '[1, 2, 3, 4]'": "box 0 is (x, y, width, height[, label]), not 1",
    PAIR + "--out mine": "output folder 'mine' exists and is not empty",
    PAIR + "--model phtoo": "load_model: no adapter is called 'phtoo' (did you mean 'photo'?)",
    PAIR + "--device gpu": "device: 'gpu' is unknown",
    PAIR + "options.sice=1": "adapter 'photo' has no option 'sice'; did you mean 'size'?",
    "run --data nope.csv": "data 'nope.csv' cannot be read: No such file or directory",
    RUN + "data.image=fotos": "data format 'csv' has no option 'image'; columns are chosen together, as in "
    "columns='image=fotos,text=caption' (data.columns=image=fotos,text=caption). It has path, columns",
    "run --data wrong.csv": "data 'wrong.csv' needs two columns that are named by a modality, as in image and text, or text_1 and text_2, "
    "and has 1 ('image'); choose two of 'image', 'words', as in columns='image=image,text=words' (data.columns=image=image,text=words)",
    RUN
    + "data.columns=image=foto,text=words": "data 'pairs.csv' lacks the columns 'foto', 'words'; it has 'image', 'text'",
    RUN + "--method gradcma": "method: 'gradcma' is unknown; did you mean 'gradcam'?",
    RUN + "beta=-1": "beta for image: -1 is out of range; it must be >= 0",
    RUN
    + "--model imagebind-tiny --data scenes data.modality=depth --model photo": "the pairs have depth and text, and the model 'photo' "
    "takes no depth; it takes image, text",
    RUN + "--batch-size 0": "batch_size: 0 is out of range; it must be a whole number >= 1",
    RUN + "--workers 0": "workers: 0 is out of range; it must be a whole number >= 1",
    RUN + "--limit -1": "limit: -1 is out of range; it must be a whole number >= 0",
    RUN + "--errors ignore": "errors: 'ignore' is unknown; it is 'raise' or 'keep'",
    RUN + "--shard 3/2": "shard: '3/2' is none",
    RUN + "--out mine": "output folder 'mine' exists and is not empty",
    "evaluate --data nope.csv": "data 'nope.csv' cannot be read: No such file or directory",
    EVALUATE + "--methods gradcma": "method: 'gradcma' is unknown; did you mean 'gradcam'?",
    EVALUATE + "--metrics dorp": "evaluate: metric 'dorp' is unknown; did you mean 'drop'?",
    EVALUATE + "settings.steps=0": "steps for image: 0 is out of range; it must be >= 1",
    EVALUATE + "settings.m2ib.preset=shrap": "preset for image: 'shrap' is unknown; did you mean 'sharp'?",
    EVALUATE
    + "--sides text settings.m2ib.beta.text=-1": "beta for text: -1 is out of range; it must be >= 0",
    EVALUATE + "--workers 0": "workers: 0 is out of range; it must be a whole number >= 1",
    EVALUATE + "--out mine": "output folder 'mine' exists and is not empty",
    TUNE + "--metric dorp": "tune: metric 'dorp' is unknown; did you mean 'drop'?",
    TUNE + "settings.steps=0": "steps for image: 0 is out of range; it must be >= 1",
    TUNE
    + "--pairs 100": "tune: 'pairs' has 6 rows, and pairs=100 with held_out of at least 2 need 102; give fewer, or more data",
    TUNE + "--workers 0": "workers: 0 is out of range; it must be a whole number >= 1",
    TUNE + "--out mine": "output folder 'mine' exists and is not empty",
    SCENES + "--modalities smell": "benchmark: modality 'smell' is unknown. There is image, audio",
    SCENES + "--workers 0": "workers: 0 is out of range; it must be a whole number >= 1",
    SCENES + "--interactions --scenes 1": "benchmark: scenes=1 is out of range; give 2 to 250,000",
    SCENES + "--interactions --modalities smell": "benchmark: interactions are of texts and image, audio",
    "demo --seed -1": "seed for image: -1 is out of range; it must be >= 0",
    "demo --out mine": "output folder 'mine' exists and is not empty",
    "demo --modalities --preset shrap": "preset for image: 'shrap' is unknown; did you mean 'sharp'?",
    "check photo --image nope.png --image dog.png": "image 'nope.png' does not exist; check the path",
    "check photo --text 'a dog'": "check: 1 example for 'text', and two are needed",
    "check photo --text 'a dog' --text 'a dog'": "check: the examples for 'text' are 'a dog' twice",
}


class Loading(BaseException):
    """An adapter was asked for a model."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder; no adapter can load anything."""

    def spy(*given: Any, **options: Any) -> Any:
        raise Loading

    monkeypatch.setattr(AdapterSpec, "loaded", spy)
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 30)).save("dog.png")
    Path("pairs.csv").write_text("image,text\n" + "dog.png,a dog\n" * 6, encoding="utf-8")
    Path("wrong.csv").write_text("image,words\ndog.png,a dog\n", encoding="utf-8")
    Path("empty.json").write_text("{}", encoding="utf-8")
    Path("mine").mkdir()
    Path("mine", "notes.txt").write_text("mine", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("line", REFUSED)
def test_refused_before_a_model_is_loaded(line: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(shlex.split(line))
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"m2ib: error: {REFUSED[line]}")


@pytest.mark.parametrize(
    "line",
    [
        PAIR + "layer=3 preset=sharp beta.image=0.5 units.text='a dog'",
        PAIR + "--boxes '[[1, 2, 3, 4, dog]]'",
        PAIR + "boxes='[[1, 2, 3, 4, dog]]'",
        "explain --text nope.png --text 'a dog'",
        "run --data wrong.csv data.columns=image=image,text=words",
        RUN + "--method m2ib,gradcam settings.layer.text=99",
        EVALUATE + "settings.layer=99",
        "check photo --text 'a dog' --text 'two dogs'",
    ],
)
def test_what_cannot_be_known_is_left_to_the_model(
    line: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer that may be there, a text that may be called like a file: the model is loaded."""
    asked: list[str] = []

    def spy(self: AdapterSpec, **options: Any) -> Any:
        asked.append(self.name)
        raise m2ib.CheckpointError("nothing is loaded here")

    monkeypatch.setattr(AdapterSpec, "loaded", spy)
    assert main(shlex.split(line)) == 2
    assert asked == ["photo"]


def test_presets_of_an_adapters_own_are_not_refused() -> None:
    """Those that it tells of, and where it tells of none whatever might be one."""
    plan = plan_for(preset="fine")
    for presets in (None, ("fine",)):
        plan.check_unloaded(("audio", "text"), presets)
    with pytest.raises(
        m2ib.SettingError, match=r"preset for audio: 'fine' is unknown\. There is sharp, smooth"
    ):
        plan.check_unloaded(("audio", "text"), ("smooth",))


def test_a_check_that_asks_for_more_of_an_encoder_is_left_to_it() -> None:
    """A plugin's own, whatever it makes of an encoder that is not there."""
    from m2ib.contract.settings import Setting, check_unloaded

    def check(value: Any, encoder: Any) -> Any:
        if value == "bad":
            raise m2ib.SettingError(f"mode for {encoder.modality}: bad")
        return {getattr(encoder, "mode", "none"): value}[value]

    declared = (Setting("mode", "", check=check),)
    check_unloaded(declared, "image", ("image", "text"), {"mode": "good"}, None)
    with pytest.raises(m2ib.SettingError, match="mode for image: bad"):
        check_unloaded(declared, "image", ("image", "text"), {"mode": {"image": "bad"}}, None)
    check_unloaded(declared, "text", ("image", "text"), {"mode": {"image": "bad"}}, None)
