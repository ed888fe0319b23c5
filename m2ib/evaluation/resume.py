"""Whose results a folder holds: an evaluation goes on with its own, and with no other's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from m2ib.contract.model import Model
from m2ib.data.pairs import Pair, Pairs
from m2ib.errors import StorageError
from m2ib.evaluation.store import FILE, Store
from m2ib.evaluation.study import ResolvedStudy
from m2ib.results.resume import differences, model_facts, version_facts

_MAY_GROW = ("methods", "seeds")  # what is there stays true when others are asked for


def check_same_study(store: Store, model: Model, pairs: Pairs, checked: ResolvedStudy) -> None:
    """The store is this evaluation's: a new one, or one that was cut off. Raises :class:`StorageError`."""
    asked = {
        "model": model_facts(model),
        "data": {"name": pairs.name, "modalities": list(pairs.modalities)},
        "study": checked.study.to_dict(),
        "versions": version_facts(),
    }
    asked = json.loads(json.dumps(asked))  # as it is read back
    differs = differences(store.fact("asked"), asked, ("model", "data", "study", "versions"), _MAY_GROW)
    if differs:
        raise StorageError(
            f"the folder holds an evaluation with another {', '.join(differs)}: use another folder, or begin anew "
            "with --force"
        )
    with store.whole():
        store.set_fact("asked", asked)
        store.set_fact("controls", [name for name, info in checked.methods.items() if info.spec.control])


def check_same_pairs(store: Store, number: int, rows: Sequence[tuple[int, Pair]]) -> None:
    """Raises :class:`StorageError` where the folder knows other pairs in this place."""
    pairs = [[pair.id, *(_named(raw) for _, raw in pair.inputs)] for _, pair in rows]
    known = store.fact(f"pairs {number}")
    if known is None:
        store.set_fact(f"pairs {number}", pairs)
    elif known != pairs:
        first = next((new[0] for old, new in zip(known, pairs, strict=False) if old != new), None)
        which = "more or fewer of them" if first is None else f"another {first!r}"
        raise StorageError(
            f"the folder holds an evaluation of other pairs ({which}): use another folder, or begin anew with --force"
        )


def discard(folder: Path) -> None:
    """Remove what an evaluation has found and kept in a folder. Raises :class:`StorageError`."""
    kept = [folder / f"{FILE}{end}" for end in ("", "-wal", "-shm")]
    try:
        for path in (*kept, *folder.glob("roar/*.pt"), *folder.glob("sanity-[01]-*.png")):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot begin anew in {str(folder)!r}: {error.strerror or error}") from error


def _named(raw: Any) -> str | None:
    """A text, or a file's name wherever its folder is now; None for what has neither."""
    return Path(raw).name if isinstance(raw, PathLike) else raw if isinstance(raw, str) else None
