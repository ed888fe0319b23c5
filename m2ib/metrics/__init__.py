"""How good is a map? Scores of single samples, from maps and cosines that were computed before.

>>> from m2ib.metrics import metric
>>> drop = metric("drop")
>>> drop.update([0.31, 0.28], [0.30, 0.29], keys=["cat.jpg", "dog.jpg"])
>>> drop.compute().count
2

Every metric has ``update``, ``compute``, ``reset`` and ``merge``; its scores stand in ``samples``. Numpy is all it
takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from m2ib.errors import SettingError, did_you_mean
from m2ib.metrics.base import Aggregate, Metric, SeedAggregate, aggregate, mean_over_seeds
from m2ib.metrics.confidence import ConfidenceDrop, ConfidenceIncrease, confidence_drop, confidence_increase
from m2ib.metrics.localisation import (
    LocalisationIoU,
    MassInRegion,
    PointingGame,
    above_percentile,
    auc,
    iou,
    mass_over_area,
    mass_share,
    pointing,
)
from m2ib.metrics.mass import MeanMass, mean_mass, scaled
from m2ib.metrics.perturbation import DeletionAUC, InsertionAUC, area
from m2ib.metrics.ranks import (
    RankCorrelation,
    above_median,
    order,
    placements,
    rank_correlation,
    ranks,
    top,
)
from m2ib.metrics.roar import RoarPlus, roar_plus

METRICS: Mapping[str, type[Metric]] = {
    kind.name: kind
    for kind in (
        ConfidenceDrop,
        ConfidenceIncrease,
        DeletionAUC,
        InsertionAUC,
        LocalisationIoU,
        PointingGame,
        MassInRegion,
        MeanMass,
        RankCorrelation,
        RoarPlus,
    )
}
"""By short name."""


def metric(name: str, **settings: Any) -> Metric:
    """A new metric by its short name, as ``metric("iou", percentile=90)``.

    Raises :class:`SettingError` for an unknown name or setting.
    """
    if name not in METRICS:
        raise SettingError(
            f"metric: {name!r} is unknown{did_you_mean(name, METRICS)} There are {', '.join(METRICS)}"
        )
    kind = METRICS[name]
    for given in settings:
        if given not in kind.settings_names:
            there = ", ".join(kind.settings_names) or "none"
            hint = did_you_mean(given, kind.settings_names)
            raise SettingError(f"metric {name}: the setting {given!r} is unknown{hint} Its settings: {there}")
    return kind(**settings)


__all__ = [
    "METRICS",
    "Aggregate",
    "ConfidenceDrop",
    "ConfidenceIncrease",
    "DeletionAUC",
    "InsertionAUC",
    "LocalisationIoU",
    "MassInRegion",
    "MeanMass",
    "Metric",
    "PointingGame",
    "RankCorrelation",
    "RoarPlus",
    "SeedAggregate",
    "above_median",
    "above_percentile",
    "aggregate",
    "area",
    "auc",
    "confidence_drop",
    "confidence_increase",
    "iou",
    "mass_over_area",
    "mass_share",
    "mean_mass",
    "mean_over_seeds",
    "metric",
    "order",
    "placements",
    "pointing",
    "rank_correlation",
    "ranks",
    "roar_plus",
    "scaled",
    "top",
]
