"""Whose results a folder holds: an evaluation goes on with its own, and with no other's.

What a result belongs to is content: the weights, what the model was given of each pair, and where it is known that the
evidence is. What another one stood for before is forgotten, and computed again.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from m2ib.contract.model import Model
from m2ib.data.pairs import Pair, Pairs
from m2ib.errors import InputError, PluginError, StorageError
from m2ib.evaluation.prepared import PreparedPair, prepared
from m2ib.evaluation.store import Store
from m2ib.evaluation.study import ResolvedStudy
from m2ib.folders import sound
from m2ib.notices import warn
from m2ib.registry.foreign import plugin_code
from m2ib.results.resume import WEIGHTS, differences, digest, model_facts, plain, version_facts

_MAY_DIFFER = ("methods", "seeds", "batch_size")  # what is there stays true when others are asked for


Forget = Callable[[], None]
"""Removes the trainings of ROAR+ that a folder keeps."""


def check_same_study(
    store: Store, model: Model, pairs: Pairs, checked: ResolvedStudy, forget: Forget
) -> None:
    """The store is this evaluation's: a new one, or one that was cut off.

    What other weights gave is forgotten, with a warning. Raises :class:`StorageError`.
    """
    asked = {
        "model": model_facts(model),
        "data": {"name": pairs.name, "modalities": list(pairs.modalities)},
        "study": checked.study.to_dict(),
        "versions": version_facts(),
    }
    asked = json.loads(json.dumps(asked))  # as it is read back
    known = store.fact("asked")
    with sound(store.path):
        differs = differences(known, asked, ("model", "data", "study", "versions"), _MAY_DIFFER)
    others = [each for each in differs if each != f"model {WEIGHTS}"]
    trained = bool(differs) and not others
    if others:
        raise StorageError(
            f"the folder holds an evaluation with another {', '.join(others)}: use another folder, or begin anew "
            "with --force"
        )
    if trained:
        forget()
    with store.whole():
        if trained:
            store.forget()
        store.set_fact("asked", asked)
        store.set_fact("controls", [name for name, info in checked.methods.items() if info.spec.control])
    if trained:
        warn("evaluate: the model's weights or files have changed since; everything is computed again")


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


@dataclass(frozen=True)
class CheckedPairs:
    """What a look at a chunk's pairs found.

    now      of each pair, in their order
    reasons  why a pair cannot be used, by id
    changed  ids of those that are not as they were
    alike    whether those that look as they did are
    """

    now: Sequence[KnownPair]
    reasons: Mapping[str, str]
    changed: Sequence[str]
    alike: bool


def looked_at(
    model: Model,
    rows: Sequence[tuple[int, Pair]],
    known: Sequence[KnownPair] | None,
    bad: Collection[str],
    *,
    look: bool,
) -> tuple[CheckedPairs | None, list[PreparedPair]]:
    """A chunk's pairs that can be used, and where it was asked whether they are as they were.

    known  what is known of them
    bad    ids of those that could not be used before

    Raises :class:`StorageError` for a pair that could be used and cannot any more.
    """
    if not look:
        return None, [prepared(model, number, pair) for number, pair in rows if pair.id not in bad]
    found: dict[str, PreparedPair] = {}
    reasons: dict[str, str] = {}
    for number, pair in rows:
        try:
            with plugin_code("the model"):
                found[pair.id] = prepared(model, number, pair)
        except (InputError, PluginError) as error:
            reasons[pair.id] = str(error)
    for each in known or ():
        if each.content is not None and each.id in reasons:
            raise StorageError(
                f"the pair {each.id!r} could be used when this evaluation began, and cannot now: {reasons[each.id]}; "
                "bring it back, or begin anew with --force"
            )
    contents = {name: content_of(each) for name, each in found.items()}
    now = [KnownPair(pair.id, key_of(pair), contents.get(pair.id)) for _, pair in rows]
    changed = [each.id for each in known or () if each.content != contents.get(each.id)]
    alike = not same_keys(known, now) & {*changed}
    return CheckedPairs(now, reasons, changed, alike), list(found.values())


def same_keys(known: Sequence[KnownPair] | None, now: Sequence[KnownPair]) -> set[str]:
    """Ids of the pairs that look as they did."""
    return {
        old.id
        for old, new in zip(known or (), now, strict=False)
        if new.key is not None and new.key == old.key
    }


class PairCheck:
    """Whether pairs are those that the results in a folder were made of. What was made of others is forgotten."""

    def __init__(self, store: Store, forget: Forget) -> None:
        self._store = store
        self._forget = forget
        self._told = False
        self.alike = True  # whether inputs are made ready as they were

    def chunks(self, rows: Iterator[tuple[int, Pair]], most: int) -> Iterator[list[tuple[int, Pair]]]:
        """Those that were begun before, and then ``most`` pairs at a time: another number makes no chunk another one."""
        for number in itertools.count():
            known = self.size(number)
            chunk = list(itertools.islice(rows, known or most))
            if not chunk:
                return
            if not known:
                self._store.set_fact(f"size {number}", len(chunk))
            yield chunk

    def size(self, number: int) -> int:
        """How many pairs a chunk has that was begun before; 0 of a new one."""
        with sound(self._store.path):
            return int(self._store.fact(f"size {number}") or 0)

    def ids(self, number: int) -> list[str] | None:
        """Of a chunk's pairs, as far as they were looked at; of none after the last one, None of one that is new."""
        before = self._store.fact(f"pairs {number}")
        with sound(self._store.path):
            return None if before is None else [KnownPair(*row).id for row in before]

    def known(self, number: int, rows: Sequence[tuple[int, Pair]]) -> list[KnownPair] | None:
        """Those of a chunk; None for a new one. Raises :class:`StorageError` where other ones were there."""
        before = self._store.fact(f"pairs {number}")
        if before is None:
            return None
        with sound(self._store.path):
            known = [KnownPair(*row) for row in before]
        ids = [pair.id for _, pair in rows]
        if [each.id for each in known] != ids:
            first = next((new for old, new in zip(known, ids, strict=False) if old.id != new), None)
            which = "more or fewer of them" if first is None else f"another {first!r}"
            raise StorageError(
                f"the folder holds an evaluation of other pairs ({which}): use another folder, or begin anew with --force"
            )
        return known

    def must_look(
        self, number: int, rows: Sequence[tuple[int, Pair]], known: Sequence[KnownPair] | None
    ) -> bool:
        """Whether pairs may not be as they were. The first chunk is always looked at: it tells whether inputs are still made ready in
        the same way."""
        now = [KnownPair(pair.id, key_of(pair), None) for _, pair in rows]
        return number == 0 or not self.alike or len(same_keys(known, now)) < len(rows)

    def settle(self, number: int, checked: CheckedPairs) -> None:
        """Keep what a look found; what has changed since is forgotten."""
        self.alike = self.alike and checked.alike
        changed = checked.changed
        if changed:
            self._forget()
        with self._store.whole():
            if changed:
                self._store.forget(number, changed)
            for name, reason in checked.reasons.items():
                self._store.note("bad pair", name, reason)
            now = [(each.id, each.key, each.content) for each in checked.now]
            self._store.set_fact(f"pairs {number}", now)
        if changed and not self._told:
            self._told = True
            why = "" if self.alike else ": the model makes inputs ready in another way"
            warn(
                f"evaluate: the pair {changed[0]!r} has changed since{why}; what has changed is computed again"
            )


def key_of(pair: Pair) -> str | None:
    """See :class:`KnownPair`."""
    try:
        return _hash([plain(raw) for _, raw in pair.inputs], _known_of(pair))
    except TypeError:
        return None


def content_of(ready: PreparedPair) -> str:
    """See :class:`KnownPair`."""
    return _hash(digest(item.inputs for item in ready.items), _known_of(ready.pair))


def _known_of(pair: Pair) -> list[Any]:
    return [plain(each) for each in (pair.boxes, pair.regions, pair.others, pair.filler, pair.along)]


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
