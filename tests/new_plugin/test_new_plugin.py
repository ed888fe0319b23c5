"""``m2ib new-plugin``: what it writes works as it is. The whole of it runs from wheels in a new environment in CI."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import m2ib
from m2ib.cli import main
from m2ib.new_plugin import write_plugin
from m2ib.testing import check_adapter


def test_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "here"
    assert main(["new-plugin", "my-model", "--out", str(folder)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == str(folder.resolve())
    assert said[0] == (
        f"next: pip install -e '{folder}[test]', python -m pytest {folder}, m2ib check my-model, and the TODOs in adapter.py"
    )
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        "README.md",
        "pyproject.toml",
        "src/m2ib_my_model/__init__.py",
        "src/m2ib_my_model/adapter.py",
        "src/m2ib_my_model/plugin.py",
        "src/m2ib_my_model/py.typed",
        "tests/test_m2ib_my_model.py",
    ]
    text = "".join(path.read_text() for path in folder.rglob("*") if path.is_file())
    assert "{{" not in text
    assert [text.count(f"TODO {number} of 4") for number in (1, 2, 3, 4)] == [1, 1, 1, 1]


def test_its_own_tests_pass_and_it_is_found(tmp_path: Path) -> None:
    folder = write_plugin("m2ib-my-model", tmp_path / "made")  # the distribution's name does as well
    source = folder / "src"
    info = source / "m2ib_my_model-0.1.0.dist-info"  # as an installer writes it
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: m2ib-my-model\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[m2ib]\nmy-model = m2ib_my_model.plugin\n")
    path = f"import sys; sys.path.insert(0, {str(source)!r}); "
    listed = subprocess.run(
        [sys.executable, "-c", path + "import m2ib; print(m2ib.list_adapters()['my-model'].origin)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert listed.stdout.strip() == "m2ib-my-model"
    tested = subprocess.run(
        [
            sys.executable,
            "-c",
            path + "import pytest; sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider']))",
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(source)},  # for the processes that its tests start
        capture_output=True,
        text=True,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "5 passed" in tested.stdout


@pytest.mark.parametrize(
    ("inputs", "axes", "pooling"),
    [
        (("image", "text"), "NTC", "class"),
        (("image", "text"), "NTC", "last"),
        (("text", "image"), "NTC", "attention"),
        (("image", "text"), "TNC", "mean"),
        (("image", "text"), "TNC", "class"),
        (("image", "text"), "NCHW", "mean"),
        (("text", "image"), "NHWC", "attention"),
        (("spectrogram", "image"), "NHWC", "mean"),
        (("spectrogram", "text"), "TNC", "last"),
        (("waveform", "text"), "TNC", "class"),
        (("series", "text"), "NTC", "mean"),
        (("series", "waveform"), "TNC", "attention"),
    ],
)
def test_every_choice_keeps_the_contract(
    inputs: tuple[str, str], axes: str, pooling: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_plugin("chosen", tmp_path / "made", inputs=inputs, axes=axes, pooling=pooling)
    monkeypatch.syspath_prepend(folder / "src")
    monkeypatch.delitem(sys.modules, "m2ib_chosen", raising=False)
    monkeypatch.delitem(sys.modules, "m2ib_chosen.adapter", raising=False)
    adapter = importlib.import_module("m2ib_chosen.adapter")
    model = adapter.load(device=torch.device("cpu"), dtype=torch.float32)
    check_adapter(model)  # with the examples that the package brings
    read = model.encoders[model.modalities[0]].layer(0).read
    assert (read is m2ib.read_sequence_first) == (axes == "TNC")
    for file in folder.rglob("*.py"):
        compile(file.read_text(), str(file), "exec")


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (
            {"inputs": ("image", "texts")},
            "inputs 'texts' is unknown; did you mean 'text'? There are image, text,",
        ),
        ({"axes": "NWHC"}, "axes 'NWHC' is unknown; did you mean 'NHWC'? There are NTC, TNC, NCHW, NHWC"),
        ({"pooling": "max"}, "pooling 'max' is unknown. There are mean, class, last, attention"),
        ({"inputs": ("waveform", "spectrogram")}, "inputs are two of different modalities, as in image text"),
        (
            {"inputs": ("series", "text"), "axes": "NCHW"},
            "axes NCHW are of maps, which series and text have none",
        ),
        (
            {"axes": "NHWC", "pooling": "class"},
            "pooling 'class' is of tokens, and axes NHWC are of maps; take mean",
        ),
    ],
)
def test_choices_that_cannot_be(choices: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(m2ib.SettingError) as caught:
        write_plugin("my-model", tmp_path / "x", **choices)
    assert message in str(caught.value)
    assert not (tmp_path / "x").exists()


def test_a_terminal_is_asked_for_what_is_not_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    answers = iter(["waveform text", ""])

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return next(answers)

    for stream in (sys.stdin, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", answer)
    assert main(["new-plugin", "my-model", "--axes", "TNC", "--out", str(tmp_path / "x")]) == 0
    assert asked == ["[image text] ", "[mean] "]
    out, err = capsys.readouterr()
    assert "Two kinds of input:\n  image        pixels" in err
    assert out.splitlines()[-1] == str(tmp_path / "x")  # results alone
    written = (tmp_path / "x/src/m2ib_my_model/adapter.py").read_text()
    assert "encode_waveform" in written
    assert "(T, N, 32)" in written


@pytest.mark.parametrize("name", ["", "Foo", "my_model", "1st", "a--b", "-a", "../x", "a b"])
def test_names_that_cannot_be(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        m2ib.SettingError, match="cannot be the name of an adapter; take lower-case letters, digits"
    ):
        write_plugin(name, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_taken_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new-plugin", "clip"]) == 2
    assert capsys.readouterr().err == (
        "m2ib: error: new-plugin: 'clip' is the name of an adapter of 'm2ib' already; choose another\n"
    )


def test_a_folder_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(m2ib.StorageError, match="exists and is not empty; use --force"):
        write_plugin("my-model", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    (tmp_path / "pyproject.toml").write_text("mine")
    with pytest.raises(m2ib.StorageError) as caught:
        write_plugin("my-model", tmp_path, force=True)
    assert str(caught.value) == (
        f"new-plugin: {str(tmp_path / 'pyproject.toml')!r} is there already; move it away, or name another folder"
    )
    assert {path.name for path in tmp_path.rglob("*")} == {"mine.txt", "pyproject.toml"}
    (tmp_path / "pyproject.toml").unlink()
    write_plugin("my-model", tmp_path, force=True)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_other_options_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new-plugin", "my-model", "--what"]) == 2
    assert "new-plugin: '--what' is not an option of this command" in capsys.readouterr().err
