"""What a checkpoint is, by its descriptions and the names of its weights: for ``AdapterSpec.can``. Nothing is loaded."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Collection
from os import PathLike
from pathlib import Path
from typing import Any

from torch import nn

from m2ib.errors import CheckpointError, M2IBWarning, decoding
from m2ib_adapters.bounds import TEXT
from m2ib_adapters.checkpoints import hub_has, may_be_hub_id
from m2ib_adapters.memory import unwrapped
from m2ib_adapters.state_dicts import read_state
from m2ib_adapters.transformers_models import base_of
from m2ib_adapters.without_code import code_fault

_CONFIG = "config.json"
_MINUTE = 60.0
_silent: dict[int, str] = {}  # by the minute: why the hub was out of reach, for all who ask in it


def transformers_fault(adapter: str, checkpoint: Any, types: Collection[str], *kinds: str) -> str | None:
    """Why a checkpoint is no model of transformers of these types; None where it is.

    checkpoint  a folder, PEFT's too, a hub id, or a module in memory
    types       each a ``model_type``
    kinds       names of the classes that are taken from memory, as in ``"transformers.CLIPModel"``

    Raises :class:`CheckpointError` where nothing says what it is, and for another class in memory.
    """
    if isinstance(checkpoint, nn.Module):
        unwrapped(adapter, checkpoint, kinds)
        return None
    if (found := model_type_of(checkpoint)) in types:
        return None
    by_code = code_fault(described_by(base_of(os.fspath(checkpoint)), _CONFIG))
    return by_code or f"is a {found!r} model of transformers, not {' or '.join(map(repr, types))}"


def model_type_of(checkpoint: Any) -> str:
    """The ``model_type`` in the config.json of a folder or hub id; of PEFT's folder, that of its base model.

    Raises :class:`CheckpointError` where there is none.
    """
    if isinstance(checkpoint, str | PathLike):
        checkpoint = base_of(os.fspath(checkpoint))
    told = described_by(checkpoint, _CONFIG)
    found = told.get("model_type") if isinstance(told, dict) else None
    if not isinstance(found, str):
        raise CheckpointError(f"has no {_CONFIG} with a model_type")
    return found


def described_by(checkpoint: Any, name: str) -> Any:
    """What the JSON file of this name says in a folder or hub id; None where there is no such file.

    The hub is asked where its cache does not know, with little patience. Raises :class:`CheckpointError` for what is neither.
    """
    if not isinstance(checkpoint, str | PathLike):
        raise CheckpointError(f"takes no {type(checkpoint).__name__} in memory")
    source = os.fspath(checkpoint)
    path: Path | None = Path(source) / name
    with decoding("", "cannot be told", error=CheckpointError):
        if os.path.isfile(source):
            raise CheckpointError("is a file, which does not say what model it is of")
        if not os.path.isdir(source):
            if not may_be_hub_id(source):
                raise CheckpointError("does not exist")
            path = _from_hub(source, name)
        if path is None or not os.path.isfile(path):
            return None
        TEXT.check(f"its {name}", path.stat().st_size, error=CheckpointError)
        return json.loads(path.read_text(encoding="utf-8"))


def weights_in(path: Path, adapter: str) -> dict[str, Any]:
    """Names and tensors in a file, which stay on disk until they are looked at. Raises :class:`CheckpointError`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", M2IBWarning)  # said again when it is loaded
        return read_state(path, adapter, mapped=True)


def _from_hub(repository: str, name: str) -> Path | None:
    """A file out of the hub's cache, or fetched; None where the repository has none. Raises :class:`CheckpointError`."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    cached = try_to_load_from_cache(repository, name)
    if cached is not None:  # else a mark that there is none
        return Path(cached) if isinstance(cached, str) else None
    minute = int(time.monotonic() // _MINUTE)
    if minute in _silent:
        raise CheckpointError(_silent[minute])
    try:
        hub_has("it", repository, name, "give a folder or a file")
    except CheckpointError as error:
        if isinstance(error.__cause__, EntryNotFoundError):
            return None
        reason = str(error).removeprefix("it ")
        if not isinstance(error.__cause__, HfHubHTTPError):
            _silent.clear()
            _silent[minute] = reason
        raise CheckpointError(reason) from error
    return Path(hf_hub_download(repository, name))
