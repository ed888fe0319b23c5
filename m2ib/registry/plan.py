"""A method with what a caller gave, before the kinds of input are known."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any

from m2ib.activations.reference import USUAL, References
from m2ib.contract.model import Model
from m2ib.contract.settings import TARGET, Setting, check_unloaded, resolve
from m2ib.contract.targets import Contrast, Ensemble, Targets, explained_by
from m2ib.errors import AdapterError, SettingError, did_you_mean
from m2ib.methods.base import Batch, Map, Method, PreparedBatch, refused
from m2ib.progress import every
from m2ib.registry.discovery import Registered, default_registry
from m2ib.registry.pair_plan import PairPlan, pair_plan_of
from m2ib.registry.specs import MethodSpec, PairMethodSpec

_MOST_SEEDS = 1000


@dataclass(frozen=True)
class Plan:
    """The method and settings of a call, before a modality is known; the maps are means over so many ``seeds``.

    target  what the maps explain: a value or a dict by modality, None for the adapter's
    null    against so many other inputs the same maps are made
    signed  whether what speaks against is looked for too
    pairs   how interactions are found; None where they are not asked for
    """

    name: str
    method: Method
    declared: Sequence[Setting]
    given: Mapping[str, Any]
    truncate: bool = False
    fast: bool = True
    references: References = field(default_factory=References)
    seeds: int = 1
    target: Any = None
    null: int = 0
    signed: bool = False
    pairs: PairPlan | None = None
    units: Any = None

    def settings(self, model: Model, modality: str, modalities: tuple[str, ...]) -> Any:
        """The method's, for one modality of a pair. Raises :class:`SettingError` where it is not defined."""
        return self.by_seed(model, modality, modalities)[0]

    def by_seed(self, model: Model, modality: str, modalities: tuple[str, ...]) -> list[Any]:
        """:meth:`settings` of each seed, the one that is given and those that follow."""
        encoder = model.encoder(modality)
        reason = self.method.refuse(encoder)
        if reason is not None:
            raise refused(self.name, model, modality, reason)
        resolved = resolve(self.declared, encoder, modalities, self.given, self.name)
        seeds = range(resolved["seed"], resolved["seed"] + self.seeds)
        found = [self.method.settings(**{**resolved, "seed": seed}) for seed in seeds]
        self.method.check(model, modality, found[0], self.references)
        if self.target_of(model, modality, modalities) == "centred":
            self.references.check(model, _other(modality, modalities), "target='centred'")
        if self.null:
            self.references.check(model, _other(modality, modalities), f"null={self.null}")
        return found

    def check_unloaded(self, modalities: tuple[str, str], presets: Collection[str] | None) -> None:
        """What is wrong with settings whatever the model is. Raises :class:`SettingError`.

        presets  names of those that the model's encoders may bring; None: not told
        """
        for place in (0, 1):
            self.check_side(modalities, place, presets)
        if self.pairs is not None:
            self.pairs.check_unloaded(modalities, presets)

    def check_side(self, modalities: tuple[str, str], place: int, presets: Collection[str] | None) -> None:
        """:meth:`check_unloaded` for one side of the pairs."""
        aimed = {} if isinstance(self.target, (Contrast, Ensemble)) else {"target": self.target}
        check_unloaded(self.declared, modalities[place], modalities, self.given, presets)
        check_unloaded((TARGET,), modalities[place], modalities, aimed, presets)

    def target_of(self, model: Model, modality: str, modalities: tuple[str, ...]) -> Any:
        """What a side's map explains: one of :data:`m2ib.contract.settings.TARGETS`, or a function."""
        if isinstance(self.target, (Contrast, Ensemble)):  # it stands in an input's place
            return "similarity"
        given = {} if self.target is None else {"target": self.target}
        return resolve((TARGET,), model.encoder(modality), modalities, given)["target"]

    def aimed(self, model: Model, modality: str, modalities: tuple[str, ...], targets: Targets) -> Targets:
        """What a side is explained against, of what it is compared with."""
        target = self.target_of(model, modality, modalities)
        if target == "centred":
            rows = self.references.embedded(model, _other(modality, modalities))
            return targets.less([model.unit(each)[0] for each in rows])
        return explained_by(target, targets, model.unit) if callable(target) else targets

    def prepare(self, batch: Batch, by_seed: Sequence[Any]) -> PreparedBatch:
        """What the method makes of a batch, with its embeddings and all its maps checked.

        Raises :class:`InputError` for NaN, and :class:`AdapterError` for what are no maps of these inputs.
        """
        prepared = _prepared(self.method, batch, by_seed)
        who = f"method {self.name!r}: the map of {batch.modality}"
        batch.model.sound(batch.modality, prepared.embedding)

        def maps(targets: Targets, advance: Callable[[], None]) -> list[Map]:
            found = prepared.maps(targets, advance)
            if not isinstance(found, Sequence) or sum(isinstance(each, Map) for each in found) != len(batch):
                raise AdapterError(f"{who}: the method gives {found!r:.60}, not a list of {len(batch)} Map")
            return [each.checked(who, layout) for each, layout in zip(found, batch.layouts, strict=True)]

        return replace(prepared, maps=maps)


def _other(modality: str, modalities: tuple[str, ...]) -> str:
    """The modality of a pair's other side."""
    return modalities[0] if modality == modalities[-1] else modalities[-1]


def _prepared(method: Method, batch: Batch, by_seed: Sequence[Any]) -> PreparedBatch:
    """With the mean maps of several seeds."""
    if len(by_seed) == 1:
        return method.prepare(batch, by_seed[0])
    if method.prepare_seeds is not None:
        return method.prepare_seeds(batch, by_seed)
    each = [method.prepare(batch, settings) for settings in (by_seed if method.draws else by_seed[:1])]

    def maps(targets: Targets, advance: Callable[[], None]) -> list[Map]:
        step = every(len(each), advance)
        found = [prepared.maps(targets, step) for prepared in each] * (len(by_seed) // len(each))
        return [Map.of_seeds(of_input) for of_input in zip(*found, strict=True)]

    return replace(each[0], maps=maps)


def plan_of(
    method: str,
    given: Mapping[str, Any],
    *,
    info: Registered[MethodSpec] | None = None,
    reference: Any = None,
    seeds: int = 1,
    null: int = 0,
    signed: bool = False,
    interactions: Any = None,
    **shared: Any,
) -> Plan:
    """A method by name, with what the caller gave.

    shared  fields of :class:`Plan`, as they are given: ``truncate``, ``fast``, ``units``

    Raises :class:`SettingError` for an unknown method, and for a setting that is none of those it names.
    """
    methods = default_registry().methods
    found = info or methods.find(method)
    known = found.spec.setting_names
    for name, value in given.items():
        if value is not None and name not in (*known, "seed"):
            raise SettingError(
                f"settings: {name!r} is unknown{did_you_mean(name, known)} There are {', '.join(known) or 'none'}, "
                f"those of the method {found.name!r}"
            )
    if isinstance(found.spec, PairMethodSpec):
        raise SettingError(
            f"method {found.name!r} finds interactions between two inputs, and makes no map of one; give interactions={found.name!r}"
        )
    name, references = methods.called(found), References(reference)
    if not isinstance(seeds, Integral) or isinstance(seeds, bool) or not 1 <= seeds <= _MOST_SEEDS:
        raise SettingError(
            f"seeds: {seeds!r:.40} is not possible; give a whole number from 1 to {_MOST_SEEDS}"
        )
    if not isinstance(null, Integral) or isinstance(null, bool) or null == 1 or not 0 <= null <= USUAL:
        raise SettingError(
            f"null: {null!r:.40} is not possible; give how many other inputs, from 2 to {USUAL}, or 0 for none"
        )
    loaded = found.load()
    if signed and loaded.signs == "none":
        raise SettingError(
            f"signed: the method {name!r} does not tell what speaks against; kernelshap and integrated-gradients do by their "
            "sign, m2ib and gradcam by a second map"
        )
    return Plan(
        name,
        loaded,
        found.declared(),
        {name: value for name, value in given.items() if name != "target"},
        references=references,
        seeds=int(seeds),
        target=given.get("target"),
        null=int(null),
        signed=signed,
        pairs=pair_plan_of(interactions, given.get("seed")),
        **shared,
    )
