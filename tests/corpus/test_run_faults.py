"""Whatever cuts a run off: the finished table is that of a run that was left alone, row by row, and nothing else is touched."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import m2ib
from m2ib.corpus.shards import Part, open_shards
from m2ib.renderers import ImageRenderer
from toy import toy_model
from toy_pairs import FEW, model, pairs, table

COUNT = 40  # as below
SUPPORT = Path(__file__).parents[1] / "support"

# For each line a process that runs the same elsewhere; a shard after each chunk.
RUNS = """
import os, sys
import m2ib, m2ib.corpus.shards
from toy_pairs import FEW, model, pairs
m2ib.corpus.shards._PATIENCE, m2ib.corpus.shards._SHARE = -1, 0
given, folder, more = pairs(40), sys.argv[1], eval(sys.argv[2])
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        m2ib.run(model(), given, folder, batch_size=2, **FEW, **more)
        os._exit(0)
    print(child, flush=True)
    print("ended", os.waitpid(child, 0)[1], flush=True)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What a run that is left alone gives."""
    folder = tmp_path_factory.mktemp("whole") / "r"
    m2ib.run(model(), pairs(COUNT), folder, batch_size=2, **FEW)
    return table(folder)


def workers(parent: int) -> set[int]:
    """Processes that work on a run's chunks."""
    found = set()
    for place in Path("/proc").iterdir():
        with suppress(OSError):
            if place.name.isdecimal() and b"m2ib.corpus.worker" in (place / "cmdline").read_bytes():
                status = (place / "status").read_text()
                found |= {int(place.name)} if f"\nPPid:\t{parent}\n" in status else set()
    return found


def running(numbers: set[int]) -> list[int]:
    """Those that are workers still."""
    return [
        number
        for number in numbers
        if (place := Path(f"/proc/{number}/cmdline")).exists() and b"m2ib.corpus.worker" in place.read_bytes()
    ]


@pytest.mark.parametrize(
    ("more", "kills"),
    [
        pytest.param({}, 20, id="here"),
        pytest.param({"workers": 2}, 20, id="processes", marks=pytest.mark.slow),
        pytest.param({"workers": 2, "ray": "local"}, 20, id="ray", marks=pytest.mark.slow),
    ],
)
def test_killed_twenty_times(
    more: dict[str, Any], kills: int, tmp_path: Path, whole: list[dict[str, Any]]
) -> None:
    folder = tmp_path / "r"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])])
    runs = subprocess.Popen(
        [sys.executable, "-c", RUNS, str(folder), repr(more)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert runs.stdin is not None
    assert runs.stdout is not None

    def next_line() -> str:
        assert runs.stdout is not None
        return runs.stdout.readline().strip()

    def shards() -> int:
        return len(list(folder.glob("rows/*.parquet")))

    moments, done, theirs = random.Random(0), list[int](), set[int]()
    with runs:
        assert next_line() == "ready"
        for number in range(kills):
            runs.stdin.write("again\n")
            runs.stdin.flush()
            child, before, until = int(next_line()), shards(), time.monotonic() + 60
            wanted = before if number % 3 == 0 else before + 1  # some before it has written anything
            while shards() < wanted and time.monotonic() < until:
                time.sleep(0.002)
            time.sleep(moments.uniform(0, 0.05))
            theirs |= workers(child)
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            ended = next_line()
            done.append(shards())
            if ended == "ended 0":  # it was over before
                break
        runs.stdin.write("again\n")
        runs.stdin.flush()
        next_line()
        assert next_line() == "ended 0"
        runs.stdin.close()
    assert len(done) > 10
    assert len(set(done)) > 5
    assert table(folder) == whole
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".m2ib-")]
    assert bool(theirs) == ("workers" in more and "ray" not in more)
    until = time.monotonic() + 30
    while running(theirs) and time.monotonic() < until:  # they end when nobody asks any more
        time.sleep(0.1)
    assert not running(theirs)


def test_a_full_disk(tmp_path: Path, whole: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told in one line, and when there is room again the run goes on."""
    monkeypatch.setattr("m2ib.corpus.shards._PATIENCE", -1)
    folder, usual = tmp_path / "r", resource.getrlimit(resource.RLIMIT_FSIZE)
    m2ib.run(model(), pairs(6), folder, batch_size=2, **FEW)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, usual[1]))
    try:
        with pytest.raises(m2ib.StorageError, match=r"^cannot write .*File too large"):
            m2ib.run(model(), pairs(COUNT), folder, batch_size=2, **FEW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    now = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {path: now[path] for path in before if path.name != "m2ib-folder.json"} == {
        path: content for path, content in before.items() if path.name != "m2ib-folder.json"
    }
    m2ib.run(model(), pairs(COUNT), folder, batch_size=2, **FEW)
    assert table(folder) == whole


def test_a_worker_that_is_killed(tmp_path: Path, whole: list[dict[str, Any]]) -> None:
    mark = tmp_path / "once"

    def deadly(encoder: m2ib.Encoder) -> m2ib.Encoder:
        def prepare(raw: Any, *, truncate: bool = False) -> m2ib.Item:
            import os
            import signal

            if raw == "rain" and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            assert encoder.prepare is not None
            return encoder.prepare(raw)

        return replace(encoder, prepare=prepare)

    m2ib.run(toy_model(text=deadly), pairs(COUNT), tmp_path / "r", batch_size=2, workers=2, **FEW)
    assert mark.exists()
    assert table(tmp_path / "r") == whole


def test_two_runs_in_one_folder(tmp_path: Path, whole: list[dict[str, Any]]) -> None:
    """The second one is refused; parts of the pairs may be worked on at once."""
    folder = tmp_path / "r"
    m2ib.run(model(), pairs(4), folder, batch_size=2, **FEW)
    asked = m2ib.results.open(folder).manifest["asked"]
    with open_shards(folder, asked, {}, Part(1, 2), 2, force=False):
        for shard in (None, "1/2", "2/3"):
            with pytest.raises(
                m2ib.StorageError, match=r"another run is at work in .*; wait for it, or divide"
            ):
                m2ib.run(model(), pairs(COUNT), folder, batch_size=2, shard=shard, **FEW)
        with pytest.raises(m2ib.StorageError, match="another run is at work"):
            m2ib.run(model(), pairs(COUNT), folder, batch_size=2, shard="2/2", force=True, **FEW)
        m2ib.run(model(), pairs(COUNT), folder, batch_size=2, shard="2/2", **FEW)
    m2ib.run(model(), pairs(COUNT), folder, batch_size=2, **FEW)
    assert table(folder) == whole


def test_a_damaged_shard_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    m2ib.run(model(), pairs(4), folder, **FEW)
    shard = folder / "rows" / "part-000000.parquet"
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(m2ib.StorageError, match=r"part-000000.parquet' is damaged"):
        m2ib.run(model(), pairs(6), folder, **FEW)
    with pytest.raises(m2ib.StorageError, match=r"rows' cannot be read|part-000000.parquet"):
        m2ib.results.open(folder).summary()
    (folder / "run.json").write_text("{")
    with pytest.raises(m2ib.StorageError, match=r"run.json' is damaged"):
        m2ib.results.open(folder)


def test_every_tenth_input_is_bad(tmp_path: Path, whole: list[dict[str, Any]]) -> None:
    given = pairs(COUNT)
    for number in range(0, COUNT, 10):
        given[number] = {**given[number], "image": "no picture"}
    m2ib.run(model(), given, tmp_path / "r", batch_size=2, **FEW)
    rows = table(tmp_path / "r")
    assert [row["number"] for row in rows if row["error"] is not None] == [0, 10, 20, 30]
    good = [(row, other) for row, other in zip(rows, whole, strict=True) if row["error"] is None]
    assert all(row == other for row, other in good if row["number"] % 10 != 1)  # whose chunk is as it was


class Picky(ImageRenderer):
    """Stores no picture that is all black; counts those that it stores."""

    stored: ClassVar[list[int]] = []

    def store(self, view: Any, folder: Path, stem: str) -> Any:
        if not view.pixels.any():
            raise ValueError("it is black")
        self.stored.append(1)
        return super().store(view, folder, stem)


def test_a_renderer_that_fails_over_one_picture(tmp_path: Path) -> None:
    """Of two methods what is shown is stored once."""
    given = pairs(4)
    given[1] = {**given[1], "image": np.zeros((8, 8, 3))}
    picky = toy_model(image=lambda encoder: replace(encoder, renderer=Picky()))
    found = m2ib.run(picky, given, tmp_path / "r", method="m2ib,gradcam", **FEW)
    rows = table(tmp_path / "r")
    assert [row["id"] for row in rows if row["error"] is not None] == ["p1", "p1"]
    assert rows[2]["error"] == "renderer 'image' failed: ValueError: it is black"
    assert len(Picky.stored) == 3
    assert found.explanation("p0", "gradcam")["image"].view.pixels.shape == (8, 8, 3)


def test_a_clock_that_goes_back(
    tmp_path: Path, whole: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(range(10**9, 0, -1000))
    monkeypatch.setattr(time, "time", lambda: float(next(times)))
    for count in (10, COUNT):
        m2ib.run(model(), pairs(count), tmp_path / "r", batch_size=2, **FEW)
    assert table(tmp_path / "r") == whole


@pytest.fixture
def scenes_csv(tmp_path: Path) -> Path:
    from PIL import Image

    from m2ib.scenes import scene

    lines = ["image,text"]
    for number in range(12):
        Image.fromarray(scene(number).inputs["image"]).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{scene(number).text}")
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    return tmp_path / "pairs.csv"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(number: signal.Signals, scenes_csv: Path, tmp_path: Path) -> None:
    """What is done is kept, no worker is left, and the exit code says it."""
    words = [
        "run",
        "--data",
        str(scenes_csv),
        "--model",
        "imagebind-tiny",
        "--device",
        "cpu",
        "--batch-size",
        "2",
    ]
    command = [sys.executable, "-m", "m2ib", *words, "steps=20"]
    several = [*command, "--workers", "2", "--out", str(tmp_path / "r")]
    with subprocess.Popen(several, stderr=subprocess.PIPE, text=True) as command_line:
        until = time.monotonic() + 120
        while len(theirs := workers(command_line.pid)) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(4)
        command_line.send_signal(number)
        _, said = command_line.communicate(timeout=60)
    assert (command_line.returncode, said.splitlines()[-1]) == (130, "m2ib: error: interrupted")
    assert "Traceback" not in said
    assert not running(theirs)
    done = table(tmp_path / "r")
    assert len(done) < 12
    for name in ("r", "whole"):
        subprocess.run([*command, "--out", str(tmp_path / name)], check=True, capture_output=True)
    assert table(tmp_path / "r") == table(tmp_path / "whole")
