"""``m2ib new-plugin``: what it writes works as it is. The whole of it runs from wheels in a new environment in CI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import m2ib
from m2ib.cli import main
from m2ib.new_plugin import write_plugin


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
