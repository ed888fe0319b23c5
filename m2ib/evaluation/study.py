"""What is to be evaluated: methods, metrics, seeds and settings, checked against each other before a model is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from numbers import Integral
from typing import Any

from m2ib.data.pairs import Pairs
from m2ib.errors import SettingError, did_you_mean
from m2ib.evaluation.measures import MEASURES
from m2ib.registry.discovery import Registered, Registry, default_registry
from m2ib.registry.plan import plan_of
from m2ib.registry.specs import AdapterSpec, MethodSpec, PairMethodSpec

ALL = "all"
CONTROLS = ("uniform", "random")
ORACLE = "oracle"  # the control that knows where the evidence is
METHOD = "method"  # in the settings of a variant, what it varies
SHUFFLED = " (shuffled)"  # ends the name of a method's own control


@dataclass(frozen=True)
class Study:
    """Everything that decides the figures but the model and the data.

    methods      names of registered methods, of variants in ``settings``, and "oracle": the true mask on the map's
                 cells, for pairs that know it
    metrics      names in :data:`MEASURES`
    seeds        of whatever is drawn; means are over pairs, standard errors over seeds
    settings     of the methods: by name for all that have it, ``{"masks": 512}``, or by method,
                 ``{"rise": {"masks": 512}}``; each a value or a dict by modality. A name of your own makes a variant of
                 a method: ``{"sharp": {"method": "m2ib", "preset": "sharp"}}``
    sides        the modalities whose maps are evaluated; None: both
    limit        the first so many pairs; None: all
    batch_size   pairs whose maps are made together; an evaluation may go on with another number
    curve_steps  of deletion and insertion
    controls     whether what knows nothing is shown too: uniform, random, and each method's own values in other places
    sanity_pairs, sanity_stages
                 how many pairs, and how many stages of random weights at most
    null         of specificity: how many other inputs each pair is compared with, of 32 at most; None: 16
    roar         fields of :class:`m2ib.evaluation.fine_tune.Training`
    """

    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    settings: Mapping[str, Any] = field(default_factory=dict)
    sides: tuple[str, ...] | None = None
    limit: int | None = None
    batch_size: int = 8
    curve_steps: int = 20
    controls: bool = True
    sanity_pairs: int = 8
    sanity_stages: int = 6
    null: int | None = None
    roar: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}


@dataclass(frozen=True)
class ResolvedStudy:
    """A study that holds together.

    methods  by name; of a variant, the method it varies
    places   0, 1 or both: the sides of the pairs that are evaluated
    undefined  (place, method, why) of what is left out because it is not defined
    """

    study: Study
    methods: Mapping[str, Registered[MethodSpec]]
    places: tuple[int, ...]
    undefined: tuple[tuple[int, str, str], ...] = ()

    def given(self, name: str, seed: int, modality: str | None = None) -> dict[str, Any]:
        """What a method is given of the study's settings; of those by modality, for ``modality`` its own alone."""
        settings, spec = self.study.settings, self.methods[name].spec
        shared = {
            key: v for key, v in settings.items() if key not in self.methods and key in spec.setting_names
        }
        own = {**shared, **settings.get(name, {})}
        own.pop(METHOD, None)
        if modality is not None:
            own = {key: v.get(modality) if isinstance(v, Mapping) else v for key, v in own.items()}
        return {**own, "seed": seed}

    def defined(self, place: int, name: str) -> bool:
        """Whether the method is run on this side."""
        return (place, name) not in {(where, who) for where, who, _ in self.undefined}


def check(
    study: Study,
    pairs: Pairs,
    adapter: Registered[AdapterSpec] | None = None,
    registry: Registry | None = None,
) -> ResolvedStudy:
    """What can be refused before a model is loaded is refused here.

    adapter  of the model to come, if it is known

    Raises :class:`SettingError` and :class:`AdapterError`.
    """
    if not isinstance(study.settings, Mapping):
        raise SettingError(
            f"evaluate: settings are a dict by name, as in {{'masks': 512}}, not {study.settings!r:.60}"
        )
    study = replace(
        study,
        methods=_names("methods", study.methods),
        metrics=_names("metrics", study.metrics),
        sides=None if study.sides is None else _names("sides", study.sides),
    )
    methods = _methods(study, pairs, registry or default_registry())
    metrics = _metrics(study.metrics, pairs)
    seeds = _seeds(study.seeds)
    for name, least in (
        ("batch_size", 1),
        ("curve_steps", 1),
        ("sanity_pairs", 1),
        ("sanity_stages", 2),
        ("limit", 1),
        ("null", 2),
    ):
        value = getattr(study, name)
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least
        ):
            raise SettingError(f"evaluate: {name} {value!r} is out of range; it must be >= {least}")
    if "rank-correlation" in metrics and len(seeds) < 2:
        if tuple(study.metrics) != (ALL,):
            raise SettingError(
                f"evaluate: rank-correlation compares seeds, and there is only {seeds[0]}; give more"
            )
        metrics = tuple(name for name in metrics if name != "rank-correlation")
    places = _places(study.sides, pairs.modalities)
    asked = {
        name: info
        for name, info in methods.items()
        if name in study.methods or tuple(study.methods) == (ALL,)
    }
    _check_settings(study.settings, asked)
    if adapter is not None:
        for modality in pairs.modalities:
            if modality not in adapter.modalities:
                raise SettingError(
                    f"evaluate: the data {pairs.name!r} has {' and '.join(pairs.modalities)}, and the model "
                    f"{adapter.name!r} takes no {modality}; it takes {', '.join(adapter.modalities)}"
                )
    if "roar" in metrics or study.roar:
        _check_training(study.roar)
    undefined = []
    if adapter is not None and adapter.spec.attention is not None:
        shown = adapter.spec.attention
        undefined = [
            (place, name, f"it reads attention, and the {pairs.modalities[place]} encoder shows none")
            for name, info in methods.items()
            for place in places
            if info.spec.attention and pairs.modalities[place] not in shown
        ]
        for name in methods:
            if tuple(study.methods) != (ALL,) and sum(who == name for _, who, _ in undefined) == len(places):
                raise SettingError(
                    f"evaluate: the method {name!r} reads attention, and the model {adapter.name!r} shows none for "
                    f"{' and '.join(pairs.modalities[place] for place in places)}; leave it out"
                )
    full = replace(study, methods=tuple(methods), metrics=metrics, seeds=seeds)
    found = ResolvedStudy(full, methods, places, tuple(undefined))
    for place, name in product(places, methods):
        if found.defined(place, name):
            plan = plan_of(name, found.given(name, seeds[0]), info=methods[name])
            plan.check_side(pairs.modalities, place, None if adapter is None else adapter.spec.presets)
    return found


def _methods(study: Study, pairs: Pairs, registry: Registry) -> dict[str, Registered[MethodSpec]]:
    """By name, in the order asked for, the controls that go with every table last."""
    listed, names, varied = registry.methods, study.methods, variants(study.settings)
    for name in varied:
        if name in (*listed.names, ORACLE):
            raise SettingError(f"evaluate: there is a method {name!r}; call the variant of it something else")
    maps = [info.name for info in listed if not isinstance(info.spec, PairMethodSpec)]
    chosen = (*maps, *varied) if tuple(names) == (ALL,) else tuple(dict.fromkeys(names))
    if not chosen:
        raise SettingError(f"evaluate: give at least one method of {', '.join(listed.names)}")
    more = tuple(name for name in controls(registry) if name not in chosen) if study.controls else ()
    if ORACLE in chosen and not pairs.located:
        raise SettingError(
            f"evaluate: the method {ORACLE!r} is the true mask, and the data {pairs.name!r} has no boxes or regions; "
            "leave it out, or give pairs with boxes"
        )
    return {
        name: _oracle(registry) if name == ORACLE else registry.methods.find(varied.get(name, name))
        for name in (*chosen, *more)
    }


def controls(registry: Registry | None = None) -> tuple[str, ...]:
    """How those that come with m2ib are called in tables."""
    return tuple(map((registry or default_registry()).methods.own, CONTROLS))


def variants(settings: Mapping[str, Any]) -> dict[str, str]:
    """The methods that settings vary, by the variants' names."""
    return {
        name: str(value[METHOD])
        for name, value in settings.items()
        if isinstance(value, Mapping) and METHOD in value
    }


def _oracle(registry: Registry) -> Registered[MethodSpec]:
    """Run as an even map, which tells its cells."""
    even, summary = registry.methods.find("m2ib:uniform"), "control: the true mask on the map's cells"
    return Registered(replace(even.spec, name=ORACLE, summary=summary), even.origin)


def _metrics(names: Sequence[str], pairs: Pairs) -> tuple[str, ...]:
    if tuple(names) == (ALL,):
        return tuple(
            name
            for name, measure in MEASURES.items()
            if not measure.extra and (pairs.located or not measure.located)
        )
    for name in names:
        if name not in MEASURES:
            raise SettingError(
                f"evaluate: metric {name!r} is unknown{did_you_mean(name, MEASURES)} There is {', '.join(MEASURES)}"
            )
        if MEASURES[name].located and not pairs.located:
            raise SettingError(
                f"evaluate: metric {name!r} needs to know where the evidence is, and the data {pairs.name!r} has no "
                "boxes or regions; leave it out, or give pairs with boxes"
            )
    asked = {"mass", *names, *(each for name in names for each in MEASURES[name].needs)}
    return tuple(name for name in MEASURES if name in asked)


def _names(option: str, given: Any) -> tuple[str, ...]:
    """Raises :class:`SettingError` for what is no list of words."""
    found = (given,) if isinstance(given, str) or not isinstance(given, Iterable) else tuple(given)
    for each in found:
        if not isinstance(each, str):
            raise SettingError(f"evaluate: {option} are names, and {each!r:.60} is none")
    return found


def _seeds(seeds: Any) -> tuple[int, ...]:
    found = tuple(seeds) if isinstance(seeds, Iterable) else (seeds,)
    for seed in found:
        if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= int(seed) < 2**31:
            raise SettingError(f"evaluate: seed {seed!r:.60} is not a whole number >= 0")
    if not found:
        raise SettingError("evaluate: give at least one seed")
    return tuple(dict.fromkeys(map(int, found)))


def _places(sides: Sequence[str] | None, modalities: tuple[str, str]) -> tuple[int, ...]:
    if sides is None:
        return (0, 1)
    for side in sides:
        if side not in modalities:
            raise SettingError(
                f"evaluate: side {side!r} is not a modality of the pairs; they are {' and '.join(modalities)}"
            )
    if not sides:
        raise SettingError(f"evaluate: give at least one side of {' and '.join(modalities)}")
    return tuple(place for place in (0, 1) if modalities[place] in sides)


def _check_training(given: Mapping[str, Any]) -> None:
    """Raises :class:`SettingError` for what is no field of :class:`m2ib.evaluation.fine_tune.Training`."""
    from m2ib.evaluation.fine_tune import Training

    if not isinstance(given, Mapping):
        raise SettingError(f"evaluate: roar is a dict by name, as in {{'epochs': 3}}, not {given!r:.60}")
    known = Training.__dataclass_fields__
    for name in given:
        if name not in known:
            raise SettingError(
                f"evaluate: roar has no {name!r}{did_you_mean(name, known)} It has {', '.join(known)}"
            )
    Training(**given)


def _check_settings(settings: Mapping[str, Any], methods: Mapping[str, Registered[MethodSpec]]) -> None:
    """Raises :class:`SettingError` for a setting that no method of the study has."""
    known = sorted({name for info in methods.values() for name in info.spec.setting_names})
    for key, value in settings.items():
        if key in methods:
            if not isinstance(value, Mapping):
                raise SettingError(
                    f"evaluate: settings of the method {key!r} are a dict by name, not {value!r:.60}"
                )
            for name in value:
                if name not in (METHOD, *methods[key].spec.setting_names):
                    raise SettingError(
                        f"evaluate: the method {key!r} has no setting {name!r}"
                        f"{did_you_mean(name, methods[key].spec.setting_names)} It has "
                        f"{', '.join(methods[key].spec.setting_names) or 'none'}"
                    )
        elif key not in known:
            raise SettingError(
                f"evaluate: no method of {', '.join(methods)} has the setting {key!r}"
                f"{did_you_mean(key, [*known, *methods])} They have {', '.join(known) or 'none'}"
            )
