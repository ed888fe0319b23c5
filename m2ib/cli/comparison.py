"""``m2ib explain --method a,b,c``: which methods, and each with its own of the settings given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from m2ib.cli.config import SETTING_HELP, ExplainConfig
from m2ib.errors import SettingError, did_you_mean
from m2ib.registry.discovery import Registered, default_registry
from m2ib.registry.specs import MethodSpec

if TYPE_CHECKING:
    from m2ib.contract.model import Model
    from m2ib.results.explanation import Explanation

_EVERY = ("seed", "truncate")


def check_methods(config: ExplainConfig, modalities: Sequence[str]) -> list[Registered[MethodSpec]]:
    """The methods asked for, before any model is loaded.

    Raises :class:`SettingError` for an unknown one, one that the adapter says its model has no use for, and a setting
    that none of them has.
    """
    names = [name.strip() for name in config.method.split(",") if name.strip()]
    if not names:
        raise SettingError("method: none is given; as in --method m2ib or --method m2ib,gradcam")
    registry = default_registry()
    methods = list(dict.fromkeys(registry.methods.find(name) for name in names))
    adapter = registry.adapters.find(config.model)
    for info in methods:
        shown = modalities if adapter.spec.attention is None else adapter.spec.attention
        without = [modality for modality in modalities if modality not in shown]
        if info.spec.attention and without:
            raise SettingError(
                f"method {info.name!r} reads attention, and the model {adapter.name!r} shows none for {without[0]}; "
                "leave it out"
            )
    known = {name for info in methods for name in info.spec.setting_names}
    for name in _given(config):
        if name not in known:
            raise SettingError(
                f"settings: {name!r} is none of {', '.join(map(registry.methods.called, methods))}"
                f"{did_you_mean(name, known)} There is {', '.join(sorted(known)) or 'none'}"
            )
    return methods


def _given(config: ExplainConfig) -> dict[str, Any]:
    """What was given of settings, by name, whether as an option or in ``settings``."""
    named = {name: value for name in SETTING_HELP if (value := getattr(config, name)) is not None}
    return {**named, **config.settings}


def explain_each(
    model: Model,
    pair: Sequence[tuple[str, Any]],
    config: ExplainConfig,
    methods: Sequence[Registered[MethodSpec]],
) -> list[Explanation]:
    """One explanation for each method, in their order."""
    from m2ib.api import explain

    every: dict[str, Any] = {name: getattr(config, name) for name in _EVERY}
    found = []
    for info in methods:
        own = {name: value for name, value in _given(config).items() if name in info.spec.setting_names}
        reference = config.reference if "standardize" in info.spec.setting_names else None
        found.append(
            explain(model, *pair, method=info.qualified_name, settings=own, reference=reference, **every)
        )
    return found
