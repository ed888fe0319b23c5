"""The one way into libraries that read a folder or the hub, and would run code that lies there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def code_fault(config: Any, give: str = "it to m2ib.adapt") -> str | None:
    """What is wrong with a config.json, as it was read, that names code for a kind of model that transformers has not; else None.

    give  the way out for whoever has loaded the model
    """
    if not isinstance(config, Mapping) or not config.get("auto_map"):
        return None
    from transformers import CONFIG_MAPPING

    kind, way = config.get("model_type"), f"load it with trust_remote_code=True and give {give}"
    said = f"is a {kind!r:.40} model by code of its own, and a stranger's code is never run; {way}"
    return None if kind in CONFIG_MAPPING else said


def without_code(read: Callable[..., Any], *given: Any, **options: Any) -> Any:
    """``read(...)``, one of transformers' ``from_pretrained`` or what hands its options on: nothing of a stranger's is run.

    Without being told, transformers runs what a folder's ``auto_map`` names once somebody answers "y" on the standard input.
    What transformers has a class of its own for is read by that. Raises ``ValueError`` for what has none, and what ``read`` raises.
    """
    try:
        return read(*given, **options | {"trust_remote_code": False})
    except ValueError as error:
        if "trust_remote_code" not in str(error):
            raise
        raise ValueError(
            "it can only be read by code that lies with it, and a stranger's code is never run"
        ) from error
