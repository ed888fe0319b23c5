"""A command in a process of its own: what it prints where, and how it ends when its surroundings are not as usual."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest

from installed import Plugins

M2IB = (sys.executable, "-m", "m2ib")
NO_FIELD = "m2ib: error: standard output cannot be written: No space left on device\n"


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A line of bash, in which ``$M2IB`` is the program."""
    around = {**os.environ, "M2IB": " ".join(M2IB), **environment}
    return subprocess.run(["bash", "-c", line], env=around, capture_output=True, text=True, check=False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("words", ["adapters", "--help", "--version", "explain --print-config"])
def test_a_full_disk_behind_standard_output(words: str) -> None:
    done = shell(f"$M2IB {words} > /dev/full")
    assert (done.returncode, done.stderr) == (2, NO_FIELD)


def test_a_reader_that_went_away() -> None:
    done = shell("$M2IB methods | true; echo ${PIPESTATUS[0]}")
    assert (done.stdout, done.stderr) == ("141\n", "")


def test_a_command_is_finished_though_nobody_reads(tmp_path: Path) -> None:
    done = shell(f"$M2IB new-plugin my-model --out {tmp_path}/new | true; echo ${{PIPESTATUS[0]}}")
    assert (done.stdout, done.stderr) == ("141\n", "")
    assert (tmp_path / "new" / "pyproject.toml").is_file()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_files_are_nobodys(closed: str, tmp_path: Path) -> None:
    """The next file that is opened gets the number of a closed one; what is printed must not go into it."""
    done = shell(f"$M2IB new-plugin my-model --out {tmp_path}/new {closed}")
    assert (done.returncode, done.stderr) == (0, "")
    assert ("next: pip" in done.stdout) == (">&-" not in closed.replace("2>&-", ""))
    for path in (tmp_path / "new").rglob("*.*"):
        assert path.is_dir() or "next: pip" not in path.read_text(), path


def test_refusals_stay_off_standard_output_when_nobody_can_be_told() -> None:
    for place in ("2>&-", "2>/dev/full"):
        done = shell(f"$M2IB adapters clip {place}")
        assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
    ids=["ascii", "C"],
)
def test_any_text_is_printed_in_any_encoding(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = tmp_path / "Übung"
    folder.mkdir()
    done = shell(f"cd {folder} && $M2IB new-plugin my-model", **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].endswith("/m2ib-my-model")


def test_a_name_of_undecodable_bytes_is_printed(tmp_path: Path) -> None:
    line = f"cd {tmp_path} && mkdir $'n\\xff' && cd $'n\\xff' && $M2IB new-plugin my-model"
    done = shell(line, PYTHONIOENCODING="utf-8:strict")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"{tmp_path}/n\\udcff/m2ib-my-model"


def test_a_working_folder_that_is_gone(tmp_path: Path) -> None:
    done = shell(f"mkdir {tmp_path}/gone; cd {tmp_path}/gone; rmdir ../gone; $M2IB adapters")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "m2ib: error: the working folder is gone; change into one that exists\n"


# What plugins print, and how they end.

LOUD = """
    import os
    import m2ib

    print("printed at import")

    def load(**options):
        print("printed by Python")
        os.write(1, b"written to file 1\\n")
        os.system("echo from a child")
        {end}

    @m2ib.hookimpl
    def m2ib_register_adapters(register):
        print("printed by a hook")
        register(m2ib.AdapterSpec("loud", "a test's own", ("text",), load=load))
"""


def beside(plugins: Plugins) -> dict[str, str]:
    """The environment in which a process finds them."""
    path = os.pathsep.join(filter(None, [str(plugins.folder), os.environ.get("PYTHONPATH")]))
    return {"PYTHONPATH": path, "COLUMNS": "200"}


def test_what_a_plugin_prints_is_no_result(plugins: Plugins) -> None:
    plugins.add("loud", LOUD.format(end="raise SystemExit(0)"))
    done = shell("$M2IB adapters", **beside(plugins))
    assert done.returncode == 0
    assert "printed" not in done.stdout
    assert done.stderr.splitlines() == ["printed at import", "printed by a hook"]
    done = shell("$M2IB explain --text a --text b --model loud", **beside(plugins))
    assert done.stdout == ""
    assert {"printed by Python", "written to file 1", "from a child"} < set(done.stderr.splitlines())


def test_a_command_keeps_few_kernels(plugins: Plugins) -> None:
    plugins.add("asks", "import os\nprint('kernels', os.environ.get('ONEDNN_PRIMITIVE_CACHE_CAPACITY'))")
    assert "kernels 256" in shell("$M2IB adapters", **beside(plugins)).stderr
    chosen = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "32"}
    assert "kernels 32" in shell("$M2IB adapters", **beside(plugins), **chosen).stderr


# Errors that were not foreseen.

FAILS = """
    import sys
    from m2ib.cli import main, methods

    def run(parsed, rest):
        {code}

    methods.run = run
    sys.exit(main(["methods"]))
"""


def failing(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", dedent(FAILS).format(code=code)]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise RuntimeError('first\\nsecond ' + 'x' * 100_000)", "RuntimeError: first second xxx"),
        ("sys.exit(0)", "SystemExit: 0 ("),
        ("raise GeneratorExit", "GeneratorExit ("),
        ("raise MemoryError", "MemoryError ("),
        ("run(parsed, rest)", "RecursionError: maximum recursion depth exceeded"),
        (
            "raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})",
            "Odd: (its message cannot be shown) (",
        ),
    ],
)
def test_an_error_that_was_not_foreseen_is_one_line(code: str, said: str) -> None:
    done = failing(code)
    assert (done.returncode, done.stdout) == (70, "")
    assert done.stderr.startswith(f"m2ib: error: {said}")
    assert done.stderr.endswith(
        "(this was not foreseen; with M2IB_TRACEBACK=1 it is shown where it comes from)\n"
    )
    assert len(done.stderr) < 500
    assert done.stderr.count("\n") == 1


def test_its_traceback_is_shown_where_it_is_asked_for() -> None:
    assert "in run\n" in failing("raise RuntimeError", M2IB_TRACEBACK="1").stderr
    assert "Traceback" not in failing("raise RuntimeError", M2IB_TRACEBACK="0").stderr


# Interrupts.


def _stdout_is_aside(process: int) -> bool:
    try:
        return os.readlink(f"/proc/{process}/fd/3").startswith("pipe:")
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc here")
@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.4, 1.0, 3.0])
@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_at_any_moment_is_one_line_at_most(tmp_path: Path, seconds: float, times: int) -> None:
    words = ["explain", "--text", "a cat", "--text", "a bird", "--model", "imagebind-tiny", "steps=100000"]
    with subprocess.Popen(
        [*M2IB, *words, "--out", str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            while not _stdout_is_aside(process.pid):
                time.sleep(0.01)  # Python itself has started, and has put standard output aside
            time.sleep(seconds)
            for _ in range(times):
                process.send_signal(signal.SIGINT)
                time.sleep(0.01)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode in (130, -signal.SIGINT)  # a shell gives 130 for either
    assert (out, err) in (("", ""), ("", "m2ib: error: interrupted\n"))


INTERRUPTED = """
    import signal, sys, time
    from m2ib import __main__, cli

    class Dying:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    def main():
        {code}
        time.sleep(60)

    cli.main = main
    sys.exit(__main__.run())
"""


@pytest.mark.parametrize(
    "code", ["Dying()", "sys.path.insert(0, sys.argv[1]); import interrupts"], ids=["finaliser", "import"]
)
def test_an_interrupt_ends_the_process_where_python_or_cpp_would_not_let_it_through(
    code: str, tmp_path: Path
) -> None:
    (tmp_path / "interrupts.py").write_text(
        "import signal\ntry:\n    signal.raise_signal(2)\nexcept KeyboardInterrupt:\n    pass\n"
    )
    command = [sys.executable, "-c", dedent(INTERRUPTED).format(code=code), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
