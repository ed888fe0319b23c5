"""It keeps the contract, and its maps are true."""

import subprocess
import sys

import numpy as np

import m2ib
from m2ib.testing import check_adapter

GREY = np.full((64, 64, 3), 128, np.uint8)


def painted(rows: slice, columns: slice, colour: tuple[int, int, int]) -> np.ndarray:
    photo = GREY.copy()
    photo[rows, columns] = colour
    return photo


RED = painted(slice(0, 16), slice(40, 64), (255, 0, 0))


def test_it_keeps_the_contract() -> None:
    blue = painted(slice(30, 50), slice(3, 20), (0, 0, 255))
    check_adapter("minimal", {"image": [RED, blue], "text": ["a red car", "blue"]})


def test_the_map_lies_on_the_colour_that_is_named() -> None:
    photo = painted(slice(40, 64), slice(0, 24), (0, 0, 255))
    photo[0:16, 40:64] = (255, 0, 0)
    model = m2ib.load_model("minimal", device="cpu")
    for word, rows, columns in (("red", slice(0, 2), slice(5, 8)), ("blue", slice(5, 8), slice(0, 3))):
        grid = m2ib.explain(model, image=photo, text=f"something {word} there")["image"].grid
        inside = np.zeros(grid.shape, bool)
        inside[rows, columns] = True
        assert grid[inside].min() > grid[~inside].max()


def test_the_word_that_names_it_stands_out() -> None:
    model = m2ib.load_model("minimal", device="cpu")
    words = dict(m2ib.explain(model, image=RED, text="the red car over there")["text"].words)
    assert max(words, key=words.__getitem__) == "red"


def test_listing_imports_no_torch() -> None:
    code = "import m2ib, sys; assert 'minimal' in m2ib.list_adapters(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
