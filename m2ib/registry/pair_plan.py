"""A way to find interactions with what a caller gave, before the model is known."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from m2ib.activations.reference import References
from m2ib.contract.inputs import Item
from m2ib.contract.interactions import Interactions
from m2ib.contract.model import Model
from m2ib.contract.settings import check_unloaded, resolve
from m2ib.errors import AdapterError, InputError, SettingError, did_you_mean
from m2ib.execution.half_precision import or_in_float32
from m2ib.methods.base import Batch
from m2ib.methods.interactions.base import PairMethod, Side
from m2ib.registry.discovery import Registered, default_registry
from m2ib.registry.specs import MethodSpec, PairMethodSpec

_USUAL = (
    "m2ib:maxsim",
    "m2ib:second-order",
    "m2ib:by-word",
)  # of these the first that is defined for a model


@dataclass(frozen=True)
class PairPlan:
    """name  of the way; None: the one that suits the model
    given  its settings: values, or dicts by modality
    """

    name: str | None
    given: Mapping[str, Any]

    def found(self, model: Model) -> Registered[MethodSpec]:
        """Raises :class:`SettingError` for a setting that it has not."""
        names = _USUAL if self.name is None else (self.name,)
        ways = [default_registry().methods.find(name) for name in names]
        info = next((way for way in ways if way.load().refuse(model) is None), ways[-1])
        self._check_names(info)
        return info

    def check_unloaded(self, modalities: tuple[str, str], presets: Collection[str] | None) -> None:
        """As :meth:`m2ib.registry.plan.Plan.check_unloaded`, where the way is named. Raises :class:`SettingError`."""
        if self.name is not None:
            info = default_registry().methods.find(self.name)
            self._check_names(info)
            for modality in modalities:
                check_unloaded(info.declared(), modality, modalities, self.given, presets)

    def _check_names(self, info: Registered[MethodSpec]) -> None:
        known = info.spec.setting_names
        for each in self.given:
            if each not in (*known, "seed"):
                raise SettingError(
                    f"interactions: {each!r} is unknown{did_you_mean(each, known)} There are {', '.join(known) or 'none'}, those of "
                    f"{info.name!r}"
                )

    def settings(self, model: Model, modalities: tuple[str, str]) -> tuple[str, PairMethod, list[Any]]:
        """Its name, the method and each side's settings. Raises :class:`SettingError` where it is not defined."""
        info = self.found(model)
        method: PairMethod = info.load()
        if (reason := method.refuse(model)) is not None:
            raise SettingError(f"interactions: {info.name!r} is not defined for this model: {reason}")
        declared = info.declared()
        each = [
            method.settings(**resolve(declared, model.encoder(modality), modalities, self.given, info.name))
            for modality in modalities
        ]
        return default_registry().methods.called(info), method, each

    def find(
        self,
        model: Model,
        modalities: tuple[str, str],
        items: Sequence[Item],
        references: References,
        fast: bool,
    ) -> Interactions:
        """Of a pair's two inputs. Raises :class:`InputError` for NaN."""
        name, method, settings = self.settings(model, modalities)
        first, second = (
            Side(
                Batch(model, modality, [item], model.collate(modality, [item]), references, fast),
                own,
                model.similarity.leads(modalities, place),
            )
            for place, (modality, item, own) in enumerate(zip(modalities, items, settings, strict=True))
        )
        with torch.inference_mode(False):
            matrix, warnings = method.find(first, second)
        wanted = first.units.number, second.units.number
        if matrix.shape != wanted:
            raise AdapterError(
                f"method {name!r}: its matrix has the shape {matrix.shape}; it must have {wanted}"
            )
        if not np.isfinite(matrix).all():
            raise InputError(
                f"interactions: {name} gives NaN or infinite values in {model.dtype}; check the inputs{or_in_float32(model.dtype)}"
            )
        told: dict[str, Any] = {}
        for place, (modality, own) in enumerate(zip(modalities, settings, strict=True)):
            called = modality if modalities[0] != modalities[1] else f"{modality} {place}"
            told[called] = own.to_dict()
        unit = model.similarity.name if method.unit == "cosine" else method.unit
        return Interactions(
            matrix.astype(np.float32), (first.units, second.units), name, unit, told, warnings
        )


def pair_plan_of(given: Any, seed: Any = None) -> PairPlan | None:
    """Of what a caller gave as ``interactions``: None or False for none, True, a name, or a mapping with settings.

    Raises :class:`SettingError`.
    """
    if given is None or given is False:
        return None
    name, settings = (None, {}) if given is True else (given, {})
    if isinstance(given, Mapping):
        settings = {str(key): value for key, value in given.items() if key != "method"}
        name = given.get("method")
    if name is not None and not isinstance(name, str):
        raise SettingError(
            f"interactions: {given!r:.60} is not possible; give True, a name, or a dict, as in interactions={{'method': 'banzhaf', "
            "'masks': 1024}"
        )
    methods = default_registry().methods
    if name is not None and not isinstance(methods.find(name).spec, PairMethodSpec):
        ways = ", ".join(info.name for info in methods if isinstance(info.spec, PairMethodSpec))
        raise SettingError(f"interactions: the method {name!r} makes maps of one input; there is {ways}")
    return PairPlan(name, settings if seed is None else {"seed": seed, **settings})
