"""The photographs that the demo leaves for its reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

import m2ib
from m2ib.cli.demo import PAIRS, photographs, write_pairs


def test_the_demo_leaves_its_photographs_and_a_table_that_names_them(tmp_path: Path) -> None:
    write_pairs(tmp_path, photographs())
    rows = [pair.inputs for pair in m2ib.open_pairs(tmp_path / "pairs.csv")]
    said = [(pair.photo, pair.caption) for pair in PAIRS if pair.against is None]
    assert [(Path(image).stem, text) for (_, image), (_, text) in rows] == said
    for (_, image), _text in rows:
        left = np.asarray(Image.open(image), dtype=float)
        assert abs(left - getattr(skimage.data, Path(image).stem)()).mean() < 6
