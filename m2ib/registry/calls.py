"""One pair by several methods: which they are, and of what was given each one's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from m2ib.errors import SettingError, did_you_mean
from m2ib.registry.discovery import default_registry

OF_PAIRS = ("null", "signed", "interactions", "units")  # options that ask for more than a map of each side
SHARED = ("seeds", "truncate", "fast", *OF_PAIRS, "reference")
"""Options that every method takes, besides the seed."""


def settings_of(given: Mapping[str, Any], settings: Any) -> dict[str, Any]:
    """Those that are given by themselves, where they are not None, and those in ``settings``, a dict or None.

    Raises :class:`SettingError`.
    """
    if settings is not None and not isinstance(settings, Mapping):
        raise SettingError(
            f"settings: give a dict by name, as in settings={{'masks': 512}}, not {settings!r:.60}"
        )
    named, more = {name: value for name, value in given.items() if value is not None}, dict(settings or {})
    if twice := sorted({*named} & {*more} - {"seed"}):
        raise SettingError(f"settings: {twice[0]!r} is given twice, by itself and in settings")
    return named | more


def calls_of(options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By method, what :func:`m2ib.explain` is to be given.

    options  its keywords; ``method`` one name, several with commas between, or a list of them. A setting that is None is not given

    Raises :class:`SettingError` for an unknown method or none, for a setting that none of them has, and for one that is given twice.
    """
    methods, given = default_registry().methods, {"reference": None, **options}
    named = given.pop("method")
    names = [each.strip() for each in named.split(",")] if isinstance(named, str) else [*(named or ())]
    found = {methods.called(each): each for each in (methods.find(name) for name in names if name)}
    if not found:
        raise SettingError("method: none is given; as in --method m2ib or --method m2ib,gradcam")
    settings = given.pop("settings", None)
    shared = {name: given.pop(name) for name in ("seed", *SHARED) if name in given}
    settings = settings_of(given, settings)
    known = {name for info in found.values() for name in info.spec.setting_names}
    for name in settings:
        if name not in known:
            raise SettingError(
                f"settings: {name!r} is none of {', '.join(found)}{did_you_mean(name, known)} There is "
                f"{', '.join(sorted(known)) or 'none'}"
            )
    return {
        name: {
            **shared,
            "method": info.qualified_name,
            "settings": {each: value for each, value in settings.items() if each in info.spec.setting_names},
        }
        for name, info in found.items()
    }
