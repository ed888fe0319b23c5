"""YAML that a user gives: nothing in it stands for something else, and nothing in it has no end."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import pytest
import yaml

from m2ib.cli import main

LAUGHS = "\n".join(
    ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))]
)
ELSEWHERE = "refers to a value elsewhere, and ${...} is not read; write the value itself (the sign is written \\${), or let the shell fill it in"
FILES = {
    "environment": ("title: ${oc.env:SECRET}", f"'${{oc.env:SECRET}}' {ELSEWHERE}"),
    "environment of an input": (
        "inputs: {image: '${oc.env:SECRET}', text: a}",
        f"'${{oc.env:SECRET}}' {ELSEWHERE}",
    ),
    "environment in a part": (
        "options: {a: [1, '-${oc.env:SECRET}-']}",
        f"'-${{oc.env:SECRET}}-' {ELSEWHERE}",
    ),
    "environment after a sign": (r"title: \\${oc.env:SECRET}", ELSEWHERE),
    "resolvers": ("title: ${oc.decode:'[1]'}", ELSEWHERE),
    "another key": ("title: ${model}", ELSEWHERE),
    "thousands of signs": ("title: " + "${" * 5000 + "a" + "}" * 5000, ELSEWHERE),
    "aliases": (LAUGHS, "the alias '*a0' is not read; write what it stands for"),
    "an alias of itself": ("options: &a {b: *a}", "the alias '*a' is not read; write what it stands for"),
    "nesting": ("boxes: " + "[" * 40 + "]" * 40, "is nested more than 32 deep"),
    "deep nesting": ("boxes: " + "[" * 100_000, "is not YAML: "),
    "deep blocks": ("\n".join(" " * n + "a:" for n in range(900)), "is nested more than 32 deep"),
    "code": (
        "title: !!python/object/apply:os.system ['touch ran']",
        "could not determine a constructor for the tag",
    ),
    "one key twice": ("title: a\ntitle: b", "found duplicate key title"),
    "a long number": (f"seed: {'9' * 5000}", "is not YAML: Exceeds the limit"),
    "100 MB": (f"title: {'a' * (100 << 20)}", "has more than 1,048,576 bytes; it holds options, not data"),
    "a null sign": ("title: a\0b", "is not YAML: "),
    "half a character": ('title: "\\ud800"', "is not YAML: "),
    "two documents": ("title: a\n---\ntitle: b", "is not YAML: "),
    "keys that are none": ("options: {1: 2}", "options.1: Key 1 (int) is incompatible with (str)"),
}


@pytest.mark.parametrize(("text", "said"), FILES.values(), ids=FILES.keys())
def test_a_file_is_refused_at_once_and_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECRET", "swordfish")
    Path("odd.yaml").write_text(text)
    del text
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    for command in ("explain", "evaluate", "tune", "check clip"):
        assert main([*command.split(), "--config", "odd.yaml", "--print-config"]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("m2ib: error: config 'odd.yaml'")
        assert err.count("\n") == 1
        assert command != "explain" or said in err
        assert "swordfish" not in err
    assert time.process_time() - began < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["explain", "title=${oc.env:SECRET}"], f"options: title: '${{oc.env:SECRET}}' {ELSEWHERE}"),
        (["explain", "--beta", "${oc.env:SECRET}"], f"options: beta: '${{oc.env:SECRET}}' {ELSEWHERE}"),
        (
            ["evaluate", "settings.m2ib={beta: '${oc.env:SECRET}'}"],
            f"options: settings.m2ib: '${{oc.env:SECRET}}' {ELSEWHERE}",
        ),
        (["benchmark", "scenes", "options.a=${oc.env:SECRET}"], "benchmark: options.a: '${oc.env:SECRET}' "),
        (["explain", f"beta={'{a: ' * 9000}"], "options: beta is nested more than 32 deep"),
        (["explain", f"settings.{'a.' * 3000}b=1"], "options: 'settings.a.a.a."),
        (["explain", "beta=&a [*a]"], "options: beta: the alias '*a' is not read"),
        (["evaluate", "--seeds", "[" * 500], "options: seeds is nested more than 32 deep"),
        (["benchmark", "scenes", f"options.a={'[' * 500}"], "benchmark: options.a is nested more than 32"),
    ],
)
def test_a_word_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    monkeypatch.setenv("SECRET", "swordfish")
    more = [] if words[0] == "benchmark" else ["--print-config"]
    assert main([*words, *more]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"m2ib: error: {said}")
    assert err.count("\n") == 1
    assert "swordfish" not in err
    assert len(err) < 2100


SCENES = ["--model", "imagebind-tiny", "data.format=scenes", "data.modality=imu", "data.count=4"]


@pytest.mark.parametrize(
    ("command", "word", "said"),
    [
        ("evaluate", "metrics=[[drop]]", "evaluate: metrics are names, and ['drop'] is none"),
        ("evaluate", "metrics={drop: 1}", "evaluate: metrics are names, and {'drop': 1} is none"),
        ("evaluate", "methods=[{m2ib: 1}]", "evaluate: methods are names, and {'m2ib': 1} is none"),
        ("evaluate", "methods=3", "evaluate: methods are names, and 3 is none"),
        ("evaluate", "sides=[[imu]]", "evaluate: sides are names, and ['imu'] is none"),
        ("evaluate", "seeds=[[0]]", "evaluate: seed [0] is not a whole number >= 0"),
        ("evaluate", "seeds={a: 0}", "options: a list and a mapping cannot be merged"),
        ("evaluate", f"seeds=[{'9' * 400}]", "evaluate: seed 9999"),
        ("evaluate", "data.split=[[test]]", "data format 'scenes': split is one value, not [['test']]"),
        ("evaluate", "data={1: 2}", "data format 'scenes' has no option '1'"),
        ("evaluate", r"limit=\${a}", "options: limit: While dereferencing interpolation"),
        ("tune", "seeds=[[0]]", "tune: seed [0] is not a whole number >= 0"),
        ("tune", "side=[[imu]]", "tune: side ['imu'] is no modality; it is imu or text"),
        ("tune", "side=3", "tune: side 3 is no modality; it is imu or text"),
    ],
)
def test_a_value_of_another_shape_is_refused_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    word: str,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([command, *SCENES, word]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"m2ib: error: {said}")
    assert err.count("\n") == 1


def test_a_name_that_no_file_can_have(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new-plugin", "my-model", "--out", "\ud800"]) == 2
    assert "out: '\\ud800' names no place" in capsys.readouterr().err
    assert main(["evaluate", f"data={{format: rsicd, captions: a.json, images: {'a' * 5000}}}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--title", "\udcff"], "title: '\\udcff' holds half a character (a lone surrogate); decode it anew"),
        (["--boxes", "deep.json", "--image", "deep.json"], "boxes 'deep.json' is not "),
    ],
)
def test_what_would_fail_late_is_refused_at_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("deep.json").write_text("[" * 100_000)
    pair = ["--text", "a cat"] if "--image" in words else ["--text", "a cat", "--text", "a bird"]
    assert main(["explain", *pair, *words, "--model", "imagebind-tiny"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"m2ib: error: {said}")
    assert err.count("\n") == 1


def test_the_sign_itself_can_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "signs.yaml").write_text(r"title: costs \${a}")
    for words in (
        ["--config", str(tmp_path / "signs.yaml")],
        ["--title", "costs ${a}"],
        [r"title=costs \${a}"],
    ):
        assert main(["explain", *words, "--print-config"]) == 0
        printed = capsys.readouterr().out
        assert yaml.safe_load(printed)["title"] == r"costs \${a}"  # escaped, for it can be read again
    (tmp_path / "again.yaml").write_text(printed)
    assert main(["explain", "--config", str(tmp_path / "again.yaml"), "--print-config"]) == 0
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    "words",
    [
        ["explain", "--text", "a cat", "--text", "a bird", "--model", "imagebind-tiny", "--out", ""],
        ["explain", "--config", ""],
        ["demo", "--out", ""],
        ["demo", "--modalities", "--out", ""],
        ["new-plugin", "my-model", "--out", ""],
        ["new-plugin", "my-model", "--out", "a\0b"],
        ["benchmark", "scenes", "--out", ""],
        ["check", "imagebind-tiny", "--json", ""],
    ],
)
def test_an_empty_place_is_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    """As a shell gives it for a variable that is not set; the working folder is not meant."""
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "names no place; give a path, or leave the option out" in err
    assert list(tmp_path.iterdir()) == []
