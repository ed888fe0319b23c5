"""What the demo's page says of a pair that its model hardly connects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

import m2ib
from drawn import explanations
from m2ib.cli.demo import PhotoCaption, remark
from m2ib.renderers import ImageView

SUIT = PhotoCaption("astronaut", "a suit", "A suit", named=(0, 0, 4, 4, "suit"))


def explained(peak: tuple[int, int], similarity: float, **usual: Any) -> m2ib.Explanation:
    """A map of 2 x 2 cells over 8 x 8 pixels, of which the first cell is the suit's."""
    photo, text = explanations()["photo-text"]
    grid = np.ones((2, 2), np.float32)
    grid[peak] = 5
    view = ImageView(np.zeros((8, 8, 3), np.uint8), (0, 0, 8, 8), (8, 8))
    layout = replace(photo.layout, grid=(2, 2))
    photo = replace(photo, modality="image", grid=grid, capacity=grid.ravel(), layout=layout, view=view)
    places = {
        name: {"inputs": 10, "below": below, "median": 0.0, "greatest": 0.1} for name, below in usual.items()
    }
    return m2ib.Explanation((photo, text), similarity, {"usual": places} if places else {})


def test_a_pair_that_usual_inputs_are_closer_than_is_told_with_where_its_map_is() -> None:
    wrong = explained((1, 1), 0.05, image=0.8, text=0.7)
    said, verdicts = remark(SUIT, wrong)
    assert said == (
        "The similarity is low: in its place 2 of 10 usual images and 3 of 10 usual texts are closer to the other side. The model fails "
        "here, and the map shows it: heat lies where the two could be brought together, and not on what the caption names."
    )
    assert verdicts == [(False, "highest not on the suit, which has 12% of the map, 25% of the picture")]
    said, verdicts = remark(SUIT, explained((0, 0), 0.05, image=0.8, text=0.7))
    assert said.endswith("closer to the other side. The model hardly connects the two.")
    assert verdicts == [(True, "highest on the suit, which has 62% of the map, 25% of the picture")]


def test_nothing_is_said_of_a_pair_that_stands_above_the_usual_ones_of_a_kind() -> None:
    unnamed = replace(SUIT, named=None)
    assert remark(unnamed, explained((1, 1), 0.2, image=1.0, text=1.0)) == ("", [])
    assert remark(unnamed, explained((1, 1), 0.05)) == ("", [])  # of a contrast nothing is usual
