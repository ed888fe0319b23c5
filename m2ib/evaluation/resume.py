"""Whose results a folder holds: an evaluation goes on with its own, and with no other's.

What a result belongs to is content: the weights, what the model was given of each pair, and where it is known that the
evidence is. What another one stood for before is forgotten, and computed again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from m2ib.contract.model import Model
from m2ib.data.pairs import Pair, Pairs
from m2ib.errors import StorageError
from m2ib.evaluation.prepared import PreparedPair
from m2ib.evaluation.store import Store
from m2ib.evaluation.study import ResolvedStudy
from m2ib.notices import warn
from m2ib.paths import local_path
from m2ib.results.resume import WEIGHTS, differences, digest, model_facts, version_facts

_LONGEST = 4096  # of a path
_MAY_GROW = ("methods", "seeds")  # what is there stays true when others are asked for


def check_same_study(store: Store, model: Model, pairs: Pairs, checked: ResolvedStudy) -> bool:
    """The store is this evaluation's: a new one, or one that was cut off; whether it was kept.

    What other weights gave is forgotten, with a warning. Raises :class:`StorageError`.
    """
    asked = {
        "model": model_facts(model),
        "data": {"name": pairs.name, "modalities": list(pairs.modalities)},
        "study": checked.study.to_dict(),
        "versions": version_facts(),
    }
    asked = json.loads(json.dumps(asked))  # as it is read back
    differs = differences(store.fact("asked"), asked, ("model", "data", "study", "versions"), _MAY_GROW)
    trained = differs == [f"model {WEIGHTS}"]
    if differs and not trained:
        raise StorageError(
            f"the folder holds an evaluation with another {', '.join(differs)}: use another folder, or begin anew "
            "with --force"
        )
    with store.whole():
        if trained:
            store.forget()
        store.set_fact("asked", asked)
        store.set_fact("controls", [name for name, info in checked.methods.items() if info.spec.control])
    if trained:
        warn("evaluate: the model's weights have changed since; everything is computed again")
    return not trained


@dataclass(frozen=True)
class KnownPair:
    """What the results of a pair belong to.

    id       its own
    key      SHA-256 of texts, boxes and regions, and of files' names, sizes and times; None where it is made of something else
    content  SHA-256 of what the model is given, bit for bit, and of boxes and regions; None of a pair that cannot be used
    """

    id: str
    key: str | None
    content: str | None


def known_pairs(store: Store, number: int, rows: Sequence[tuple[int, Pair]]) -> list[KnownPair]:
    """Those of a chunk, without content where they are new. Raises :class:`StorageError` where other ones were there."""
    found = [KnownPair(pair.id, key_of(pair), None) for _, pair in rows]
    before = store.fact(f"pairs {number}")
    if before is None:
        return found
    known = [KnownPair(*row) for row in before]
    if [each.id for each in known] != [each.id for each in found]:
        first = next((new.id for old, new in zip(known, found, strict=False) if old.id != new.id), None)
        which = "more or fewer of them" if first is None else f"another {first!r}"
        raise StorageError(
            f"the folder holds an evaluation of other pairs ({which}): use another folder, or begin anew with --force"
        )
    return known


def key_of(pair: Pair) -> str | None:
    """See :class:`KnownPair`."""
    try:
        return _hash([_plain(raw) for _, raw in pair.inputs], _known_of(pair))
    except TypeError:
        return None


def content_of(ready: PreparedPair) -> str:
    """See :class:`KnownPair`."""
    return _hash(digest(item.inputs for item in ready.items), _known_of(ready.pair))


def _known_of(pair: Pair) -> list[Any]:
    return [_plain(each) for each in (pair.boxes, pair.regions, pair.others, pair.filler, pair.along)]


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """JSON-able, another one for another value. Raises TypeError for what it does not know."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, bytes):
        return ["bytes", hashlib.sha256(value).hexdigest()]
    if isinstance(value, str):  # a text, or how somebody names a file
        return ["str", value, *(_looks(local_path(value)) if len(value) < _LONGEST else [])]
    if isinstance(value, PathLike):
        return ["path", Path(value).name, *_looks(local_path(value), inside=True)]
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return ["array", value.dtype.str, value.shape, hashlib.sha256(value.tobytes()).hexdigest()]
    if isinstance(value, Tensor):
        return ["tensor", digest([value])]
    if isinstance(value, Mapping):
        return ["dict", [[_plain(name), _plain(each)] for name, each in value.items()]]
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if is_dataclass(value):
        return [type(value).__name__, *(_plain(getattr(value, field.name)) for field in fields(value))]
    raise TypeError(type(value).__name__)


def _looks(path: Path, *, inside: bool = False) -> list[Any]:
    """Size and times of a file, or of all files in a folder; nothing where there is none of this name."""
    try:
        if inside and path.is_dir():
            return [[each.name, *_looks(each)] for each in sorted(path.rglob("*"))]
        found = path.stat()
    except (OSError, ValueError):
        return []
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]
