"""``m2ib check``: what it finds and prints, where its examples come from, and its exit codes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import m2ib
import m2ib.registry.discovery
from installed import Plugins
from m2ib import Encoder
from m2ib.cli import main
from m2ib.registry.discovery import Registry
from m2ib.testing import ConformanceError, check_adapter
from m2ib.testing.timings import time_encoder
from tiny_clip import save_tiny_clip
from toy import EXAMPLES, save_clip_with_words, toy_model

ADAPTER = """
    from dataclasses import replace

    import torch

    import m2ib

    def own(e):
        from toy import EXAMPLES

        return replace(e, examples=lambda: EXAMPLES[e.modality])

    def load({parameters}):
        from toy import toy_model

        {body}
        return toy_model({breaks})

    @m2ib.hookimpl
    def m2ib_register_adapters(register):
        register(m2ib.AdapterSpec("toy", "a few hundred weights", ("image", "text"), load{told}))
"""
OWN = "image=own, text=own"

Install = Callable[..., Registry]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def install(plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install distributions beside those that are there, and look for plugins anew."""

    def add(code: str, *, distribution: str = "toy-adapter") -> Registry:
        plugins.add(distribution, code)
        registry = Registry.discover()
        monkeypatch.setattr(m2ib.registry.discovery, "_default", registry)
        return registry

    return add


@pytest.fixture
def install_toy(install: Install) -> Install:
    """The toy behind an adapter of its own."""

    def add(
        breaks: str = OWN,
        *,
        parameters: str = "*, checkpoint=None, device, dtype",
        told: str = "",
        body: str = "",
    ) -> Registry:
        return install(ADAPTER.format(breaks=breaks, parameters=parameters, told=told, body=body or "pass"))

    return add


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Exit code, and what was printed, its white space made single: lines are wrapped for the terminal."""
    monkeypatch.setenv("COLUMNS", "160")

    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["check", "--quiet", *words])
        out, err = capsys.readouterr()
        return code, " ".join(out.split()), err.strip()

    return call


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clip_with_words(tmp_path_factory.mktemp("checked") / "clip")


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    random = np.random.default_rng(0)
    names = [str(tmp_path / f"{name}.png") for name in "ab"]
    for name in names:
        Image.fromarray(random.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(name)
    return names


# What passes.


def test_an_adapter_that_keeps_the_contract(install_toy: Install, run: Run) -> None:
    install_toy()
    code, out, err = run("toy")
    assert (code, err) == (0, "")
    assert out.startswith(
        "adapter 'toy' of toy-adapter, checkpoint by default, on cpu in float32, tolerance 0.0001 (m2ib "
    )
    assert "examples: the encoder's own for image, text" in out
    assert "model passed load, model, left as found" in out
    assert (
        "image passed prepare, embedding, batch, layers, tail, layout, padding, defaults, presets, degradation, "
        "examples, preprocessed input, explain with text not told stride, reference, attention"
    ) in out
    assert (
        "text passed prepare, embedding, batch, layers, tail, layout, padding, defaults, presets, degradation, "
        "examples, preprocessed input, explain with image not told stride, reference, attention"
    ) in out
    assert "FAILED" not in out
    assert "left out" not in out
    assert "Milliseconds on cpu with " in out
    assert (
        "A step is forward and backward with 10 copies of one input, whole or from the default layer" in out
    )
    assert out.endswith("toy keeps the contract")


def test_clip_is_checked_with_made_up_scenes(clip: Path, run: Run) -> None:
    code, out, err = run("clip", "--checkpoint", str(clip))
    assert (code, err) == (0, "")
    assert f"adapter 'clip' of m2ib, checkpoint {clip}, on cpu in float32" in out
    assert "examples: made-up scenes for image, text" in out
    assert out.endswith("clip keeps the contract")
    for there in ("attention", "stride", "tail", "degradation", "RendererSpec", "Layout.axes", "AdapterSpec"):
        assert f"image, text {there} " not in out
        assert f"image {there} " not in out
        assert f"text {there} " not in out


def test_six_modalities(run: Run) -> None:
    code, out, err = run("imagebind-tiny")
    assert (code, err) == (0, "")
    assert "examples: made-up scenes for image, text, audio, depth, thermal, imu" in out
    assert "imu passed prepare, " in out
    assert out.endswith("imagebind-tiny keeps the contract")
    assert "reference the setting" not in out  # it has them


# What fails.


def failing(run: Run, *words: str) -> str:
    """What is printed of a check that fails, and fails in no other way."""
    code, out, err = run(*words)
    assert (code, err) == (1, "")
    return out


def test_a_broken_encoder_and_what_is_left_out_for_it(install_toy: Install, run: Run, tmp_path: Path) -> None:
    breaks = "image=own, text=lambda e: replace(own(e), embed=lambda ids: e.embed(ids).log())"
    install_toy(breaks)
    file = tmp_path / "report.json"
    out = failing(run, "toy", "--json", str(file))
    assert (
        "text passed prepare FAILED embedding: embed gives NaN or infinite values for example 0 left out batch, layers, "
        "tail, layout, padding, defaults, presets, stride, reference, attention, degradation, examples, preprocessed "
        "input: as 'embedding' failed left out explain with image: as 'embedding' of text failed"
    ) in out
    assert "image passed prepare, embedding, batch, layers" in out
    assert "left out explain with text: as 'embedding' of text failed" in out
    assert "text left out as 'embedding' failed" in out  # of what is missing
    assert "text: left out, as 'embedding' failed" in out  # of the timings
    assert "image stride the settings shifts and smooth" in out  # what the other encoder lacks is told
    assert out.endswith("toy breaks the contract: 1 of the checks failed")
    told = json.loads(file.read_text(encoding="utf-8"))
    assert told["passed"] is False
    assert {"modality": "text", "what": "timings", "reason": "'embedding' failed"} in told["left_out"]
    assert [each["modality"] for each in told["timings"]] == ["image"]


def test_a_long_reason_is_printed_in_full_on_a_narrow_terminal(
    install_toy: Install, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks = "text=own, image=lambda e: replace(own(e), tail=lambda z, layer, pixels: e.tail(z, min(layer + 1, 2), pixels))"
    install_toy(breaks)
    monkeypatch.setenv("COLUMNS", "60")
    out = failing(run, "toy")
    assert (
        "FAILED tail: layer -1 (image_blocks.0 (input)): the encoder's own tail does not give the model's embedding "
        "(relative error"
    ) in out


def test_all_is_left_out_when_the_model_is_no_model(install_toy: Install, run: Run) -> None:
    install_toy("image=own, text=lambda e: replace(own(e), embed=lambda ids: e.embed(ids)[:, :4])")
    out = failing(run, "toy")
    assert (
        "FAILED model: the embeddings differ in size: {'image': 6, 'text': 4}; they must share one space left out left as "
        "found: as 'model' failed"
    ) in out
    assert "image left out prepare, embedding, batch, layers," in out
    assert "adapter left out as 'model' failed" in out


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return {}", "adapter 'toy': load returned dict, not an m2ib.Model"),
        (
            "m = toy_model(); return m2ib.Model(m.module, {'image': m.encoders['image']}, device, dtype)",
            "adapter 'toy': load brought no encoder for text",
        ),
        ("raise OSError('no such sensor')", "raised OSError: no such sensor"),
        ("raise SystemExit(0)", "raised SystemExit: 0"),
        ("raise m2ib.AdapterError('toy: layers cannot be told apart')", "toy: layers cannot be told apart"),
    ],
)
def test_an_adapter_that_does_not_load(install_toy: Install, run: Run, body: str, reason: str) -> None:
    install_toy(body=body)
    out = failing(run, "toy")
    assert f"model FAILED load: {reason} left out all other checks: as 'load' failed" in out
    assert out.endswith("toy breaks the contract: 1 of the checks failed")


@pytest.mark.parametrize(
    ("examples", "reason"),
    [
        ("[1, 2][:1]", "examples gives 1 raw inputs; two different ones are needed"),
        ("'a dog'", "examples gives a str; it must be a list of raw inputs"),
        ("[][0]", "raised IndexError: list index out of range"),
        ("__import__('sys').exit(0)", "raised SystemExit: 0"),
    ],
)
def test_own_examples_that_cannot_be_had(install_toy: Install, run: Run, examples: str, reason: str) -> None:
    breaks = f"image=own, text=lambda e: replace(e, examples=lambda: {examples})"
    install_toy(breaks)
    out = failing(run, "toy")
    assert f"text FAILED examples: {reason}" in out
    assert "model passed load left out all other checks: as text has no examples" in out


def test_own_examples_are_checked_when_others_are_given(install_toy: Install, run: Run) -> None:
    install_toy("image=own, text=lambda e: replace(e, examples=lambda: ['a dog', 'a dog'])")
    out = failing(run, "toy", "--text", "a dog", "--text", "two cats asleep")
    assert "examples: the encoder's own for image; given for text" in out
    assert "FAILED examples: examples 0 and 1 have the same inputs: give two that differ" in out


# Bad input.


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["tay"], "load_model: no adapter is called 'tay' (did you mean 'toy'?). Known: "),
        (
            ["toy", "--text", "a dog"],
            "check: 1 example for 'text', and two are needed; give two that differ: ",
        ),
        (
            ["toy", "--text", "a dog", "--text", "a dog"],
            "check: the examples for 'text' are 'a dog' twice; give two that differ: --text FIRST --text SECOND "
            "(examples={'text': [first, second]})",
        ),
        (
            ["toy", "--text", "a dog", "--text", "a cat"],
            "check: all 2 examples for 'text' have 4 positions; give some of different lengths, or padding stays unchecked",
        ),
        (["toy", "--quux", "a.wav"], "options: --quux is unknown. The adapter 'toy' takes --image, --text"),
        (
            ["toy", "--imag", "a.png"],
            "options: --imag is unknown; did you mean '--image'? The adapter 'toy' takes --image, --text",
        ),
        (["toy", "--text"], "options: --text needs a value"),
        (["toy", "words"], "check: 'words' is neither an option nor key=value; see m2ib check --help"),
        (["--text", "a dog", "toy"], "check: the adapter's name comes first, as in m2ib check toy ..."),
        (["toy", "tolerance=0"], "check: tolerance=0.0 is out of range; it must be between 0 and 1"),
        (
            ["toy", "--tolerance", "wide"],
            "options: tolerance: Value 'wide' of type 'str' could not be converted",
        ),
        (
            ["toy", "--device", "meta"],
            "check: on the device 'meta' there are no values to check; use 'cpu' or 'cuda'",
        ),
        (
            ["toy", "--dtype", "int8"],
            "dtype: 'int8' is unknown; use one of float32, bfloat16, float16, float64",
        ),
        (["toy", "options.depth=3"], "adapter 'toy': load() got an unexpected keyword argument 'depth'"),
        (["toy", "options.device=cpu"], "options: 'device' is not one of an adapter's own options"),
        (
            ["toy", "--json", "nowhere/report.json"],
            "json: 'nowhere/report.json' cannot be written: its folder does not exist; name a file in a folder that exists",
        ),
        (
            ["toy", "--json", "."],
            "json: '.' cannot be written: it is a folder; name a file in a folder that exists",
        ),
    ],
)
def test_bad_input_is_one_line(install_toy: Install, run: Run, words: list[str], reason: str) -> None:
    install_toy()
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err.startswith(f"m2ib: error: {reason}")
    assert err.count("\n") == 0


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--checkpoint", "nowhere"], "clip: checkpoint 'nowhere' "),
        (["--image", "a.png", "--image", "b.png"], "image 'a.png' does not exist; check the path"),
    ],
)
def test_a_missing_file_is_no_fault_of_the_adapter(
    clip: Path, run: Run, words: list[str], reason: str
) -> None:
    code, out, err = run("clip", "--checkpoint", str(clip), *words)
    assert (code, out) == (2, "")
    assert err.startswith(f"m2ib: error: {reason}")


def test_a_package_that_is_missing_is_no_fault_of_the_adapter(install_toy: Install, run: Run) -> None:
    install_toy(body="import a_package_that_is_nowhere", told=", extra='toy[all]'")
    assert run("toy") == (
        2,
        "",
        "m2ib: error: adapter 'toy' needs a_package_that_is_nowhere, which cannot be imported: pip install 'toy[all]'",
    )


def test_a_checkpoint_without_tokenizer_takes_no_made_up_text(tmp_path: Path, run: Run) -> None:
    folder = save_tiny_clip(tmp_path / "clip")
    code, out, err = run("clip", "--checkpoint", str(folder))
    assert (code, out) == (2, "")
    assert err == (
        "m2ib: error: check: the adapter 'clip' does not take the text of made-up scenes (text: this checkpoint comes "
        "without a tokenizer; save one into its folder (CLIPTokenizer.save_pretrained), or give a tensor of token ids); "
        "give two that differ: --text FIRST --text SECOND (examples={'text': [first, second]})"
    )


# Examples.


def test_examples_from_the_command_line(clip: Path, run: Run, pictures: list[str]) -> None:
    images = [word for name in pictures for word in ("--image", name)]
    code, out, err = run("clip", "--checkpoint", str(clip), *images)
    assert (code, err) == (0, "")
    assert "examples: given for image; made-up scenes for text" in out


def test_a_value_may_look_like_an_option(install_toy: Install, run: Run) -> None:
    install_toy()
    code, out, err = run("toy", "--text", "a=b", "--text=two words = more", "tolerance=0.001")
    assert (code, err) == (0, "")
    assert "examples: the encoder's own for image; given for text" in out
    assert "tolerance 0.001 " in out


def test_options_from_a_file(install_toy: Install, run: Run, tmp_path: Path) -> None:
    install_toy()
    file = tmp_path / "check.yaml"
    file.write_text("examples: {text: [a dog, two cats asleep]}\ntolerance: 0.01\n", encoding="utf-8")
    code, out, _ = run("toy", "--config", str(file), "--print-config")
    assert code == 0
    assert "examples: text: - a dog - two cats asleep" in out
    code, out, err = run("toy", "--config", str(file))
    assert (code, err) == (0, "")
    assert "tolerance 0.01 " in out
    assert "given for text" in out


def alien(model: m2ib.Model) -> m2ib.Model:
    """The toy's texts under a name that scenes do not have."""
    encoder = replace(model.encoders["text"], modality="smiles")
    return replace(model, encoders={"image": model.encoders["image"], "smiles": encoder})


def with_examples(encoder: Encoder) -> Encoder:
    return replace(encoder, examples=lambda: EXAMPLES["image" if encoder.modality == "image" else "text"])


def test_check_adapter_finds_examples(clip: Path) -> None:
    results = check_adapter(toy_model(image=with_examples, text=with_examples))
    assert not any(result.failure for result in results)
    assert [result.check for result in results if result.modality == "model"] == ["model", "left as found"]
    results = check_adapter("clip", checkpoint=clip)
    assert {result.modality for result in results} == {"model", "image", "text"}


def test_check_adapter_without_any_examples() -> None:
    with pytest.raises(m2ib.SettingError) as caught:
        check_adapter(alien(toy_model(image=with_examples)))
    assert str(caught.value) == (
        "check: no examples for 'smiles': the adapter 'toy' brings none (Encoder.examples), and made-up scenes have image, "
        "text, audio, depth, thermal, imu alone; give two that differ: --smiles FIRST --smiles SECOND "
        "(examples={'smiles': [first, second]})"
    )


def test_check_adapter_tells_of_own_examples_that_cannot_be_had() -> None:
    def one(encoder: Encoder) -> Encoder:
        return replace(encoder, examples=lambda: EXAMPLES["text"][:1])

    with pytest.raises(ConformanceError) as caught:
        check_adapter(toy_model(image=with_examples, text=one))
    assert str(caught.value) == (
        "toy breaks the contract:\ntext: examples: examples gives 1 raw inputs; two different ones are needed"
    )


# What is missing: see also test_check_gains.py.


def test_what_is_missing_is_printed(install_toy: Install, run: Run) -> None:
    install_toy(parameters="*, checkpoint=None, device, dtype, size=8")
    _, out, _ = run("toy")
    head = "Not told, and what telling it would gain (nothing of this breaks the contract)"
    for line in (
        f"{head} image, text attention the methods chefer, grad-eclip and legrad, if its blocks attend",
        "image stride the settings shifts and smooth, and with them all of the preset sharp",
        "image, text reference the setting standardize without reference inputs of the caller's own",
        "image Layout.axes where cells lie in the raw input's own units, for regions and the metrics iou, pointing and",
        "text tail a path of its own from a layer to the embedding; each step of a fit now runs `embed`",
        "adapter AdapterSpec.options a hint where one is misspelt: options=('size',)",
        "adapter AdapterSpec.attention methods that read attention refused before anything is loaded: attention=()",
    ):
        assert line in out
    assert "examples inputs of its own" not in out


# Timings, warnings, JSON.


def test_timings_of_an_encoder() -> None:
    for modality, own in (("image", True), ("text", False)):
        timing = time_encoder(toy_model(), modality, EXAMPLES[modality][0])
        assert (timing.modality, timing.layer) == (modality, 1)
        assert min(timing.forward_ms, timing.whole_step_ms, timing.tail_step_ms) > 0
        assert (timing.own_tail_step_ms is not None) is own
        assert (
            timing.ratio == (timing.own_tail_step_ms if own else timing.tail_step_ms) / timing.whole_step_ms
        )


def test_a_step_runs_the_blocks_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole steps run every block with ten copies; the tail's, those after the layer."""
    ran: list[tuple[int, int]] = []

    def counting(encoder: Encoder) -> Encoder:
        for number, layer in enumerate(encoder.blocks):
            query = layer.module.query  # skipped with its block
            query.register_forward_hook(
                lambda module, args, out, number=number: ran.append((number, len(args[0])))
            )
        return encoder

    monkeypatch.setattr("m2ib.testing.timings._RUNS", 1)
    time_encoder(toy_model(text=counting), "text", EXAMPLES["text"][0])
    once, ten = ([(number, count) for number in range(3)] for count in (1, 10))
    # The recording; then a warm-up and a run of each: forward, a whole step, a step from layer 1 on.
    assert ran == once + 2 * once + 2 * ten + 2 * ten[2:]


def test_warnings_stand_in_the_report(install_toy: Install, run: Run, tmp_path: Path) -> None:
    install_toy(body="m2ib.warn('toy: its weights are random')")
    file = tmp_path / "report.json"
    code, out, err = run("toy", "--json", str(file))
    assert (code, err) == (0, "")
    assert out.count("warning: toy: its weights are random") == 1
    assert json.loads(file.read_text(encoding="utf-8"))["warnings"] == ["toy: its weights are random"]


def test_a_report_takes_the_place_of_a_report_alone(install_toy: Install, run: Run, tmp_path: Path) -> None:
    install_toy()
    mine = tmp_path / "holiday.json"
    for text in ("mine", '{"report": "of my own"}', "[" * 100_000):
        mine.write_text(text)
        code, out, err = run("toy", "--json", str(mine))
        assert (code, out) == (2, "")
        assert err == (
            f"m2ib: error: json: {str(mine)!r} is there already and is no report of this command; move it away, or name "
            "another file"
        )
        assert mine.read_text() == text
    for _ in range(2):
        assert run("toy", "--json", str(tmp_path / "report.json"))[0] == 0
    assert {path.name for path in tmp_path.iterdir()} >= {"holiday.json", "report.json"}
    assert not list(tmp_path.glob(".m2ib-*"))


@pytest.mark.parametrize(
    "breaks",
    [OWN, "image=own, text=lambda e: replace(own(e), embed=lambda ids: e.embed(ids) + torch.rand(6))"],
    ids=["good", "broken"],
)
def test_json_holds_what_was_printed(install_toy: Install, run: Run, tmp_path: Path, breaks: str) -> None:
    install_toy(breaks)
    file = tmp_path / "report.json"
    code, out, _ = run("toy", "--json", str(file))
    told = json.loads(file.read_text(encoding="utf-8"))
    assert code == (0 if told["passed"] else 1)
    assert out.startswith(
        f"adapter {told['adapter']!r} of {told['distribution']}, checkpoint by default, on {told['device']} in "
        f"{told['dtype']}, tolerance {told['tolerance']:g} (m2ib {told['m2ib']}, torch {told['torch']}) "
    )
    assert told["checkpoint"] is None
    assert told["examples"] == {"image": "the encoder's own", "text": "the encoder's own"}
    for modality in ("model", "image", "text"):
        mine = [each for each in told["checks"] if each["modality"] == modality]
        for outcome, word in (("passed", "passed"), ("nothing to check", "not told")):
            names = [each["check"] for each in mine if each["outcome"] == outcome]
            assert not names or f"{word} {', '.join(names)}" in out
    failed = [each for each in told["checks"] if each["outcome"] == "failed"]
    assert bool(failed) is not told["passed"]
    for each in failed:
        assert f"FAILED {each['check']}: {each['reason']}" in out
    assert out.count("FAILED") == len(failed)
    assert bool(told["left_out"]) is not told["passed"]
    for each in told["left_out"]:
        assert f"as {each['reason']}" in out
        assert each["what"] in out or each["what"] in ("what is missing", "good layers", "timings")
    assert len(told["missing"]) > 3
    for each in told["missing"]:
        assert f"{', '.join(each['modalities'])} {each['what']} {each['gain']}" in out
    assert list(told["layers"]) == [each["modality"] for each in told["timings"]]
    for modality, layers in told["layers"].items():
        assert sorted(layers["to_try"]) == layers["good"]
        assert f"{modality} {len(layers['good'])} {', '.join(map(str, layers['to_try']))}" in out
    for each in told["timings"]:
        own = "" if each["own_tail_step_ms"] is None else f"{each['own_tail_step_ms']:.2f} "
        assert (
            f"{each['modality']} {each['forward_ms']:.2f} {each['whole_step_ms']:.2f} {each['layer']} "
            f"{each['tail_step_ms']:.2f} {own}{each['ratio']:.2f}"
        ) in out
    assert [each["modality"] for each in told["timings"]] == (
        ["image", "text"] if told["passed"] else ["image"]
    )


def test_the_command_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "The exit code is 1 where a check failed, and 2 for what is no fault of the adapter." in said


def test_the_tree_is_left_alone(
    tmp_path: Path, clip: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written where it is not asked for."""
    copy = Path(shutil.copytree(clip, tmp_path / "copy"))
    before = {path.name: path.stat().st_mtime_ns for path in copy.iterdir()}
    monkeypatch.chdir(tmp_path)
    assert run("clip", "--checkpoint", "copy")[0] == 0
    assert {path.name: path.stat().st_mtime_ns for path in copy.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]
