"""What a run was asked for, kept beside its results: a run goes on with its own, and with no other's."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import torch

from m2ib.contract.model import Model


def model_facts(model: Model) -> dict[str, Any]:
    """Where the model came from, and on what kind of device and in which dtype it runs; JSON-able."""
    return {**model.origin, "device": model.device.type, "dtype": str(model.dtype).removeprefix("torch.")}


def version_facts() -> dict[str, str]:
    """Of what decides the figures."""
    return {"m2ib": version("m2ib"), "torch": torch.__version__}


def differences(
    known: Mapping[str, Any] | None,
    asked: Mapping[str, Any],
    groups: Sequence[str],
    may_differ: Collection[str] = (),
) -> list[str]:
    """As "group name", each fact that is another one than was known; none where nothing was.

    known, asked  facts by group and name
    """
    if known is None:
        return []
    return [
        f"{group} {name}"
        for group in groups
        for name in sorted({*known[group], *asked[group]})
        if known[group].get(name) != asked[group].get(name) and name not in may_differ
    ]
