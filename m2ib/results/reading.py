"""Saved explanations read again: whatever is in the folder is held against what ``save`` writes before it is used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from m2ib.contract.attribution import Attribution, Renderer
from m2ib.contract.curve import Curve
from m2ib.contract.interactions import Interactions, Units
from m2ib.contract.layout import Axis, Layout
from m2ib.contract.null import Null
from m2ib.contract.pair import AttributionPair
from m2ib.contract.schema import parsed, read_json
from m2ib.contract.segments import Segments
from m2ib.errors import M2IBError, PluginError, StorageError
from m2ib.folders import read_whole
from m2ib.paths import is_text
from m2ib.registry.foreign import renderer_code
from m2ib.renderers import renderer_named
from m2ib.renderers.view_storage import read_arrays, stored_bytes
from m2ib.results.storage import ARRAYS, FORMAT, MANIFEST, NULL_MAPS

_LONGEST_MANIFEST = 2**23  # bytes


@dataclass(frozen=True)
class _Null:
    similarities: tuple[float, ...]
    similarity: float


@dataclass(frozen=True)
class StoredSegments:
    """Segments without their arrays."""

    names: tuple[str, ...]
    axes: tuple[Axis, ...]
    hidden: bool


@dataclass(frozen=True)
class StoredAttribution:
    """One attribution as it is described in JSON; its arrays are elsewhere."""

    modality: str
    method: str
    settings: Mapping[str, Any]
    origin: Mapping[str, Any]
    curve: Curve | None
    unit: str
    additive: bool
    warnings: tuple[str, ...]
    full: float | None
    layout: Layout
    renderer: str
    view: Mapping[str, Any]
    null: _Null | None = None
    units: StoredSegments | None = None


@dataclass(frozen=True)
class StoredInteractions:
    """Interactions without their matrix."""

    units: tuple[Units, Units]
    method: str
    unit: str
    settings: Mapping[str, Any]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Manifest:
    format: int
    similarity: float
    provenance: Mapping[str, Any]
    attributions: tuple[StoredAttribution, StoredAttribution]
    files: Mapping[str, str]
    interactions: StoredInteractions | None


@dataclass(frozen=True)
class Usual:
    """What pages read in ``provenance["usual"]``, by modality."""

    inputs: int
    below: float
    median: float
    greatest: float


_DRAWN = ("modality", "method", "unit", "layout", "view")  # as text, which fonts must have
_NAMED = {"ensemble": tuple[str, ...], "rather_than": tuple[str, ...]}  # what pages read in ``origin``


Parts = tuple[tuple[Attribution, Attribution], float, Mapping[str, Any], Interactions | None]


def read(folder: Path) -> Parts:
    """The attributions, similarity, provenance and interactions that ``save`` wrote.

    Raises :class:`StorageError` for a folder that holds none, and for one that holds anything else than was written.
    """
    return read_whole(folder, lambda place: _read(place, folder))


def _read(place: Path, folder: Path) -> Parts:
    """Of the files in ``place``; what is said names ``folder``."""
    try:
        content = read_json(stored_bytes(place, MANIFEST, _LONGEST_MANIFEST))
        written = content.get("format") if isinstance(content, dict) else None
        if written != FORMAT:
            raise StorageError(
                f"{str(folder)!r} holds an explanation of format {written!r:.60}; this version reads {FORMAT}: explain the "
                "pair again, or read it with the version that wrote it"
            )
        manifest: _Manifest = parsed(_Manifest, content, "manifest")
        for number, row in enumerate(content["attributions"]):
            if not is_text(
                json.dumps([row[name] for name in _DRAWN] + [row.get("units")], ensure_ascii=False)
            ):
                raise ValueError(f"manifest.attributions[{number}] holds half a character (a lone surrogate)")
        parsed(Mapping[str, Usual], manifest.provenance.get("usual", {}), "manifest.provenance.usual")
        for name, digest in manifest.files.items():
            if hashlib.sha256(stored_bytes(place, name)).hexdigest() != digest:
                raise ValueError(f"{name!r:.80} is not the file that was saved")
        arrays = read_arrays(place, ARRAYS)
        first, second = (_attribution(row, n, arrays, place) for n, row in enumerate(manifest.attributions))
        interactions = None
        if manifest.interactions is not None:
            interactions = Interactions(_taken(arrays, "interactions"), **vars(manifest.interactions))
        if arrays:
            raise ValueError(f"{ARRAYS} holds {min(arrays)!r:.60}, which does not belong there")
        found = (first, second), manifest.similarity, manifest.provenance, interactions
        AttributionPair(*found)  # refuses what does not belong together
        return found
    except StorageError:
        raise
    except FileNotFoundError as error:
        raise StorageError(
            f"{str(folder)!r} holds no explanation: {Path(error.filename or MANIFEST).name} is missing"
        ) from error
    except Exception as error:  # whatever decoders and renderers of plugins say of a damaged file
        raise StorageError(
            f"the explanation in {str(folder)!r} is damaged: {said(error)}; save it again"
        ) from error


def said(error: Exception) -> str:
    """On one line, not too long."""
    if isinstance(error, RecursionError):
        return "its manifest has too many mappings and lists in each other"
    if isinstance(error, OSError):
        return f"{Path(str(error.filename or 'a file')).name} cannot be read: {error.strerror or error}"
    said = " ".join(str(error).split())
    return (
        said[:400] if isinstance(error, (M2IBError, ValueError)) else f"{type(error).__name__}: {said:.200}"
    )


def _attribution(
    row: StoredAttribution, number: int, arrays: dict[str, np.ndarray], folder: Path
) -> Attribution:
    """``arrays`` loses what belongs to it."""
    grid = _taken(arrays, f"{number}.grid")
    more: dict[str, Any] = {
        name: arrays.pop(f"{number}.{name}", None) for name in ("capacity", "against", "by_seed")
    }
    if row.null is not None:
        mean, deviation = (_taken(arrays, f"{number}.null_{name}") for name in NULL_MAPS)
        more["null"] = Null(mean, deviation, row.null.similarities, row.null.similarity)
    if (known := row.units) is not None:
        labels, values = (_taken(arrays, f"{number}.{name}") for name in ("segments", "units"))
        more["segments"] = Segments(known.names, labels, known.axes, values, known.hidden)
    return rebuilt(row, f"manifest.attributions[{number}]", grid, **more, folder=folder)


def _taken(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    found = arrays.pop(name, None)
    if found is None:
        raise ValueError(f"{ARRAYS} lacks {name!r}")
    return found


def rebuilt(
    row: StoredAttribution,
    where: str,
    grid: np.ndarray,
    *,
    capacity: np.ndarray | None = None,
    against: np.ndarray | None = None,
    by_seed: np.ndarray | None = None,
    null: Null | None = None,
    segments: Segments | None = None,
    folder: Path | None = None,
    view: Any = None,
) -> Attribution:
    """The attribution that a description and arrays are of.

    where   in messages
    folder  of what the renderer stored of the view, which ``row`` names; None where ``view`` is given

    Raises ValueError and OSError for what does not belong together, and :class:`M2IBError`.
    """
    for name, kind in _NAMED.items():
        parsed(kind, row.origin.get(name, []), f"{where}.origin.{name}")
    if "sha256" in row.origin:
        parsed(str, row.origin.get("source"), f"{where}.origin.source")
    renderer = renderer_named(row.renderer)
    if folder is not None:
        view = _view(row, where, renderer, folder)
    found = Attribution(
        modality=row.modality,
        method=row.method,
        grid=grid,
        capacity=capacity,
        against=against,
        by_seed=by_seed,
        null=null,
        segments=segments,
        layout=row.layout,
        curve=row.curve,
        settings=row.settings,
        origin=row.origin,
        view=view,
        renderer=renderer,
        unit=row.unit,
        additive=row.additive,
        full=row.full,
        warnings=row.warnings,
    )
    found.check()
    return found


def _view(row: StoredAttribution, where: str, renderer: Renderer, folder: Path) -> Any:
    try:
        with renderer_code(renderer):
            return renderer.restore(row.view, folder)
    except PluginError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise error.__cause__ from None
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        raise ValueError(f"{where}, which the renderer {row.renderer!r:.60} shows: {said(cause)}") from error
    except Exception as error:
        raise ValueError(f"{where}, which the renderer {row.renderer!r:.60} shows: {said(error)}") from error
