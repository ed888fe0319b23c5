"""What all metrics are: the scores of single samples, kept apart from their mean, so that shards merge."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from m2ib.errors import InputError, SettingError
from m2ib.metrics.checks import floats

Better = Literal["higher", "lower"]
Unit = Literal["%", "cosine", "share", ""]


@dataclass(frozen=True)
class Aggregate:
    """Of the scores of several samples.

    mean            over the samples that have a score; NaN without any
    standard_error  of the mean: the standard deviation (ddof 1) over sqrt(count); NaN for fewer than two
    count           samples that have a score
    undefined       samples that have none: their score is NaN, and counts for nothing else
    """

    mean: float
    standard_error: float
    count: int
    undefined: int = 0


@dataclass(frozen=True)
class SeedAggregate(Aggregate):
    """Of the means of several seeds: ``count`` and ``undefined`` are numbers of seeds.

    by_seed  over the samples of each seed
    """

    by_seed: Mapping[Hashable, Aggregate] = field(default_factory=dict)

    @property
    def seed_means(self) -> dict[Hashable, float]:
        """seed -> mean of its samples; NaN for a seed without a score."""
        return {seed: found.mean for seed, found in self.by_seed.items()}


def aggregate(scores: ArrayLike) -> Aggregate:
    """Of the scores (N,), where NaN stands for none. The order of the samples makes no difference, to the last bit."""
    values = floats("aggregate", "scores", scores, nan=True)
    if values.ndim != 1:
        raise InputError(f"aggregate: scores of shape {values.shape}; give one score a sample, (N,)")
    known = values[~np.isnan(values)].tolist()
    count = len(known)
    mean = math.fsum(known) / count if count else math.nan
    error = math.nan
    if count > 1:
        variance = math.fsum((value - mean) ** 2 for value in known) / (count - 1)
        error = math.sqrt(variance / count)
    return Aggregate(mean, error, count, len(values) - count)


def mean_over_seeds(rows: Mapping[Hashable, ArrayLike]) -> SeedAggregate:
    """Mean and standard error over seeds of the mean over each seed's samples (Wang et al. 2023, Table 1).

    rows  seed -> scores (N,) of its samples, e.g. :attr:`Metric.samples`; N may differ. NaN stands for no score

    A seed without a score counts as ``undefined``; the standard error is NaN for one seed alone.
    """
    by_seed = {seed: aggregate(scores) for seed, scores in rows.items()}
    over = aggregate([found.mean for found in by_seed.values()])
    return SeedAggregate(over.mean, over.standard_error, over.count, over.undefined, by_seed)


class Metric(ABC):
    """Collects the scores of samples, in the order of ``update`` and ``merge``.

    name    short name, the key in :data:`m2ib.metrics.METRICS`
    title   for tables
    summary what it tells of a map, in one sentence
    unit    of the scores: per cent, cosine, a share in [0, 1], or none
    better  the direction in which a map is better

    A subclass defines these and ``update``; ``settings_names`` are those of its constructor's arguments, kept as
    attributes.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str] = ""
    unit: ClassVar[Unit]
    better: ClassVar[Better]
    settings_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        self._scores: list[float] = []
        self._keys: list[Hashable | None] = []

    @abstractmethod
    def update(self, *args: Any, **kwargs: Any) -> None:
        """Score more samples. Raises :class:`InputError`, and then nothing has changed."""

    @property
    def settings(self) -> dict[str, Any]:
        """What the metric was made with, by name; only metrics with the same settings merge."""
        return {name: getattr(self, name) for name in self.settings_names}

    @property
    def samples(self) -> np.ndarray:
        """(n,) float64: a score for each sample; NaN where it has none."""
        return np.array(self._scores, dtype=np.float64)

    @property
    def keys(self) -> tuple[Hashable | None, ...]:
        """(n,) ids of the samples, None for one that was given none."""
        return tuple(self._keys)

    def compute(self) -> Aggregate:
        """Mean and standard error over the samples."""
        return aggregate(self._scores)

    def reset(self) -> None:
        """Forget all samples; the settings stay."""
        self._scores, self._keys = [], []

    def merge(self, other: Self) -> None:
        """Take in the samples of another one, behind one's own.

        Raises :class:`SettingError` for another metric or other settings.
        """
        if not isinstance(other, Metric):
            raise SettingError(
                f"{self._who}: a {type(other).__name__} cannot be merged into it; give a metric"
            )
        if type(other) is not type(self):
            raise SettingError(
                f"{self._who}: {other.name!r} cannot be merged into it; merge metrics of one kind"
            )
        if other.settings != self.settings:
            raise SettingError(f"{self._who}: {_differ(self.settings, other.settings)}; merge like with like")
        self._scores += other._scores
        self._keys += other._keys

    def state_dict(self) -> dict[str, Any]:
        """All there is to it, JSON-able: a score of None stands for NaN, a list for a key that is a tuple.

        Raises :class:`InputError` for a key that JSON has no place for.
        """
        return {
            "metric": self.name,
            "settings": self.settings,
            "scores": [None if math.isnan(score) else score for score in self._scores],
            "keys": [_stored(self._who, key) for key in self._keys],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace the samples with those of a :meth:`state_dict`.

        Raises :class:`SettingError` for one of another metric or of other settings, :class:`InputError` for what is
        no such state; then nothing has changed.
        """
        parts = {"metric": str, "settings": Mapping, "scores": list, "keys": list}
        for part, kind in parts.items():
            if not isinstance(state, Mapping) or not isinstance(state.get(part), kind):
                raise InputError(f"{self._who}: the state has no {part!r}; give what state_dict() returned")
        if state["metric"] != self.name:
            raise SettingError(
                f"{self._who}: the state is of {state['metric']!r}; load it with metric({state['metric']!r})"
            )
        if state["settings"] != self.settings:
            raise SettingError(
                f"{self._who}: {_differ(self.settings, state['settings'])}; make it with those of the state"
            )
        given = [math.nan if score is None else score for score in state["scores"]]
        scores = floats(self._who, "scores", given, nan=True)
        keys = self._checked([_loaded(key) for key in state["keys"]], len(scores))
        self._scores, self._keys = scores.tolist(), keys

    @property
    def _who(self) -> str:
        return f"metric {self.name}"

    def _add(self, scores: np.ndarray | Iterable[float], keys: Iterable[Hashable] | None) -> None:
        """Scores of N samples and their ids."""
        found = [float(score) for score in scores]
        ids = self._checked(keys, len(found))
        self._scores += found
        self._keys += ids

    def _checked(self, keys: Iterable[Hashable] | None, count: int) -> list[Hashable | None]:
        if keys is None:
            return [None] * count
        if isinstance(keys, (str, bytes)) or not isinstance(keys, Iterable):
            raise InputError(f"{self._who}: keys={keys!r:.60} is no list; give a list of {count} ids")
        found = [_plain(key) for key in keys]
        if len(found) != count:
            raise InputError(f"{self._who}: {len(found)} keys for {count} samples; give one id a sample")
        for key in found:
            try:
                hash(key)
            except TypeError:
                raise InputError(
                    f"{self._who}: the key {key!r:.60} is not hashable; give strings, numbers or tuples of them"
                ) from None
        return found


def _differ(own: Mapping[str, Any], there: Mapping[str, Any]) -> str:
    """The first setting that differs, in words."""
    name = next(name for name in {**own, **there} if own.get(name) != there.get(name))
    return f"the setting {name!r} is {own.get(name)!r} here and {there.get(name)!r} there"


def _plain(key: Any) -> Any:
    """Without numpy's own kinds of numbers."""
    if isinstance(key, tuple):
        return tuple(_plain(part) for part in key)
    return key.item() if isinstance(key, np.generic) else key


def _stored(who: str, key: Hashable | None) -> Any:
    if isinstance(key, tuple):
        return [_stored(who, part) for part in key]
    if key is None or isinstance(key, (str, int, float)):
        return key
    raise InputError(
        f"{who}: the key {key!r:.60} cannot be stored as JSON; use strings, numbers or tuples of them"
    )


def _loaded(key: Any) -> Any:
    return tuple(_loaded(part) for part in key) if isinstance(key, list) else key
