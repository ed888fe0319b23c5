"""The command line in process: what it writes, and how it refuses, in one line and with exit code 2."""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import m2ib
from m2ib.cli import main
from m2ib.cli.config import READER, read_config, read_inputs
from m2ib.cli.options import as_yaml
from toy import png, save_clip_with_words

FAST = ("steps=1", "samples=1")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clip_with_words(tmp_path_factory.mktemp("words") / "clip")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a photo in it."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save("dog.png")
    return tmp_path


class Run:
    """``m2ib explain`` on the tiny CLIP: exit code, and what was printed."""

    def __init__(self, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._clip, self._capsys = clip, capsys

    def __call__(self, *words: str, model: bool = True) -> tuple[int, str, str]:
        self._capsys.readouterr()
        chosen = ("--model", "clip", "--checkpoint", str(self._clip), "--device", "cpu") if model else ()
        code = main(["explain", *chosen, *FAST, *words])
        out, err = self._capsys.readouterr()
        return code, out, err

    def refused(self, *words: str, model: bool = True) -> str:
        """The one line that says why, without its beginning."""
        code, out, err = self(*words, model=model)
        assert (code, out) == (2, "")
        assert err.startswith("m2ib: error: ")
        assert err.count("\n") == 1
        assert err.endswith("\n")
        return err.removeprefix("m2ib: error: ").strip()


@pytest.fixture
def run(clip: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(clip, capsys)


PAIR = ("--image", "dog.png", "--text", "a dog")


def test_explain_writes_a_report(run: Run, here: Path) -> None:
    code, out, err = run(*PAIR, "--out", "report")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == str(here / "report" / "index.html")
    assert {path.name for path in (here / "report").iterdir()} >= {
        "index.html",
        "figure.png",
        "manifest.json",
    }
    explanation = m2ib.load_explanation(here / "report")
    assert out.splitlines()[0] == f"cosine similarity {explanation.similarity:.4f}"
    assert explanation.modalities == ("image", "text")


def test_boxes_as_a_list(run: Run, here: Path) -> None:
    """As a flag, as key=value and in a file alike; what is no list is the path of a file."""
    Path("boxes.yaml").write_text("boxes:\n- [10, 5, 20, 15, a cat]\n", encoding="utf-8")
    given = '[[10, 5, 20, 15, "a cat"]]'
    for number, words in enumerate((("--boxes", given), (f"boxes={given}",), ("--config", "boxes.yaml"))):
        assert run(*PAIR, *words, "--out", str(number))[0] == 0
        (box,) = m2ib.load_explanation(str(number))["image"].view.boxes
        assert (box.x, box.y, box.width, box.height, box.label) == (10, 5, 20, 15, "a cat")
    assert (
        run.refused(*PAIR, "--boxes", "[1].json")
        == "boxes '[1].json' cannot be read: No such file or directory"
    )


def test_explain_two_texts(run: Run, here: Path) -> None:
    assert run("--text", "a cat", "--text", "the dog")[0] == 0
    first, second = m2ib.load_explanation("m2ib-report")
    assert [first.view["text"], second.view["text"]] == ["a cat", "the dog"]


def test_explain_a_contrast(run: Run, here: Path) -> None:
    assert run("--image", "dog.png", "--text", "a cat", "--against", "a dog", "--against", "a cup")[0] == 0
    explanation = m2ib.load_explanation("m2ib-report")
    assert explanation["image"].against is not None
    assert explanation["text"].view["text"] == "a cat"


def test_a_long_text_can_be_cut(run: Run) -> None:
    pair = ("--image", "dog.png", "--text", "a " * 30)
    assert "12 more than the model's 20; shorten it, or pass truncate=True (--truncate)" in run.refused(*pair)
    assert run(*pair, "--truncate")[0] == 0
    assert m2ib.load_explanation("m2ib-report")["text"].tokens[-1] == "<|endoftext|>"


def test_a_warning_is_one_line_and_no_error(run: Run, here: Path) -> None:
    Image.new("RGB", (10_000, 50), (90, 20, 20)).save("strip.png")
    code, out, err = run("--image", "strip.png", "--text", "a cat")
    assert code == 0
    assert err.splitlines() == [
        "m2ib: warning: image of 10000x50 pixels: the model's centre crop sees 0.5% of it; crop the image to what matters"
    ]
    assert out.splitlines()[-1] == str(here / "m2ib-report" / "index.html")


def test_each_step_of_the_work_is_told_where_there_is_no_terminal(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("m2ib.progress.SILENCE", 0.0)
    Image.new("RGB", (10_000, 50), (90, 20, 20)).save("strip.png")
    words = ("--image", "strip.png", "--text", "a cat")
    code, out, err = run(*words)
    told = dict.fromkeys(line.split(": ")[1] for line in err.splitlines())
    assert (code, list(told)) == (0, ["load the model 'clip'", "warning", "explain", "write the report"])
    assert len(out.splitlines()) == 2
    code, out, err = run(*words, "--quiet", "--force")
    assert (code, err.count("\n")) == (0, 1)
    assert err.startswith("m2ib: warning: image of 10000x50 pixels")
    assert len(out.splitlines()) == 2


# Refusals.


def broken(name: str, change: Callable[[Path], object]) -> Callable[[Path], Path]:
    """A copy of the checkpoint, changed."""

    def make(clip: Path) -> Path:
        folder = Path(name).absolute()
        shutil.copytree(clip, folder)
        change(folder)
        return folder

    return make


def configured(section: str | None = None, **values: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (config if section is None else config[section]).update(values)
        (folder / "config.json").write_text(json.dumps(config))

    return change


def cut(name: str, length: int) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:length])


def as_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02cos\nsystem\n.")


CHECKPOINTS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "another family": (
        broken("ck", configured(model_type="bert")),
        "is a 'bert' model, not 'clip'; use an adapter made",
    ),
    "unknown family": (broken("ck", configured(model_type="mine")), "cannot be loaded: "),
    "other shapes": (
        broken("ck", configured("text_config", hidden_size=64)),
        "weights that its config.json describes, first text_model.",
    ),
    "more blocks": (
        broken("ck", configured("vision_config", num_hidden_layers=5)),
        "lacks or misshapes 16 weights that its config.json describes, first vision_model.encoder.layers.4.",
    ),
    "wrong type": (
        broken("ck", configured("vision_config", hidden_size="wide")),
        "expected int, got str (value: 'wide')",
    ),
    "no JSON": (broken("ck", cut("config.json", 9)), "is not a valid JSON file"),
    "truncated weights": (
        broken("ck", cut("model.safetensors", 5000)),
        "cannot be loaded: SafetensorError: Error while deserializing",
    ),
    "empty weights": (
        broken("ck", cut("model.safetensors", 0)),
        "cannot be loaded: SafetensorError: Error while deserializing header",
    ),
    "no weights": (
        broken("ck", lambda f: (f / "model.safetensors").unlink()),
        "no file named model.safetensors",
    ),
    "code for weights": (
        broken("ck", as_pickle),
        "is damaged, or holds more than plain tensors, which may run code",
    ),
    "no tokenizer": (broken("ck", cut("tokenizer.json", 9)), "cannot be loaded: "),
    "damaged preprocessing": (
        broken("ck", lambda f: (f / "preprocessor_config.json").write_text("{")),
        "preprocessor_config.json' is not a valid JSON file",
    ),
    "odd preprocessing": (
        broken("ck", lambda f: (f / "preprocessor_config.json").write_text('{"image_std": [0, 0, 0]}')),
        "and the image_std [0.0, 0.0, 0.0]",
    ),
    "missing path": (
        lambda clip: Path("no/such/folder"),
        "does not exist; give a local folder written by save_pretrained",
    ),
    "a file": (
        lambda clip: clip / "config.json",
        "is a file, which does not say what model its weights are of; say it too with config=",
    ),
    "some folder": (lambda clip: clip.parent, "is a folder without config.json; give a local folder"),
    "no name": (lambda clip: Path("no name!"), "is neither a folder nor a hub id such as 'name/model'"),
}


@pytest.mark.parametrize(("make", "message"), CHECKPOINTS.values(), ids=CHECKPOINTS.keys())
def test_a_checkpoint_that_cannot_be_used(
    run: Run, clip: Path, make: Callable[[Path], Path], message: str
) -> None:
    place = make(clip)
    said = run.refused("--model", "clip", "--checkpoint", str(place), *PAIR)
    assert said.startswith(f"clip: checkpoint {str(place)!r} ")
    assert message in said


def test_a_hub_out_of_reach_is_told_at_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    started = time.monotonic()
    said = run.refused("--model", "clip", "--checkpoint", "nobody/nothing-here", *PAIR, model=False)
    assert time.monotonic() - started < 10
    assert said.startswith(
        "clip: checkpoint 'nobody/nothing-here' is not a folder here, and the hub is out of reach ("
    )
    assert said.endswith("; give a local folder written by save_pretrained")


REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "missing image": (
        ("--image", "cat.png", "--text", "a"),
        "image 'cat.png' does not exist; check the path",
    ),
    "text for an image": (
        ("--image", "notes.txt", "--text", "a"),
        "image 'notes.txt' is not in an image format",
    ),
    "bomb": (("--image", "bomb.png", "--text", "a"), "image 'bomb.png' has 3,600,000,000 pixels, more than"),
    "truncated": (
        ("--image", "cut.png", "--text", "a"),
        "image 'cut.png' is damaged and cannot be decoded: ",
    ),
    "empty text": (("--image", "dog.png", "--text", ""), "text '' is empty; give at least one word"),
    "one input": (("--text", "a dog"), "inputs: need two, got 1; the model 'clip' takes --image, --text"),
    "no inputs": ((), "inputs: need two, got 0; the model 'clip' takes --image, --text"),
    "no value": (("--image", "dog.png", "--text"), "options: --text needs a value"),
    "another flag for a value": (
        ("--image", "--text", "a dog"),
        "options: --image needs a value; one that begins with -- is written --image=VALUE",
    ),
    "unknown modality": (
        ("--audio", "x.wav", "--text", "a dog"),
        "options: --audio is unknown. The model 'clip' takes --image, --text",
    ),
    "against nothing": (
        ("--against", "a cat", *PAIR),
        "options: --against follows the input it is held against",
    ),
    "config inputs": (
        ("--config", "inputs.yaml"),
        "inputs: must be a mapping such as {image: dog.jpg, text: a dog}",
    ),
    "config contrast": (
        ("--config", "against.yaml"),
        "inputs: 'against' stands beside one input, so write a list: ",
    ),
    "config merge": (
        ("--config", "against.yaml", "inputs=[1]"),
        "options: a list and a mapping cannot be merged; write",
    ),
}
# What follows an image and a text.
REFUSED_OF_A_PAIR = {
    "--text 'a cat'": "inputs: need two, got 3",
    "--betta 0.1": "options: --betta is unknown; did you mean --beta? The model 'clip' takes --image, --text",
    "--truncat x": "options: --truncat is unknown; did you mean --truncate?",
    "betta=0.1": "options: 'betta' is unknown; did you mean 'beta'? Known: model, ",
    "image_size=448": "options: 'image_size' is unknown; did you mean 'options.image_size', an option of the adapter? Known: ",
    "inputs.text=dog": "options: inputs are given twice, as --image and as 'inputs.text=dog'; an input with options of its own is",
    "cat": "options: 'cat' is neither an option nor key=value",
    "'beta=[1'": "options: 'beta=[1' is not key=value with a YAML value",
    "--model cilp": "load_model: no adapter is called 'cilp' (did you mean 'clip'?). Known: photo, clip, open-clip, cxr-repair, imagebind",
    "--against 'a dog'": "contrast: the text inputs have the same embedding",
    "--layer 12": "layer for image: 12 is out of range; this encoder has the blocks 0 to 3",
    "layer.text=-2": "layer for text: -2 is out of range",
    "layer.audio=1": "layer: 'audio' is not a modality of this explanation (image, text)",
    "--beta -1": "beta for image: -1 is out of range; it must be >= 0",
    "--beta much": "beta for image: 'much' is not a finite number",
    "variance=0": "variance for image: 0 is out of range; it must be > 0",
    "steps=0": "steps for image: 0 is out of range; it must be >= 1",
    "samples=2.5": "samples for image: 2.5 is not a whole number",
    "lr=.inf": "lr for image: inf is not a finite number",
    "--seed -1": "seed for image: -1 is out of range; it must be >= 0",
    "--seed x": "options: seed: Value 'x' of type 'str' could not be converted to Integer",
    "--readout best": "readout for image: 'best' is unknown; it is 'last' or 'final'",
    "--method best": "method: 'best' is unknown",
    "--device gpu": "device: 'gpu' is unknown; use 'auto', 'cpu', 'cuda' or 'cuda:1'",
    "--device meta": "explain: the model is on the device 'meta' and has no weights; load it on a real one",
    "--dtype half": "dtype: 'half' is unknown; use one of float32, bfloat16",
    "options.size=3": "adapter 'clip' has no option 'size'. It has attention",
    "options.dtype=float64": "options: 'dtype' is not one of an adapter's own",
    "--config no.yaml": "config 'no.yaml' cannot be read: No such file or directory",
    "--config .": "config '.' is a folder; name a file",
    "--config bad.yaml": "config 'bad.yaml' is not YAML: ",
    "--config dog.png": "config 'dog.png' is not YAML: ",
    "--config list.yaml": "config 'list.yaml' holds a list; it must be a mapping of options",
    "--config key.yaml": "config 'key.yaml': 'layers' is unknown; did you mean 'layer'? Known",
    "--config type.yaml": "config 'type.yaml': seed: Value 'many' of type 'str' could not",
    "--config variable.yaml": "config 'variable.yaml': '${model}' refers to a value elsewhere, and ${...} is not read; ",
}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        *(pytest.param(*each, id=name) for name, each in REFUSED.items()),
        *(
            pytest.param((*PAIR, *shlex.split(more)), said, id=more)
            for more, said in REFUSED_OF_A_PAIR.items()
        ),
    ],
)
def test_bad_input_is_one_line(run: Run, here: Path, words: tuple[str, ...], message: str) -> None:
    (here / "notes.txt").write_text("not a picture")
    (here / "bomb.png").write_bytes(png(60_000, 60_000))
    (here / "cut.png").write_bytes((here / "dog.png").read_bytes()[:500])
    (here / "bad.yaml").write_text("beta: [1,")
    (here / "list.yaml").write_text("- beta")
    (here / "key.yaml").write_text("layers: 3")
    (here / "type.yaml").write_text("seed: many")
    (here / "variable.yaml").write_text("title: ${model}")
    (here / "inputs.yaml").write_text("inputs: [dog.png, a dog]")
    (here / "against.yaml").write_text("inputs: {image: dog.png, text: a cat, against: a dog}")
    assert run.refused(*words).startswith(message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND; see m2ib --help"),
        (["explian"], "argument COMMAND: invalid choice: 'explian'"),
        (["demo", "--seed", "x"], "argument --seed: invalid int value: 'x'; see m2ib demo --help"),
        (["demo", "--beta", "1"], "demo: '--beta' is not an option of this command"),
        (["adapters", "clip"], "adapters: 'clip' is not an option of this command"),
        (["explain", "--config"], "argument --config: expected one argument; see m2ib explain --help"),
    ],
)
def test_usage_errors_are_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"m2ib: error: {message}")
    assert err.count("\n") == 1


# Where results go.


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_result_is_overwritten_only_by_force(run: Run, here: Path) -> None:
    assert run(*PAIR, "--out", "report")[0] == 0
    before = contents(here / "report")
    said = run.refused("--image", "dog.png", "--text", "the red cup", "--out", "report")
    assert said == "output folder 'report' exists and is not empty; use --force (force=True) to write into it"
    assert contents(here / "report") == before
    assert run("--image", "dog.png", "--text", "the red cup", "--out", "report", "--force")[0] == 0
    assert m2ib.load_explanation("report")["text"].view["text"] == "the red cup"


def test_a_failure_leaves_an_earlier_result_alone(run: Run, here: Path) -> None:
    assert run(*PAIR, "--out", "report")[0] == 0
    before = contents(here / "report")
    run.refused("--image", "cat.png", "--text", "a dog", "--out", "report", "--force")
    assert contents(here / "report") == before


def test_an_empty_folder_is_used(run: Run, here: Path) -> None:
    (here / "report").mkdir()
    assert run(*PAIR, "--out", "report")[0] == 0


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("dog.png", "output folder 'dog.png' cannot be made: it is a file; name a folder"),
        (
            "dog.png/report",
            "output folder 'dog.png/report' cannot be made: 'dog.png' is a file; name a folder",
        ),
        ("/proc/m2ib/report", "output folder '/proc/m2ib/report' cannot be made: "),
        ("x" * 300, f"output folder {'x' * 300!r} cannot be used: File name too long"),
    ],
)
def test_a_place_that_cannot_be_written(run: Run, out: str, message: str) -> None:
    assert run.refused(*PAIR, "--out", out).startswith(message)


def test_a_file_in_the_way_of_the_result(run: Run, here: Path) -> None:
    for name in ("index.html", "figure.png", "manifest.json", "arrays.safetensors"):
        (here / name / name).mkdir(parents=True)
        said = run.refused(*PAIR, "--out", str(here / name), "--force")
        assert f"'{here / name / name}' is there already and was not written by m2ib; move it away" in said


# Options from a file, from flags and as key=value.


def resolved(run: Run, *words: str) -> dict[str, Any]:
    code, out, err = run(*words, "--print-config")
    assert (code, err) == (0, "")
    loaded = yaml.safe_load(out)
    assert isinstance(loaded, dict)
    return loaded


def test_later_options_win(run: Run, here: Path) -> None:
    (here / "options.yaml").write_text(
        "beta: 0.5\nvariance: 0.5\nlr: 0.5\nlayer: 1\ninputs: {image: dog.png, text: a cat}\noptions: {attention: eager}\n"
    )
    found = resolved(
        run, "--config", "options.yaml", "variance=0.125", "--variance", "0.25", "--lr", "1e-2", "beta=1e-3"
    )
    assert (found["beta"], found["variance"], found["lr"], found["layer"]) == (0.001, 0.125, 0.01, 1)
    assert found["inputs"] == {"image": "dog.png", "text": "a cat"}
    assert found["options"] == {"attention": "eager"}
    assert resolved(run, "--config", "options.yaml", "layer.image=2")["layer"] == {"image": 2}
    assert resolved(run, "--layer", "{image: 2, text: 0}", "layer.text=1")["layer"] == {"image": 2, "text": 1}
    assert resolved(run, "--config", "options.yaml", "inputs.text=a dog")["inputs"]["text"] == "a dog"
    assert resolved(run, "--config", "options.yaml", "--text", "a", "--text", "b")["inputs"] == [
        {"text": "a"},
        {"text": "b"},
    ]


def test_the_printed_config_gives_the_same_result(run: Run, here: Path) -> None:
    words = ("--image", "dog.png", "--text", "a cat", "--against", "a dog", "beta=0.3", "layer.text=1")
    code, out, _ = run(*words, "--out", "one", "--print-config")
    assert code == 0
    assert not (here / "one").exists()
    (here / "printed.yaml").write_text(out)
    assert run(*words, "--out", "one")[0] == 0
    assert run("--config", "printed.yaml", "--out", "two", model=False)[0] == 0
    one, two = m2ib.load_explanation("one"), m2ib.load_explanation("two")
    for first, second in zip(one, two, strict=True):
        np.testing.assert_array_equal(first.grid, second.grid)
        assert first.settings == second.settings
    assert one["text"].settings["layer"] == 1
    assert one["text"].settings["beta"] == 0.3


def read(*words: str) -> Any:
    parser = argparse.ArgumentParser()
    READER.add_options(parser)
    return read_config(*parser.parse_known_args(words))


@settings(max_examples=100)
@given(text=st.text(max_size=20), title=st.text("${}\\ab:'\"", max_size=12))
def test_flags_are_taken_as_they_are(text: str, title: str) -> None:
    config = read(f"--title={title}", "--image", "x.png", f"--text={text}")
    assert config.title == title
    assert read_inputs(config) == [("image", "x.png"), ("text", text)]
    again = yaml.safe_load(as_yaml(config))
    assert len(again["inputs"]) == 2


@settings(max_examples=100)
@given(st.lists(st.text("beta=.[]{}:, 1-'\"$@!&*#|>%\\\n", max_size=10), max_size=3))
def test_any_key_value_is_read_or_refused(words: list[str]) -> None:
    parser = argparse.ArgumentParser()
    READER.add_options(parser)
    try:
        read_config(parser.parse_args([]), words)
    except m2ib.SettingError as error:
        assert str(error).startswith("options: ")  # noqa: PT017


def test_nothing_but_the_answer_is_printed(clip: Path, here: Path) -> None:
    """In a process of its own: no bars and no log lines of other libraries; a slow machine's own are quiet."""
    command = [
        sys.executable,
        "-m",
        "m2ib",
        "explain",
        "--model",
        "clip",
        "--checkpoint",
        str(clip),
        "--quiet",
        *PAIR,
        *FAST,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1:] == [str(here / "m2ib-report" / "index.html")]


def test_the_libraries_are_as_loud_as_before(clip: Path) -> None:
    from transformers.utils import logging

    logging.enable_progress_bar()
    level = logging.get_verbosity()
    m2ib.load_model("clip", checkpoint=clip, device="cpu")
    assert logging.is_progress_bar_enabled()
    assert logging.get_verbosity() == level


def test_listing_and_help_do_not_wait_for_torch() -> None:
    program = (
        "import sys; from m2ib.cli import main; main(['adapters']); "
        "main(['explain', '--print-config']); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "open-clip" in done.stdout
