"""What is searched: a grid of layer, beta and variance for one side, checked before a model is loaded."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from numbers import Integral, Real
from typing import Any, NamedTuple

from m2ib.contract.encoder import Encoder
from m2ib.contract.model import Model
from m2ib.data.pairs import Pairs
from m2ib.errors import SettingError, did_you_mean
from m2ib.evaluation.measures import MEASURES
from m2ib.evaluation.study import Study
from m2ib.evaluation.study import check as check_study
from m2ib.evaluation.study import controls as own_controls
from m2ib.registry.discovery import Registered, default_registry
from m2ib.registry.plan import plan_of
from m2ib.registry.specs import AdapterSpec

AXES = ("layer", "beta", "variance")
METRICS = ("drop", "increase", "deletion", "insertion", "iou", "pointing", "mass-in-region", "roar")
"""What a setting can be chosen by."""
PAPER: Mapping[str, tuple[float, ...]] = {"beta": (1.0, 0.1, 0.01), "variance": (1.0, 0.1, 0.01)}
"""The grid of Wang et al. 2023; its layers are 7, 8 and 9 of 12, see :func:`layers_around`."""
SAMPLERS = ("grid", "tpe")
_LAYERS = 3
_LEAST = {"layer": -1, "beta": 0, "variance": 0}


class Point(NamedTuple):
    """One setting that is tried."""

    layer: int
    beta: float
    variance: float


@dataclass(frozen=True)
class Search:
    """Everything that decides what is found but the model and the data.

    modality    of the side whose maps are tuned
    metric      one of :data:`METRICS`; the best setting has the highest or the lowest mean, whichever is better
    grid        values of "layer", "beta" and "variance"; what is left out is :data:`PAPER`'s, and three layers up to
                the adapter's default
    sampler     "grid" tries every point; "tpe" so many of them as ``trials`` says, those that look promising
                (Bergstra et al. 2011)
    trials      of "tpe", the adapter's default among them
    seeds       of the noise; a score is the mean over them
    pairs       how many pairs settings are chosen on: the first usable ones; None: half of them, 100 at most
    held_out    how many pairs the best setting is compared with the default on: those that follow; None: the other half, 100 at most
    method      a method with the settings layer, beta and variance
    settings    its others, the same in all trials; each a value or a dict by modality
    batch_size, curve_steps, roar
                as in :class:`m2ib.evaluation.study.Study`
    """

    modality: str
    metric: str
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    sampler: str = "grid"
    trials: int | None = None
    seeds: tuple[int, ...] = (0,)
    pairs: int | None = None
    held_out: int | None = None
    method: str = "m2ib:m2ib"
    settings: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = 8
    curve_steps: int = 20
    roar: Mapping[str, Any] = field(default_factory=dict)

    def given(self, point: Point) -> dict[str, Any]:
        """The method's settings at a point."""
        return {**self.settings, **{name: {self.modality: value} for name, value in point._asdict().items()}}

    def study(self, point: Point | None = None, *, controls: bool = False) -> Study:
        """The evaluation of one point, alone or beside what knows nothing."""
        given = dict(self.settings) if point is None else self.given(point)
        return Study(
            methods=(self.method, *(own_controls() if controls else ())),
            metrics=(self.metric,),
            seeds=self.seeds,
            settings={self.method: given},
            sides=(self.modality,),
            batch_size=self.batch_size,
            curve_steps=self.curve_steps,
            controls=False,
            roar=self.roar,
        )


def check(search: Search, pairs: Pairs, adapter: Registered[AdapterSpec] | None = None) -> Search:
    """The search with its grid filled in; layers stay out where they are not given.

    What can be refused before a model is loaded is refused here. Raises :class:`SettingError` and
    :class:`AdapterError`.
    """
    if search.metric not in METRICS:
        why = f"is unknown{did_you_mean(search.metric, METRICS)} There"
        if search.metric in MEASURES:
            why = "does not tell which of two settings is better; there"
        raise SettingError(f"tune: metric {search.metric!r} {why} is {', '.join(METRICS)}")
    methods = default_registry().methods
    found = methods.find(search.method)
    search = replace(search, method=methods.called(found))
    lacks = [name for name in AXES if name not in found.spec.setting_names]
    if lacks:
        raise SettingError(
            f"tune: the method {search.method!r} has no setting {lacks[0]!r}; "
            f"the search is over {', '.join(AXES)}, as the method 'm2ib' has them"
        )
    if not isinstance(search.settings, Mapping):
        raise SettingError(
            f"tune: settings are a dict by name, as in {{'steps': 20}}, not {search.settings!r:.60}"
        )
    for name in search.settings:
        if name in AXES:
            raise SettingError(
                f"tune: {name!r} is searched, so it is no fixed setting; for one value give grid.{name}=[...]"
            )
    for name in ("pairs", "held_out"):
        if getattr(search, name) is not None:
            _least_one(name, getattr(search, name))
    if search.sampler not in SAMPLERS:
        raise SettingError(f"tune: sampler {search.sampler!r} is unknown; it is {' or '.join(SAMPLERS)}")
    if search.sampler == "tpe":
        if search.trials is None:
            raise SettingError("tune: the sampler 'tpe' needs trials: how many points it may try")
        _least_one("trials", search.trials)
    elif search.trials is not None:
        raise SettingError(
            f"tune: trials {search.trials!r} has no effect, since the sampler 'grid' tries every point; "
            "give sampler=tpe, or a smaller grid"
        )
    try:
        study = check_study(search.study(), pairs, adapter).study
    except SettingError as error:
        raise SettingError(re.sub("^evaluate:", "tune:", str(error))) from error
    return replace(search, grid=_grid(search.grid), seeds=study.seeds)


def _least_one(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < 1:
        raise SettingError(f"tune: {name} {value!r} is out of range; it must be >= 1")


def _grid(given: Mapping[str, Sequence[Any]]) -> dict[str, tuple[Any, ...]]:
    """Each value once, in the order given. Raises :class:`SettingError`."""
    if not isinstance(given, Mapping):
        raise SettingError(f"tune: grid is a dict by name, as in {{'beta': [1, 0.1]}}, not {given!r:.60}")
    for name in given:
        if name not in AXES:
            raise SettingError(
                f"tune: grid {name!r} is unknown{did_you_mean(name, AXES)} The search is over {', '.join(AXES)}"
            )
    found: dict[str, tuple[Any, ...]] = {}
    wanted = {**PAPER, **given}
    for name in (name for name in AXES if name in wanted):
        values = wanted[name]
        if isinstance(values, (str, Mapping)) or not isinstance(values, Sequence) or not values:
            raise SettingError(
                f"tune: grid {name!r} is a list of values, as in grid.{name}=[1, 2], not {values!r:.60}"
            )
        found[name] = tuple(dict.fromkeys(_value(name, value) for value in values))
    return found


def _value(name: str, value: Any) -> Any:
    whole = name == "layer"
    number = isinstance(value, Integral if whole else Real) and not isinstance(value, bool)
    if not number or not math.isfinite(value):
        raise SettingError(f"tune: grid {name!r}: {value!r} is not a {'whole' if whole else 'finite'} number")
    if value < _LEAST[name] or (name == "variance" and value == 0):
        bound = "> 0" if name == "variance" else f">= {_LEAST[name]}"
        raise SettingError(f"tune: grid {name!r}: {value!r} is out of range; it must be {bound}")
    return int(value) if whole else float(value)


def layers_around(encoder: Encoder) -> tuple[int, ...]:
    """Three layers, of which the adapter's default is the last: 7, 8 and 9 for a default of 9, as in the paper.

    Where there are fewer before it, some of those that follow, but not the last block: beyond it an encoder may read
    one position only.
    """
    default, last = encoder.default_layer, len(encoder.blocks) - 1
    start = max(min(default, 0), default - _LAYERS + 1)
    return tuple(range(start, min(start + _LAYERS, max(default, last - 1) + 1)))


def points_of(search: Search, model: Model, modalities: tuple[str, str]) -> tuple[Point, ...]:
    """All points of a checked search, each once: the adapter's default first, then the grid's in their order.

    modalities  of the pairs

    Raises :class:`SettingError` for a layer that the encoder does not have.
    """
    encoder = model.encoder(search.modality)

    def resolved(given: Mapping[str, Any]) -> Mapping[str, Any]:
        settings = plan_of(search.method, given).settings(model, search.modality, modalities)
        return dict(settings.to_dict())

    usual = resolved(search.settings)
    default = Point(int(usual["layer"]), float(usual["beta"]), float(usual["variance"]))
    layers = search.grid.get("layer") or layers_around(encoder)
    grid = [Point(*each) for each in product(layers, search.grid["beta"], search.grid["variance"])]
    for point in grid:
        resolved(search.given(point))
    return tuple(dict.fromkeys([default, *grid]))
