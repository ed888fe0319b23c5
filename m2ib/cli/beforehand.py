"""Files that an input, a reference or units are to be read from: whether they are there, before any model is loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from m2ib.errors import InputError
from m2ib.paths import local_path, url_fault

if TYPE_CHECKING:
    from m2ib.registry.specs import AdapterSpec


def check_file(spec: AdapterSpec, modality: str, raw: Any, who: str = "") -> None:
    """Raises :class:`InputError` for a file that is not there; what is written out (``AdapterSpec.inline``) is none.

    raw  as it is given on the command line: a text, or a mapping that holds it by its modality
    who  what it is besides an input, before the modality
    """
    given = raw.get(modality) if isinstance(raw, Mapping) else raw
    if modality in spec.inline or not isinstance(given, str):
        return
    fault = url_fault(given) if given else "is empty; give a path"
    try:
        os.stat(local_path(given))
    except FileNotFoundError:
        fault = fault or "does not exist; check the path"
    except (OSError, ValueError):  # whoever reads it says why it cannot
        pass
    if fault is not None:
        raise InputError(f"{who}{modality} {given!r:.300} {fault}")


def check_files(spec: AdapterSpec, pair: Sequence[tuple[str, Any]]) -> None:
    """:func:`check_file` for every input of a pair, those of contrasts and ensembles too."""
    from m2ib.contract.targets import Contrast, members_of

    for modality, raw in pair:
        for each in (raw.this, *raw.others) if isinstance(raw, Contrast) else (raw,):
            for member in members_of(each):
                check_file(spec, modality, member)
