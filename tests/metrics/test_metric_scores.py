"""Each metric against a loop written from its definition in the paper, and against other libraries' versions."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2ib.metrics import (
    METRICS,
    ConfidenceDrop,
    ConfidenceIncrease,
    DeletionAUC,
    InsertionAUC,
    LocalisationIoU,
    MassInRegion,
    MeanMass,
    PointingGame,
    RankCorrelation,
    RoarPlus,
    auc,
    metric,
    placements,
    ranks,
)

cosines = st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=1, max_size=20)


def places(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    return np.ndindex(*shape)


def maps_and_masks(seed: int, levels: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Of different shapes; with few levels there are ties."""
    random = np.random.default_rng(seed)
    shapes = [(7,), (4, 5), (5, 4), (2, 3, 4), (1,)]
    maps = [random.integers(-1, levels, shape).astype(np.float64) for shape in shapes]
    masks = [random.random(shape) < 0.4 for shape in shapes]
    for mask in masks:
        mask.flat[0] = True
    return maps, masks


# Confidence


@given(cosines)
def test_confidence_drop_and_increase_are_those_of_a_loop(pairs: list[tuple[float, float]]) -> None:
    drop, increase = ConfidenceDrop(), ConfidenceIncrease()
    o, s = (list(side) for side in zip(*pairs, strict=True))
    drop.update(o, s)
    increase.update(o, s)
    fallen = risen = 0.0
    for before, after in pairs:
        fallen += max(0, before - after)
        risen += 1 if before < after else 0
    assert drop.compute().mean == pytest.approx(100 * fallen / len(pairs), abs=1e-12)
    assert increase.compute().mean == pytest.approx(100 * risen / len(pairs), abs=1e-12)


def test_a_map_of_ones_has_no_drop_and_no_increase_but_all_the_mass() -> None:
    o = np.linspace(-1, 1, 9)
    drop, increase, mass = ConfidenceDrop(), ConfidenceIncrease(), MeanMass()
    drop.update(o, o)
    increase.update(o, o)
    mass.update(np.ones((9, 4, 4)))
    assert (drop.compute().mean, increase.compute().mean, mass.compute().mean) == (0, 0, 1)


def test_confidence_is_absolute_and_in_per_cent() -> None:
    drop = ConfidenceDrop()
    drop.update(0.30, 0.27)
    drop.update(0.60, 0.57)
    assert drop.samples == pytest.approx([3, 3])
    increase = ConfidenceIncrease()
    increase.update([0.3, 0.3, 0.3], [0.2, 0.3, 0.4])
    assert increase.samples.tolist() == [0, 0, 100]


# Deletion and insertion


@pytest.mark.parametrize("kind", [DeletionAUC, InsertionAUC])
def test_areas_are_those_of_a_loop(kind: type[DeletionAUC | InsertionAUC]) -> None:
    random = np.random.default_rng(3)
    at = np.r_[0, np.sort(random.random(6)), 1]
    curves = random.uniform(-1, 1, (5, 8))
    found = kind()
    found.update(curves, at)
    found.update(curves[0], at)
    for number in (0, 1, 2, 3, 4, 5):
        curve = curves[number % 5]
        area = sum((at[k + 1] - at[k]) * (curve[k] + curve[k + 1]) / 2 for k in range(7))
        assert found.samples[number] == pytest.approx(area, abs=1e-12)


def test_areas_as_torchmetrics_has_them() -> None:
    compute = pytest.importorskip("torchmetrics.utilities.compute")
    torch = pytest.importorskip("torch")
    at, curve = np.linspace(0, 1, 11), np.random.default_rng(0).random(11)
    found = DeletionAUC()
    found.update(curve, at)
    assert found.samples[0] == pytest.approx(compute.auc(torch.tensor(at), torch.tensor(curve)).item())


def test_an_area_is_a_mean_cosine_and_a_better_order_has_the_better_area() -> None:
    at = [0.0, 0.5, 1.0]
    flat, early, late = [0.3, 0.3, 0.3], [0.4, 0.0, 0.0], [0.4, 0.4, 0.0]
    deletion, insertion = DeletionAUC(), InsertionAUC()
    deletion.update([flat, early, late], at)
    insertion.update([flat[::-1], late[::-1], early[::-1]], at)
    assert deletion.samples == pytest.approx([0.3, 0.1, 0.3])
    assert deletion.better == "lower"
    assert deletion.samples[1] < deletion.samples[2]
    assert insertion.better == "higher"
    assert insertion.samples[1] > insertion.samples[2]


# Localisation


def naive_percentile(values: np.ndarray, q: float) -> float:
    """Linear between the sorted values."""
    ordered = sorted(values.ravel().tolist())
    at = q / 100 * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return float(ordered[low] + (ordered[high] - ordered[low]) * (at - low))


@pytest.mark.parametrize("levels", [3, 1000])
@pytest.mark.parametrize("percentile", [75, 50])
def test_localisation_is_that_of_a_loop(levels: int, percentile: float) -> None:
    for seed in range(10):
        maps, masks = maps_and_masks(seed, levels)
        found = LocalisationIoU(percentile)
        found.update(maps, masks)
        for number, (values, mask) in enumerate(zip(maps, masks, strict=True)):
            threshold = naive_percentile(values, percentile)
            both = either = 0
            for at in places(values.shape):
                chosen = values[at] > threshold
                both += bool(chosen and mask[at])
                either += bool(chosen or mask[at])
            assert found.samples[number] == both / either


def test_localisation_as_torchmetrics_has_it() -> None:
    classification = pytest.importorskip("torchmetrics.functional.classification")
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(5)
    values, mask = random.random((14, 14)), random.random((14, 14)) < 0.2
    found = LocalisationIoU()
    found.update([values], [mask])
    chosen = torch.tensor(values > np.percentile(values, 75))
    expected = classification.binary_jaccard_index(chosen.int(), torch.tensor(mask).int()).item()
    assert found.samples[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("levels", [3, 1000])
def test_pointing_and_mass_are_those_of_a_loop(levels: int) -> None:
    for seed in range(10):
        maps, masks = maps_and_masks(seed, levels)
        pointing, region, mass = PointingGame(), MassInRegion(), MeanMass()
        pointing.update(maps, masks)
        region.update(maps, masks)
        mass.update(maps)
        for number, (values, mask) in enumerate(zip(maps, masks, strict=True)):
            at = list(places(values.shape))
            highest = [p for p in at if values[p] == values.max()]
            assert pointing.samples[number] == sum(bool(mask[p]) for p in highest) / len(highest)
            total = sum(max(0.0, values[p]) for p in at)
            inside = sum(max(0.0, values[p]) for p in at if mask[p])
            share = inside / total if total else mask.mean()
            assert region.samples[number] == pytest.approx(share, abs=1e-12)
            low, high = values.min(), values.max()
            if low < high:
                mean = sum((values[p] - low) / (high - low) for p in at) / len(at)
                assert mass.samples[number] == pytest.approx(mean, abs=1e-12)


def test_a_map_like_the_region_is_perfect_and_its_opposite_has_nothing() -> None:
    mask = np.zeros((8, 8), bool)
    mask[2:6, 2:6] = True  # a quarter
    for name in ("iou", "pointing", "mass-in-region"):
        found = metric(name)
        found.update([mask, ~mask], [mask, mask.astype(int)])
        assert found.better == "higher"
        assert found.samples.tolist() == [1, 0]


def test_a_uniform_map_has_chance_at_pointing_and_mass_and_no_iou() -> None:
    mask = np.arange(20).reshape(4, 5) < 5
    scores = {}
    for name in ("iou", "pointing", "mass-in-region"):
        found = metric(name)
        found.update([np.ones((4, 5))], [mask])
        scores[name] = found.samples[0]
    assert scores == {"iou": 0, "pointing": 0.25, "mass-in-region": 0.25}


def test_no_score_where_there_is_no_true_region() -> None:
    maps, masks = np.random.default_rng(0).random((2, 6)), np.zeros((2, 6), bool)
    masks[1, 2] = True
    for name in ("iou", "pointing", "mass-in-region"):
        found = metric(name)
        found.update(maps, masks)
        assert math.isnan(found.samples[0])
        assert (found.compute().count, found.compute().undefined) == (1, 1)


def test_auc_as_sklearn_has_it() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(1)
    for levels in (3, 1000):
        values, mask = random.integers(0, levels, 60), random.random(60) < 0.3
        assert auc(values, mask) == pytest.approx(sklearn.roc_auc_score(mask, values), abs=1e-12)
        assert placements(values[mask], values[~mask]).mean() == pytest.approx(auc(values, mask), abs=1e-12)


def test_a_placement_is_the_share_below_and_half_of_the_equal_ones() -> None:
    assert placements([2.0, 0.0, 5.0], [3.0, 2.0, 1.0, 2.0]).tolist() == [0.5, 0, 1]
    assert np.isnan(placements([2.0, 0.0], [])).all()


# Ranks


def naive_spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's correlation of the ranks, where a rank counts what is below, and equal ones half."""
    sides = []
    for values in (first.ravel().tolist(), second.ravel().tolist()):
        sides.append([sum((v < w) + (v == w) / 2 for v in values) for w in values])
    means = [sum(side) / len(side) for side in sides]
    over = sum((a - means[0]) * (b - means[1]) for a, b in zip(*sides, strict=True))
    under = [sum((a - mean) ** 2 for a in side) for side, mean in zip(sides, means, strict=True)]
    return over / math.sqrt(under[0] * under[1]) if all(under) else math.nan


@pytest.mark.parametrize("levels", [3, 1000])
def test_rank_correlation_is_that_of_a_loop_and_of_scipy(levels: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(levels)
    first, second = random.integers(0, levels, (2, 20, 4, 6)).astype(np.float64)
    found = RankCorrelation()
    found.update(first, second)
    for number in range(20):
        one, other = first[number], second[number]
        assert found.samples[number] == pytest.approx(naive_spearman(one, other), abs=1e-12)
        assert found.samples[number] == pytest.approx(stats.spearmanr(one.ravel(), other.ravel())[0])
        assert ranks(one.ravel()).tolist() == stats.rankdata(one.ravel()).tolist()


def test_rank_correlation_as_torchmetrics_has_it() -> None:
    regression = pytest.importorskip("torchmetrics.functional.regression")
    torch = pytest.importorskip("torch")
    first, second = np.random.default_rng(2).random((2, 30))
    found = RankCorrelation()
    found.update([first], [second])
    expected = regression.spearman_corrcoef(torch.tensor(first), torch.tensor(second)).item()
    assert found.samples[0] == pytest.approx(expected, abs=1e-6)


def test_rank_correlation_of_known_pairs() -> None:
    rising = np.arange(12.0).reshape(3, 4)
    found = RankCorrelation()
    found.update([rising, rising, rising, np.ones(1)], [np.exp(rising), -rising, np.ones((3, 4)), np.ones(1)])
    assert found.samples[:2].tolist() == [1, -1]
    assert np.isnan(found.samples[2:]).all()
    assert (found.compute().count, found.compute().undefined) == (2, 2)


# ROAR+


def test_roar_is_relative_to_the_original_loss() -> None:
    found = RoarPlus()
    found.update([2.0, 0.5, 1.0], [3.0, 0.5, 0.9])
    expected = [100 * (c - o) / o for o, c in ((2.0, 3.0), (0.5, 0.5), (1.0, 0.9))]
    assert found.samples == pytest.approx(expected)
    assert found.samples == pytest.approx([50, 0, -10])


# All


def test_names_units_and_directions() -> None:
    assert {name: (kind.unit, kind.better) for name, kind in METRICS.items()} == {
        "drop": ("%", "lower"),
        "increase": ("%", "higher"),
        "deletion": ("cosine", "lower"),
        "insertion": ("cosine", "higher"),
        "iou": ("share", "higher"),
        "pointing": ("share", "higher"),
        "mass-in-region": ("share", "higher"),
        "mass": ("share", "lower"),
        "rank-correlation": ("", "higher"),
        "roar": ("%", "higher"),
    }
    for name, kind in METRICS.items():
        assert type(metric(name)) is kind
        assert kind.title
        assert kind.__doc__
