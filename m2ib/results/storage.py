"""Explanations on disk: ``arrays.safetensors``, ``manifest.json`` and what the renderers show."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from m2ib.contract.abilities import Condensing
from m2ib.contract.attribution import Attribution
from m2ib.contract.pair import AttributionPair
from m2ib.errors import PluginError, StorageError
from m2ib.folders import open_folder
from m2ib.registry.foreign import renderer_code

KIND = "explanation"
FORMAT = 3
MANIFEST = "manifest.json"
ARRAYS = "arrays.safetensors"
NULL_MAPS = ("mean", "deviation")


def save(explanation: AttributionPair, folder: Path, *, force: bool = False) -> Path:
    """See :meth:`m2ib.Explanation.save`."""
    with open_folder(folder, KIND, force=force).replacing(all=True) as place:
        write(explanation, place)
    return folder


def write(explanation: AttributionPair, folder: Path) -> None:
    """Write it into a folder that is there and empty. Raises :class:`StorageError`."""
    arrays: dict[str, np.ndarray] = {}
    rows = []
    try:
        for number, attribution in enumerate(explanation):
            for name in ("grid", "capacity", "against", "by_seed"):
                value = getattr(attribution, name)
                if value is not None:
                    arrays[f"{number}.{name}"] = np.ascontiguousarray(value)
            if attribution.null is not None:
                for name in NULL_MAPS:
                    arrays[f"{number}.null_{name}"] = np.ascontiguousarray(getattr(attribution.null, name))
            row = {**described(attribution), "view": stored_view(attribution, folder, str(number))}
            if (segments := attribution.segments) is not None and segments.values is not None:
                arrays[f"{number}.segments"] = np.ascontiguousarray(segments.labels)
                arrays[f"{number}.units"] = segments.values
                axes = [asdict(axis) for axis in segments.axes]
                row["units"] = {"names": list(segments.names), "axes": axes, "hidden": segments.hidden}
            rows.append(row)
        interactions = explanation.interactions
        if interactions is not None:
            arrays["interactions"] = np.ascontiguousarray(interactions.matrix)
        (folder / ARRAYS).write_bytes(safetensors.numpy.save(arrays))  # with the user's own file mode
        manifest = {
            "format": FORMAT,
            "similarity": explanation.similarity,
            "provenance": dict(explanation.provenance),
            "attributions": rows,
            "interactions": None if interactions is None else _without(asdict(interactions), "matrix"),
            "files": {path.name: _digest(path) for path in sorted(folder.iterdir())},
        }
        text = json.dumps(manifest, indent=1, ensure_ascii=False)
        (folder / MANIFEST).write_bytes(text.encode("utf-8", "backslashreplace"))  # as JSON escapes
    except SafetensorError as error:
        raise StorageError(f"cannot write the explanation into {str(folder)!r}: {error}") from error


def _without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def described(attribution: Attribution) -> dict[str, Any]:
    """All of it that is no array and no view; JSON-able."""
    return {
        "modality": attribution.modality,
        "method": attribution.method,
        "settings": dict(attribution.settings),
        "origin": dict(attribution.origin),
        "curve": None if attribution.curve is None else asdict(attribution.curve),
        "unit": attribution.unit,
        "additive": attribution.additive,
        "warnings": list(attribution.warnings),
        "full": attribution.full,
        "null": None if attribution.null is None else _without(vars(attribution.null), *NULL_MAPS),
        "layout": asdict(attribution.layout),
        "renderer": attribution.renderer.name,
    }


def stored_view(
    attribution: Attribution, folder: Path, stem: str, *, condensed: bool = False
) -> Mapping[str, Any]:
    """What the renderer writes of the view; condensed, where it can. A full disk is no fault of its."""
    renderer = attribution.renderer
    try:
        with renderer_code(renderer):
            if condensed and isinstance(renderer, Condensing):
                renderer = renderer.condensed()
            return renderer.store(attribution.view, folder, stem)
    except PluginError as error:
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        raise


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
