"""What a metric cannot take is said in one line: which metric, what, the value, the way out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import m2ib
from m2ib.metrics import ConfidenceDrop, DeletionAUC, LocalisationIoU, aggregate, mean_over_seeds, metric

two = np.zeros((2, 3))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (
            "drop",
            ([0.1, 0.2], [0.1]),
            "metric drop: got original of shape (2,) and degraded of shape (1,); "
            "give one number a sample in each, all (N,) or all single numbers",
        ),
        (
            "increase",
            (two, two),
            "metric increase: got original of shape (2, 3) and degraded of shape (2, 3); "
            "give one number a sample in each, all (N,) or all single numbers",
        ),
        ("drop", ([0.1, math.nan], [0, 0]), "metric drop: original[1] is nan; give finite numbers"),
        ("drop", (0.1, math.inf), "metric drop: degraded is inf; give finite numbers"),
        (
            "drop",
            ([0.1, 0.2], [0.1, 27.5]),
            "metric drop: degraded[1] is 27.5, which is no cosine; "
            "give cosines in [-1, 1], without a logit scale",
        ),
        (
            "drop",
            (["a"], ["b"]),
            "metric drop: original cannot be read as numbers (could not convert string to float: 'a'); "
            "give an array, or a tensor on the CPU without gradient",
        ),
        (
            "deletion",
            (two, [0, 1]),
            "metric deletion: curves of shape (2, 3) over 2 fractions; give (N, 2)",
        ),
        ("deletion", (two, 1.0), "metric deletion: fractions of shape (); give (K,), K >= 2"),
        (
            "insertion",
            (two, [0, 50, 100]),
            "metric insertion: fractions from 0 to 100 do not rise from 0 to 1; "
            "give the share of cells that were changed at each point of the curves",
        ),
        (
            "insertion",
            (two, [0, 0, 1]),
            "metric insertion: fractions from 0 to 1 do not rise from 0 to 1; "
            "give the share of cells that were changed at each point of the curves",
        ),
        (
            "insertion",
            ([[0, 1, math.nan]], [0, 0.5, 1]),
            "metric insertion: curves[0, 2] is nan; give finite numbers",
        ),
        ("iou", (two, two[:1]), "metric iou: 2 maps and 1 masks; give as many of both"),
        (
            "pointing",
            ([two[0], two], [two[0], two.T]),
            "metric pointing: masks[1] of shape (3, 2) is not on the cells of maps[1], (2, 3); "
            "bring both to one shape",
        ),
        (
            "iou",
            ([two], [two + 0.5]),
            "metric iou: masks[0] holds 0.5; a mask is bool, or 0 and 1",
        ),
        (
            "mass-in-region",
            ([two, two * math.nan], [two, two]),
            "metric mass-in-region: maps[1][0, 0] is nan; give finite numbers",
        ),
        (
            "mass",
            (two[0],),
            "metric mass: maps[0] is a single number; give a list of maps: [map] for one",
        ),
        ("mass", ("heat",), "metric mass: maps is 'heat'; give a list of maps or an array (N, ...)"),
        ("mass", (3.5,), "metric mass: maps is 3.5; give a list of maps or an array (N, ...)"),
        (
            "mass",
            (np.array(1.0),),
            "metric mass: maps is no list of maps (iteration over a 0-d array); give a list or an array (N, ...)",
        ),
        ("mass", ([[]],), "metric mass: maps[0] of shape (0,) is empty; leave the sample out"),
        (
            "rank-correlation",
            ([two], [two[0]]),
            "metric rank-correlation: second[0] of shape (3,) is not on the cells of first[0], (2, 3); "
            "bring both to one shape",
        ),
        (
            "roar",
            ([1.0, 0.0], [1.0, 1.0]),
            "metric roar: original_loss[1] is 0; the score is relative to it, so give a loss > 0",
        ),
    ],
)
def test_inputs_that_cannot_be_scored(name: str, arguments: tuple[Any, ...], message: str) -> None:
    found = metric(name)
    with pytest.raises(m2ib.InputError) as error:
        found.update(*arguments)
    assert str(error.value) == message
    assert len(found.samples) == 0


def test_tensors_are_taken_unless_they_carry_a_gradient() -> None:
    found = metric("mass")
    found.update(torch.tensor([[0.0, 1.0], [1.0, 1.0]]))
    assert found.samples.tolist() == [0.5, 1]
    with pytest.raises(m2ib.InputError, match=r"maps\[0\] cannot be read as numbers .* without gradient$"):
        found.update([torch.ones(2, requires_grad=True)])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["a"], "metric drop: 1 keys for 2 samples; give one id a sample"),
        ("ab", "metric drop: keys='ab' is no list; give a list of 2 ids"),
        (7, "metric drop: keys=7 is no list; give a list of 2 ids"),
        (
            ["a", ["b"]],
            "metric drop: the key ['b'] is not hashable; give strings, numbers or tuples of them",
        ),
    ],
)
def test_keys_that_are_none(keys: Any, message: str) -> None:
    with pytest.raises(m2ib.InputError) as error:
        ConfidenceDrop().update([0.1, 0.2], [0.1, 0.2], keys=keys)
    assert str(error.value) == message


def test_a_key_that_cannot_be_stored() -> None:
    found = ConfidenceDrop()
    found.update(0.1, 0.1, keys=[frozenset()])
    with pytest.raises(m2ib.InputError) as error:
        found.state_dict()
    assert str(error.value) == (
        "metric drop: the key frozenset() cannot be stored as JSON; use strings, numbers or tuples of them"
    )


@pytest.mark.parametrize("percentile", [100, -1, "75", True, math.nan])
def test_percentiles_out_of_range(percentile: Any) -> None:
    with pytest.raises(m2ib.SettingError) as error:
        LocalisationIoU(percentile)
    assert str(error.value) == (
        f"metric iou: percentile={percentile!r} is out of range; give 0 <= percentile < 100"
    )


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        (
            "dorp",
            {},
            "metric: 'dorp' is unknown; did you mean 'drop'? There are drop, increase, deletion, insertion, iou, "
            "pointing, mass-in-region, mass, rank-correlation, roar",
        ),
        (
            "xyzzy",
            {},
            "metric: 'xyzzy' is unknown. There are drop, increase, deletion, insertion, iou, "
            "pointing, mass-in-region, mass, rank-correlation, roar",
        ),
        (
            "iou",
            {"percentil": 50},
            "metric iou: the setting 'percentil' is unknown; did you mean 'percentile'? Its settings: percentile",
        ),
        ("drop", {"percentile": 50}, "metric drop: the setting 'percentile' is unknown. Its settings: none"),
    ],
)
def test_unknown_metrics_and_settings(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(m2ib.SettingError) as error:
        metric(name, **settings)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (DeletionAUC(), "metric iou: 'deletion' cannot be merged into it; merge metrics of one kind"),
        (
            LocalisationIoU(90),
            "metric iou: the setting 'percentile' is 75.0 here and 90.0 there; merge like with like",
        ),
        ([0.5], "metric iou: a list cannot be merged into it; give a metric"),
    ],
)
def test_metrics_that_do_not_merge(other: Any, message: str) -> None:
    with pytest.raises(m2ib.SettingError) as error:
        LocalisationIoU().merge(other)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (
            {"metric": "drop"},
            m2ib.SettingError,
            "metric iou: the state is of 'drop'; load it with metric('drop')",
        ),
        (
            {"settings": {"percentile": 90.0}},
            m2ib.SettingError,
            "metric iou: the setting 'percentile' is 75.0 here and 90.0 there; make it with those of the state",
        ),
        (
            {"scores": None},
            m2ib.InputError,
            "metric iou: the state has no 'scores'; give what state_dict() returned",
        ),
        ({"keys": []}, m2ib.InputError, "metric iou: 0 keys for 1 samples; give one id a sample"),
        ({"scores": [math.inf]}, m2ib.InputError, "metric iou: scores[0] is inf; give finite numbers"),
    ],
)
def test_states_that_do_not_fit(change: dict[str, Any], kind: type[Exception], message: str) -> None:
    found = LocalisationIoU()
    found.update([[0.0, 1.0]], [[0, 1]])
    with pytest.raises(kind) as error:
        found.load_state_dict(found.state_dict() | change)
    assert str(error.value) == message
    assert found.samples.tolist() == [1]


def test_scores_that_are_no_list() -> None:
    with pytest.raises(m2ib.InputError) as error:
        aggregate(two)
    assert str(error.value) == "aggregate: scores of shape (2, 3); give one score a sample, (N,)"
    with pytest.raises(m2ib.InputError) as error:
        mean_over_seeds({0: [math.inf]})
    assert str(error.value) == "aggregate: scores[0] is inf; give finite numbers"
