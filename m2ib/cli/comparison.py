"""What is asked of a pair on the command line, checked before any model is loaded: methods with their settings, a sweep, units, files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from m2ib.api import plan_for
from m2ib.cli.beforehand import check_file
from m2ib.cli.config import SETTING_HELP
from m2ib.cli.values import parsed_value
from m2ib.errors import SettingError
from m2ib.registry.calls import SHARED, calls_of
from m2ib.registry.discovery import default_registry
from m2ib.registry.sweeps import swept_of
from m2ib.units.placing import check_units


def options_of(config: Any) -> dict[str, Any]:
    """The keywords of ``m2ib.explain`` in a configuration; a setting as an option stands under one in ``settings``."""
    named = {name: value for name in SETTING_HELP if (value := getattr(config, name)) is not None}
    asked = (name for name in ("method", "seed", *SHARED) if hasattr(config, name))
    return {**{name: getattr(config, name) for name in asked}, "settings": {**named, **config.settings}}


def check_methods(config: Any, modalities: tuple[str, str]) -> Mapping[str, Mapping[str, Any]]:
    """By method asked for, its options, before any model is loaded.

    Raises :class:`SettingError` for what :func:`calls_of` refuses, for values that no encoder could have, and for a method that the
    adapter says its model has no use for; :class:`InputError` for reference inputs and units that are not there.
    """
    registry, calls = default_registry(), calls_of(options_of(config))
    adapter = config.adapter
    _check_takes(modalities, config)
    for options in calls.values():
        info = registry.methods.find(options["method"])
        shown = modalities if adapter.spec.attention is None else adapter.spec.attention
        without = [modality for modality in modalities if modality not in shown]
        if info.spec.attention and without:
            raise SettingError(
                f"method {info.name!r} reads attention, and the model {adapter.name!r} shows none for {without[0]}; "
                "leave it out"
            )
        plan_for(**options).check_unloaded(modalities, adapter.spec.presets)
    for modality, raws in (config.reference or {}).items():
        if modality not in adapter.modalities:
            raise SettingError(
                f"reference: {modality!r} is not a modality of this model ({', '.join(adapter.modalities)})"
            )
        for raw in raws or ():
            check_file(adapter.spec, modality, raw)
    for modality, path in check_units(getattr(config, "units", None), modalities):
        check_file(adapter.spec, modality, path, "units of ")
    return calls


def _check_takes(modalities: Sequence[str], config: Any) -> None:
    """Raises :class:`SettingError` for pairs of a kind that the adapter's models do not take."""
    takes = config.adapter.modalities
    for modality in modalities:
        if modality not in takes:
            raise SettingError(
                f"the pairs have {' and '.join(modalities)}, and the model {config.model!r} takes no {modality}; it takes "
                f"{', '.join(takes)}"
            )


def swept(config: Any, modalities: tuple[str, str]) -> dict[str, Any]:
    """The keywords of ``m2ib.sweep`` in a configuration that has a sweep, its values checked before any model is loaded.

    Raises :class:`SettingError`.
    """
    given, options = config.sweep, options_of(config)
    if isinstance(given, str):
        name, _, values = given.partition("=")
        name, _, modality = name.partition(".")
        several = parsed_value(f"[{values}]", "options: sweep")
        given = {name: {modality: several} if modality else several}
    if not isinstance(given, Mapping) or len(given) != 1:
        raise SettingError(
            f"sweep: {given!r:.80} is no setting with its values; as in --sweep layer=0,3,6,9 or --sweep layer for good layers"
        )
    ((name, values),) = given.items()
    if options["settings"].get(name) is not None:
        raise SettingError(f"sweep: {name!r} is given a value of its own as well; leave that out")
    if len(calls := calls_of(options)) > 1:
        raise SettingError(f"sweep: takes one method, not {', '.join(calls)}; sweep once for each of them")
    if name == "layer" and not values:
        return options
    asked = {**options, "settings": {**options["settings"], name: values}}
    calls_of(asked)  # refuses a name that the method has not
    if (found := swept_of({name: values}, [name])) is None:
        raise SettingError(
            f"sweep: {name}={values!r:.60} is one value; give several, as in --sweep {name}=..."
        )
    for value in found[1]:
        (each,) = calls_of({**options, "settings": {**options["settings"], name: value}}).values()
        plan_for(**each).check_unloaded(modalities, config.adapter.spec.presets)
    return asked
