"""What ``--help`` says: a sentence for every option, in lines that fit a terminal, without waiting for torch."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

import m2ib
from m2ib.benchmark import METHODS
from m2ib.benchmark.interactions import WAYS
from m2ib.cli import main, parser
from m2ib.data import FORMATS
from m2ib.evaluation.measures import MEASURES
from m2ib.loading import DTYPES
from m2ib.tuning.search import METRICS

LONG = ("demo", "explain", "run", "results", "export", "evaluate", "tune", "benchmark", "check")
SHORT = ("adapters", "methods", "new-plugin")
SENTENCE = 400  # characters of the longest


def commands() -> dict[str, argparse.ArgumentParser]:
    """By name; "" is m2ib itself."""
    whole = parser()
    (names,) = (each.choices for each in whole._actions if isinstance(each, argparse._SubParsersAction))
    return {"": whole, **names}


def options(command: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """All lines of its help, those about what argparse does not read too."""
    for group in command._action_groups:
        yield from group._group_actions


def said(command: str, option: str) -> str:
    """The sentence about an option."""
    (found,) = (each for each in options(commands()[command]) if option in (*each.option_strings, each.dest))
    assert found.help is not None
    return found.help


@pytest.mark.parametrize("name", ["", *LONG, *SHORT])
def test_every_option_has_a_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command = commands()[name]
    for each in options(command):
        if not isinstance(each, argparse._SubParsersAction):
            assert each.help, each
            assert 8 < len(each.help) <= SENTENCE, each
            assert not each.help.endswith("."), each  # as all others
            usual = each.default not in (None, False, argparse.SUPPRESS)
            assert not usual or "default: " in each.help, each
    assert command.description
    assert command.epilog
    monkeypatch.setenv("COLUMNS", "80")
    shown = command.format_help().splitlines()
    assert max(map(len, shown)) <= 80
    assert len([line for line in shown if line.startswith("  m2ib ")]) >= 1, "there is no example"


def test_the_defaults_of_a_file_of_options_are_told() -> None:
    assert said("explain", "--out").endswith("; default: m2ib-report")
    assert said("explain", "--seed").endswith("; default: 0")
    assert said("explain", "--steps").endswith("a whole number >= 1; default: 10")
    assert said("evaluate", "--seeds").endswith("; default: 0 1 2")
    assert said("evaluate", "--controls").endswith("; default: true")
    assert "default" not in said("explain", "--signed")


def test_what_is_named_is_there() -> None:
    listed = said("run", "--data").rpartition(": ")[2].split(", ")
    assert listed == list(FORMATS)
    metrics = said("evaluate", "--metrics").split(": ")[1].split(", ")
    assert set(metrics) - {"..."} <= set(MEASURES)
    assert all(name in said("tune", "--metric") for name in METRICS)
    assert said("benchmark", "--methods").startswith(f"{', '.join(METHODS)}, or others")
    assert f"{', '.join(WAYS[:-1])} and {WAYS[-1]}" in said("benchmark", "--methods")
    assert all(name in said("explain", "--dtype") for name in DTYPES)


def test_the_kinds_of_input_are_those_of_the_installed_adapters() -> None:
    taken = said("explain", "--MODALITY VALUE").rpartition(" take ")[2].split(", ")
    assert set(taken) == {f"--{each}" for row in m2ib.list_adapters() for each in row.spec.modalities}
    assert said("check", "--MODALITY VALUE").endswith(", ".join(taken))


def test_what_may_take_long_can_be_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    for name, command in commands().items():
        assert any("--quiet" in each.option_strings for each in options(command)) == (name in LONG), name
    assert main(["--quiet", "run"]) == 2
    assert capsys.readouterr().err.startswith("m2ib: error: run: '--quiet' is neither an option nor")


def test_quiet_is_of_downloads_too(monkeypatch: pytest.MonkeyPatch) -> None:
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("HF_HUB")}
    monkeypatch.setattr(os, "environ", surroundings)
    assert main(["results", "nowhere"]) == main(["results", "nowhere", "--quiet"]) == 2
    assert surroundings["HF_HUB_DISABLE_PROGRESS_BARS"] == "1"


def test_help_waits_for_no_library_of_weight() -> None:
    program = (
        "import sys; from m2ib.cli import main; main([]); main(['--help']); main(['explain', '--help']); "
        "sys.exit(', '.join({'torch', 'numpy', 'pandas', 'rich'} & {*sys.modules}) or None)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: m2ib explain --image FILE" in done.stdout
