"""The examples run as they stand, and the benchmarks print their tables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import skimage.data
from PIL import Image

ROOT = Path(__file__).parents[2]


def run(program: str, *arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / program), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_explain_a_photo(tmp_path: Path) -> None:
    out = run("examples/explain_a_photo.py", cwd=tmp_path)
    assert "nats  espresso" in out
    assert "24 x 24 positions" in out
    assert (tmp_path / "explanation.html").stat().st_size > 50_000


def test_why_this_caption(tmp_path: Path) -> None:
    out = run("examples/why_this_caption.py", cwd=tmp_path)
    assert out.count("strongest at row") == 2
    assert "rather than" in (tmp_path / "why_this_caption.html").read_text(encoding="utf-8")


def test_your_own_clip(tmp_path: Path) -> None:
    out = run("examples/your_own_clip.py", cwd=tmp_path)
    assert out.count("(7, 7)") == 3


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("audio_image", "3 clips of 12 x 19 cells"),
        ("imu_text", " s\n"),
        ("video_text", "4.0 to 6.0 s:"),
        pytest.param("text_depth", "of the depth map", marks=pytest.mark.slow),
        pytest.param("thermal_image", "thermal: (14, 14)", marks=pytest.mark.slow),
        pytest.param("image_image", "image 1: (16, 16)", marks=pytest.mark.slow),
    ],
)
def test_imagebind_examples(name: str, line: str, tmp_path: Path) -> None:
    out = run(f"examples/imagebind/{name}.py", cwd=tmp_path)
    assert "a small model with random weights" in out
    assert line in out
    assert (tmp_path / f"{name}.html").stat().st_size > 50_000


@pytest.mark.slow
def test_the_pointing_game_prints_its_table(tmp_path: Path) -> None:
    out = run("tests/benchmarks/pointing.py", cwd=tmp_path)
    for row in ("27 phrases", "m2ib", "m2ib, sharp", "gradcam", "centred blob", "chance"):
        assert row in out


@pytest.mark.slow
def test_what_is_heard_of_a_sound_is_printed(tmp_path: Path) -> None:
    out = run("tests/benchmarks/hearing.py", "--scenes", "2", cwd=tmp_path)
    for row in ("5 sounds", "sharp", "rise", "random cells", "the whole"):
        assert row in out


@pytest.mark.slow
def test_the_pointing_game_on_coco_asks_by_its_rule(tmp_path: Path) -> None:
    """Of the largest things a photo two, but no people, no tables, nothing that is tiny or fills the picture."""
    Image.fromarray(skimage.data.cat()).save(tmp_path / "cat.png")  # 451 x 300 pixels
    names = ["person", "dining table", "cat", "dog", "bird", "cow", "wall"]
    boxes = [
        (0, 0, 200, 200),
        (0, 0, 200, 200),
        (130, 80, 200, 200),
        (0, 0, 100, 100),
        (0, 0, 60, 60),
        (0, 0, 9, 9),
    ]
    boxes.append((0, 0, 451, 290))
    objects = [
        {"id": n, "image_id": 1, "category_id": n, "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0}
        | {"segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]]}
        for n, (x, y, w, h) in enumerate(boxes)
    ]
    content = {
        "images": [{"id": 1, "file_name": "cat.png", "width": 451, "height": 300}],
        "annotations": objects,
        "categories": [{"id": n, "name": name} for n, name in enumerate(names)],
    }
    (tmp_path / "instances.json").write_text(json.dumps(content), encoding="utf-8")
    files = ("--annotations", "instances.json", "--images", ".", "--masks", "4", "--verbose")
    out = run("tests/benchmarks/pointing.py", *files, cwd=tmp_path)
    assert "2 phrases" in out
    assert "rise, 4 masks" in out
    assert "m2ib: hit  1: a cat" in out
    assert "a dog" in out
    assert not any(f"a {name}" in out for name in ("bird", "cow", "wall", "person"))


@pytest.mark.slow
def test_the_speed_table_is_printed(tmp_path: Path) -> None:
    out = run("tests/benchmarks/speed.py", "--repeats", "1", "--texts", "1", "--leaks", "0", cwd=tmp_path)
    for row in ("textbook", "float32", "bfloat16"):
        assert row in out


@pytest.mark.slow
def test_all_rows_of_the_gpu_table_are_printed(tmp_path: Path) -> None:
    out = run("tests/benchmarks/gpu.py", "--rehearse", cwd=tmp_path)
    for row in (
        "maps in float16",
        "larger than memory",
        "TF32",
        "caption",
        "pairs/s",
        "memory, ",
        "workers=2",
    ):
        assert row in out
    assert "wrong: nothing" in out


def test_the_gpu_table_is_refused_where_there_is_none(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/benchmarks/gpu.py")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 2
    assert done.stderr == "gpu.py: torch sees no CUDA device here; run it where there is one\n"


def test_photographs_become_pairs(tmp_path: Path) -> None:
    from m2ib.data import open_pairs

    out = run("examples/photographs.py", "photographs", cwd=tmp_path)
    assert out.splitlines()[0] == "27 pairs of 6 photographs"
    pairs = open_pairs(tmp_path / "photographs" / "pairs.jsonl")
    assert pairs.located
    assert len(list(pairs)) == 27
    assert pairs.bad == []
