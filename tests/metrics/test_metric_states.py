"""Scores are kept, merged, stored and summed up the same however the samples came."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2ib.metrics import (
    METRICS,
    Aggregate,
    ConfidenceDrop,
    LocalisationIoU,
    Metric,
    PointingGame,
    aggregate,
    mean_over_seeds,
    metric,
)

Part = Callable[[slice], tuple[Any, ...]]


def arguments(name: str, seed: int, count: int) -> Part:
    """Random arguments of ``update``, of which a part of the samples can be had."""
    random = np.random.default_rng(seed)
    maps, others = random.integers(0, 3, (2, count, 3, 2)).astype(float)  # some constant
    masks = random.random((count, 3, 2)) < 0.2  # some empty
    cosines = random.uniform(-1, 1, (2, count))
    curves, at = random.uniform(-1, 1, (count, 5)), np.linspace(0, 1, 5)
    if name in ("drop", "increase"):
        return lambda part: (cosines[0][part], cosines[1][part])
    if name in ("deletion", "insertion"):
        return lambda part: (curves[part], at)
    if name == "mass":
        return lambda part: (maps[part],)
    if name == "rank-correlation":
        return lambda part: (maps[part], others[part])
    if name == "roar":
        return lambda part: (1.1 + cosines[0][part], cosines[1][part])
    return lambda part: (maps[part], list(masks[part]))


def same(one: Metric, other: Metric) -> bool:
    np.testing.assert_array_equal(one.samples, other.samples)
    mine, yours = one.compute(), other.compute()
    np.testing.assert_array_equal(
        [mine.mean, mine.standard_error, mine.count, mine.undefined],
        [yours.mean, yours.standard_error, yours.count, yours.undefined],
    )
    return one.keys == other.keys


@pytest.mark.parametrize("name", METRICS)
@given(seed=st.integers(0, 1000), count=st.integers(0, 12), cuts=st.lists(st.integers(0, 12), max_size=4))
def test_merging_shards_is_one_update(name: str, seed: int, count: int, cuts: list[int]) -> None:
    given_ = arguments(name, seed, count)
    keys = [f"pair {number}" for number in range(count)]
    whole = metric(name)
    whole.update(*given_(slice(None)), keys=keys)
    edges = [0, *sorted(min(cut, count) for cut in cuts), count]
    merged = metric(name)
    for start, end in pairwise(edges):
        part = slice(start, end)
        shard = metric(name)
        shard.update(*given_(part), keys=keys[part])
        stored = metric(name)
        stored.load_state_dict(json.loads(json.dumps(shard.state_dict(), allow_nan=False)))
        merged.merge(stored)
    assert same(whole, merged)


@given(st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(math.nan)), max_size=12), st.randoms())
def test_an_aggregate_is_that_of_a_loop_and_of_no_order(scores: list[float], random: Any) -> None:
    found = aggregate(scores)
    known = [score for score in scores if score == score]
    assert (found.count, found.undefined) == (len(known), len(scores) - len(known))
    if known:
        mean = sum(known) / len(known)
        assert found.mean == pytest.approx(mean, abs=1e-6)
    else:
        assert math.isnan(found.mean)
    if len(known) > 1:
        variance = sum((score - mean) ** 2 for score in known) / (len(known) - 1)
        assert found.standard_error == pytest.approx(math.sqrt(variance) / math.sqrt(len(known)), abs=1e-6)
    else:
        assert math.isnan(found.standard_error)
    shuffled = list(scores)
    random.shuffle(shuffled)
    again = aggregate(shuffled)
    np.testing.assert_array_equal(
        [found.mean, found.standard_error], [again.mean, again.standard_error]
    )  # to the last bit


def test_the_standard_error_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    scores = np.random.default_rng(0).normal(size=40)
    assert aggregate(scores).standard_error == pytest.approx(stats.sem(scores))


def test_nothing_has_no_mean() -> None:
    for name in METRICS:
        found = metric(name)
        assert found.samples.shape == (0,)
        assert found.samples.dtype == np.float64
        assert found.keys == ()
        assert math.isnan(found.compute().mean)
        assert (found.compute().count, found.compute().undefined) == (0, 0)


def test_samples_and_keys_come_in_the_order_of_updates() -> None:
    found = ConfidenceDrop()
    found.update([0.5, 0.5], [0.4, 0.2], keys=["a", ("b", 1)])
    found.update(0.5, 0.5)
    found.update(0.5, 0.1, keys=np.array([7]))
    assert found.samples == pytest.approx([10, 30, 0, 40])
    assert found.keys == ("a", ("b", 1), None, 7)
    assert found.compute().count == 4
    found.samples[0] = 99  # a copy
    assert found.samples[0] == pytest.approx(10)


def test_merging_leaves_the_other_as_it_was() -> None:
    one, other = ConfidenceDrop(), ConfidenceDrop()
    one.update(0.5, 0.4)
    other.update(0.5, 0.3)
    one.merge(other)
    one.update(0.5, 0.2)
    assert one.samples == pytest.approx([10, 20, 30])
    assert other.samples == pytest.approx([20])


def test_reset_forgets_samples_and_keeps_settings() -> None:
    found = LocalisationIoU(percentile=90)
    found.update([np.arange(4.0)], [[1, 0, 0, 1]], keys=["a"])
    found.reset()
    assert (len(found.samples), found.keys, found.percentile) == (0, (), 90)


def test_a_state_holds_everything() -> None:
    found = metric("iou", percentile=50)
    found.update([[0.0, 1.0], [0.0, 1.0]], [[0, 1], [0, 0]], keys=[("cat.jpg", 0), None])
    state = found.state_dict()
    assert state == {
        "metric": "iou",
        "settings": {"percentile": 50.0},
        "scores": [1.0, None],
        "keys": [["cat.jpg", 0], None],
    }
    again = metric(state["metric"], **state["settings"])
    again.update([[0.0, 1.0]], [[0, 1]])  # replaced
    again.load_state_dict(json.loads(json.dumps(state)))
    assert same(found, again)


def test_a_failed_update_changes_nothing() -> None:
    found = PointingGame()
    found.update([[0.0, 1.0]], [[0, 1]])
    for maps, masks, keys in (
        ([[0.0, 1.0], [0.0, math.nan]], [[0, 1], [0, 1]], None),
        ([[0.0, 1.0]], [[0, 1]], ["a", "b"]),
    ):
        with pytest.raises(ValueError, match="metric pointing"):
            found.update(maps, masks, keys=keys)
    assert found.samples.tolist() == [1]
    assert found.keys == (None,)


# Seeds


def test_seeds_are_means_of_means() -> None:
    rows = {0: [1.0, 2.0, 3.0], 1: np.array([5.0]), 2: [math.nan, 0.0, 1.0], 3: [math.nan]}
    found = mean_over_seeds(rows)
    means = [2.0, 5.0, 0.5]
    mean = sum(means) / 3
    error = math.sqrt(sum((m - mean) ** 2 for m in means) / 2) / math.sqrt(3)
    assert (found.mean, found.standard_error) == (pytest.approx(mean), pytest.approx(error))
    assert (found.count, found.undefined) == (3, 1)
    assert {seed: value for seed, value in found.seed_means.items() if seed != 3} == {0: 2, 1: 5, 2: 0.5}
    assert math.isnan(found.seed_means[3])
    assert found.by_seed[2] == Aggregate(0.5, 0.5, 2, 1)


def test_one_seed_has_no_standard_error_and_none_no_mean() -> None:
    one = mean_over_seeds({"a": [1.0, 2.0]})
    assert (one.mean, one.count) == (1.5, 1)
    assert math.isnan(one.standard_error)
    none = mean_over_seeds({})
    assert math.isnan(none.mean)
    assert (none.count, none.seed_means) == (0, {})


def test_metrics_need_no_torch() -> None:
    code = "import sys, m2ib.metrics; print(sorted({'torch', 'scipy', 'torchmetrics'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
