"""The pages' pictures are made by the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def test_the_script_makes_the_pictures_that_the_pages_show(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(DOCS / "figures.py"), str(tmp_path / "made")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    made = {path.name for path in (tmp_path / "made").iterdir()}
    shown = {
        name
        for page in DOCS.rglob("*.md")
        for name in re.findall(r"\]\((?:\.\./)*figures/([^)]+)\)", page.read_text())
    }
    assert made == shown == set(done.stdout.split())
    assert made == {path.name for path in (DOCS / "figures").iterdir()}
    for name in made:
        picture = np.asarray(Image.open(tmp_path / "made" / name).convert("L"))
        before = np.asarray(Image.open(DOCS / "figures" / name).convert("L"))
        assert picture.shape == before.shape, f"{name}: run python docs/figures.py"
        assert picture.std() > 20, f"{name} is empty"
