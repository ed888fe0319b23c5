"""Several methods on the command line: which, and each with its own of the settings given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from m2ib.cli.config import SETTING_HELP
from m2ib.errors import SettingError
from m2ib.registry.calls import SHARED, calls_of
from m2ib.registry.discovery import default_registry


def options_of(config: Any) -> dict[str, Any]:
    """The keywords of ``m2ib.explain`` in a configuration; a setting as an option stands under one in ``settings``."""
    named = {name: value for name in SETTING_HELP if (value := getattr(config, name)) is not None}
    asked = (name for name in ("method", "seed", *SHARED) if hasattr(config, name))
    return {**{name: getattr(config, name) for name in asked}, "settings": {**named, **config.settings}}


def check_methods(config: Any, modalities: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
    """By method asked for, its options, before any model is loaded.

    Raises :class:`SettingError` for what :func:`calls_of` refuses, and for a method that the adapter says its model has no use for.
    """
    registry, calls = default_registry(), calls_of(options_of(config))
    adapter = config.adapter
    for options in calls.values():
        info = registry.methods.find(options["method"])
        shown = modalities if adapter.spec.attention is None else adapter.spec.attention
        without = [modality for modality in modalities if modality not in shown]
        if info.spec.attention and without:
            raise SettingError(
                f"method {info.name!r} reads attention, and the model {adapter.name!r} shows none for {without[0]}; "
                "leave it out"
            )
    return calls
