"""Maps in little, for cards: the hottest place is the one that is lit, and its picture is small."""

from __future__ import annotations

import base64
import dataclasses
import io
import re

import numpy as np
import pytest
from PIL import Image

from drawn import KINDS, contrast
from m2ib.contract.abilities import Sketching
from m2ib.contract.attribution import Attribution


def picture(shown: Attribution, longest: int = 48) -> np.ndarray:
    """(rows, columns, 3) of a sketch."""
    assert isinstance(shown.renderer, Sketching)
    html = shown.renderer.sketch(shown, longest)
    (data,) = re.findall(r'src="data:image/\w+;base64,([^"]+)"', html)
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def one_hot(kind: str, value: float) -> Attribution:
    """Nothing but one cell in the first row, right of the middle."""
    plain = KINDS[kind]()
    grid = np.zeros_like(plain.grid)
    grid[(..., -2) if grid.ndim == 1 else (..., 0, -2)] = value
    return dataclasses.replace(plain, grid=grid, full=10.0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_hot_cell_is_lit(kind: str) -> None:
    cold, hot = (picture(one_hot(kind, value)) for value in (0.0, 10.0))
    assert max(hot.shape) <= 48
    changed = np.abs(hot - cold).sum(-1)
    place = np.unravel_index(changed.argmax(), changed.shape)
    red, _, blue = hot[place] - cold[place]
    assert red > blue + 15, "yellow, not black or white"
    assert place[1] > hot.shape[1] / 3
    assert (changed > 60).mean() < 0.6, "the rest is as it was"


@pytest.mark.parametrize("kind", KINDS)
def test_both_sides_of_a_contrast_have_hues_of_their_own(kind: str) -> None:
    shown = contrast(kind)
    assert shown.against is not None
    ahead = dataclasses.replace(shown, grid=np.full_like(shown.grid, 2), against=np.zeros_like(shown.grid))
    behind = dataclasses.replace(shown, grid=np.zeros_like(shown.grid), against=np.full_like(shown.grid, 2))
    warm, cool = (picture(each).mean((0, 1)) for each in (ahead, behind))
    assert warm[0] - warm[2] > cool[0] - cool[2] + 50
