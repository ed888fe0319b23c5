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
from safetensors.numpy import load_file

from m2ib.contract.attribution import Attribution, AttributionPair, Curve
from m2ib.contract.layout import Axis, Layout, Token
from m2ib.errors import StorageError
from m2ib.folders import open_folder, read_whole
from m2ib.renderers import renderer_named
from m2ib.renderers.view_storage import as_tuples

KIND = "explanation"
FORMAT = 1
MANIFEST = "manifest.json"
ARRAYS = "arrays.safetensors"


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
            for name in ("grid", "capacity", "against"):
                value = getattr(attribution, name)
                if value is not None:
                    arrays[f"{number}.{name}"] = np.ascontiguousarray(value)
            rows.append(
                {
                    "modality": attribution.modality,
                    "method": attribution.method,
                    "settings": dict(attribution.settings),
                    "origin": dict(attribution.origin),
                    "curve": None if attribution.curve is None else asdict(attribution.curve),
                    "unit": attribution.unit,
                    "additive": attribution.additive,
                    "warnings": list(attribution.warnings),
                    "full": attribution.full,
                    "layout": asdict(attribution.layout),
                    "renderer": attribution.renderer.name,
                    "view": attribution.renderer.store(attribution.view, folder, str(number)),
                }
            )
        (folder / ARRAYS).write_bytes(safetensors.numpy.save(arrays))  # with the user's own file mode
        manifest = {
            "format": FORMAT,
            "similarity": explanation.similarity,
            "provenance": dict(explanation.provenance),
            "attributions": rows,
            "files": {path.name: _digest(path) for path in sorted(folder.iterdir())},
        }
        text = json.dumps(manifest, indent=1, ensure_ascii=False)
        (folder / MANIFEST).write_bytes(text.encode("utf-8", "backslashreplace"))  # as JSON escapes
    except SafetensorError as error:
        raise StorageError(f"cannot write the explanation into {str(folder)!r}: {error}") from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(folder: Path) -> tuple[tuple[Attribution, Attribution], float, Mapping[str, Any]]:
    """The attributions, similarity and provenance that :func:`save` wrote. Raises :class:`StorageError`."""
    return read_whole(folder, _read)


def _read(folder: Path) -> tuple[tuple[Attribution, Attribution], float, Mapping[str, Any]]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest.get("format") != FORMAT:
            raise StorageError(
                f"{str(folder)!r} holds an explanation of format {manifest.get('format')!r}; this version reads {FORMAT}"
            )
        for name, digest in manifest.get("files", {}).items():
            if _digest(folder / Path(name).name) != digest:
                raise ValueError(f"{name} is not the file that was saved")
        arrays = load_file(folder / ARRAYS)
        first, second = (
            _attribution(row, n, arrays, folder) for n, row in enumerate(manifest["attributions"])
        )
        return (first, second), manifest["similarity"], manifest["provenance"]
    except StorageError:
        raise
    except FileNotFoundError as error:
        raise StorageError(
            f"{str(folder)!r} holds no explanation: {Path(error.filename or MANIFEST).name} is missing"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise StorageError(
            f"the explanation in {str(folder)!r} is damaged: {type(error).__name__}: {error}"
        ) from error


def _attribution(
    row: Mapping[str, Any], number: int, arrays: Mapping[str, np.ndarray], folder: Path
) -> Attribution:
    layout, curve = row["layout"], row["curve"]
    renderer = renderer_named(row["renderer"])
    return Attribution(
        modality=row["modality"],
        method=row["method"],
        grid=arrays[f"{number}.grid"],
        capacity=arrays.get(f"{number}.capacity"),
        against=arrays.get(f"{number}.against"),
        layout=Layout(
            grid=as_tuples(layout["grid"]),
            index=as_tuples(layout["index"]),
            read=layout["read"],
            tokens=tuple(Token(**token) for token in layout["tokens"]),
            axes=tuple(
                Axis(axis["name"], axis["unit"], as_tuples(axis["spans"])) for axis in layout.get("axes", ())
            ),
        ),
        curve=None if curve is None else Curve(**{name: as_tuples(values) for name, values in curve.items()}),
        settings=row["settings"],
        origin=row["origin"],
        view=renderer.restore(row["view"], folder),
        renderer=renderer,
        unit=row.get("unit", "nats"),
        additive=row.get("additive", True),
        full=row.get("full"),
        warnings=tuple(row.get("warnings", row["origin"].get("warnings", ()))),
    )
