"""What is done with a single map: scaled, ordered, cut."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import m2ib
from m2ib.metrics import above_median, above_percentile, iou, mass_over_area, mean_mass, order, scaled, top

some_maps = arrays(np.float64, array_shapes(max_dims=3, max_side=5), elements=st.integers(-3, 3).map(float))


@given(some_maps)
def test_scaled_goes_from_0_to_1_in_the_same_order(values: np.ndarray) -> None:
    found = scaled(values)
    assert found.shape == values.shape
    assert found.dtype == np.float64
    if values.min() < values.max():
        assert (found.min(), found.max()) == (0, 1)
        assert found * (values.max() - values.min()) + values.min() == pytest.approx(values)
    else:
        assert (found == (1 if values.flat[0] > 0 else 0)).all()


def test_scaled_keeps_a_uniform_map_whole() -> None:
    assert scaled(np.full((2, 3), 1.0)).tolist() == [[1, 1, 1]] * 2
    assert scaled(np.full((2, 3), 1e-9)).tolist() == [[1, 1, 1]] * 2
    assert scaled(np.zeros(3)).tolist() == [0, 0, 0]
    assert scaled(np.full(3, -2.0)).tolist() == [0, 0, 0]
    assert scaled(np.array([1, 3, 2], np.float16)).tolist() == [0, 1, 0.5]
    assert mean_mass([0.0, 1.0, 2.0, 1.0]) == 0.5


@given(some_maps, st.integers(0, 10))
def test_order_falls_and_holds_every_place_once(values: np.ndarray, seed: int) -> None:
    found = order(values, np.random.default_rng(seed))
    assert sorted(found.tolist()) == list(range(values.size))
    assert (np.diff(values.ravel()[found]) <= 0).all()
    assert found.tolist() == order(values, np.random.default_rng(seed)).tolist()


def test_order_draws_among_equal_places() -> None:
    random = np.random.default_rng(0)
    firsts = [int(order(np.array([[0.0, 1.0], [1.0, 1.0]]), random)[0]) for _ in range(3000)]
    assert np.bincount(firsts, minlength=4) / 3000 == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3], abs=0.03)


def test_top_is_the_head_of_the_order() -> None:
    values = np.random.default_rng(0).integers(0, 4, 30).astype(np.float32)
    head = order(values, np.random.default_rng(5))[:7]
    assert np.flatnonzero(top(values, 7, np.random.default_rng(5))).tolist() == sorted(head.tolist())


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9))
def test_above_median_is_that_of_a_loop(scores: list[int]) -> None:
    ordered = sorted(scores)
    median = (ordered[(len(scores) - 1) // 2] + ordered[len(scores) // 2]) / 2
    strictly = [score > median for score in scores]
    expected = strictly if any(strictly) else [score >= median for score in scores]
    assert above_median(scores).tolist() == expected
    assert any(expected)


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        ([1.0, 2.0, 3.0], [False, False, True]),
        ([4.0, 1.0, 2.0, 3.0], [True, False, False, True]),
        ([1.0, 1.0, 1.0], [True, True, True]),
        ([0.0, 0.0], [True, True]),
        ([0.0, 1.0, 1.0], [False, True, True]),
        ([7.0], [True]),
        ([], []),
    ],
)
def test_above_median_of_known_scores(scores: list[float], kept: list[bool]) -> None:
    found = above_median(scores)
    assert found.dtype == bool
    assert found.tolist() == kept


def test_above_percentile_is_strict() -> None:
    assert above_percentile(np.arange(100.0)).sum() == 25
    assert above_percentile(np.array([0.0, 0.0, 1.0, 1.0, 1.0])).sum() == 0  # the percentile is 1
    assert above_percentile(np.ones((3, 3))).sum() == 0


def test_sets_that_are_empty() -> None:
    nothing = np.zeros(4, bool)
    assert math.isnan(iou(nothing, nothing))
    assert math.isnan(mass_over_area(np.ones(4), nothing))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: scaled([1.0, math.nan]), "scaled: the map[1] is nan; give finite numbers"),
        (lambda: scaled([[0.0, 1.0], [math.inf, 2.0]]), "scaled: the map[1, 0] is inf; give finite numbers"),
        (lambda: scaled([]), "scaled: the map of shape (0,) is empty; give one with at least one place"),
        (
            lambda: order([math.nan], np.random.default_rng(0)),
            "order: the map[0] is nan; give finite numbers",
        ),
        (lambda: above_median([0.0, math.nan]), "above_median: scores[1] is nan; give finite numbers"),
    ],
)
def test_maps_that_cannot_be_used(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(m2ib.InputError) as error:
        call()
    assert str(error.value) == message
