"""Which ids were met before, in little memory: a million of them take 32 MiB."""

from __future__ import annotations

from array import array

_FIRST = 2**10  # slots
_BITS = 40  # of a place's number; those above say its kind
_MOST_KINDS = 2**16


class SeenIds:
    """A hash table of 16 bytes a slot: 64 bits of an id's hash, and where it was.

    Among n ids, two different ones have the same 64 bits with a chance of n^2 / 2^65: 3e-8 for a million.
    """

    def __init__(self) -> None:
        self._hashes = array("Q", [0]) * _FIRST  # 0: an empty slot
        self._places = array("Q", [0]) * _FIRST
        self._kinds: dict[str, int] = {}  # "line": 1, ...; 0: another one
        self._count = 0

    def before(self, identity: str, place: str) -> str | None:
        """Where an id was first: "line 12", "" if that is not kept; None of a new one, which is kept from now on."""
        key = hash(identity) % 2**64 or 1
        slot = self._slot(key)
        if self._hashes[slot]:
            return self._told(self._places[slot])
        self._hashes[slot], self._places[slot] = key, self._coded(place)
        self._count += 1
        if 3 * self._count > 2 * len(self._hashes):
            self._grow()
        return None

    def _slot(self, key: int) -> int:
        """The one that holds a hash, or an empty one for it."""
        hashes, last = self._hashes, len(self._hashes) - 1
        slot = key & last
        while hashes[slot] not in (0, key):
            slot = (slot + 1) & last
        return slot

    def _grow(self) -> None:
        hashes, places = self._hashes, self._places
        self._hashes, self._places = (array("Q", [0]) * (2 * len(hashes)) for _ in range(2))
        for key, place in zip(hashes, places, strict=True):
            if key:
                slot = self._slot(key)
                self._hashes[slot], self._places[slot] = key, place

    def _coded(self, place: str) -> int:
        """A place that ends in a number."""
        kind, _, number = place.rpartition(" ")
        if not number.isdecimal() or len(number) > 12 or str(int(number)) != number:
            return 0
        if kind not in self._kinds and len(self._kinds) == _MOST_KINDS:
            return 0
        return self._kinds.setdefault(kind, len(self._kinds) + 1) << _BITS | int(number)

    def _told(self, code: int) -> str:
        if not code:
            return ""
        kind = next(kind for kind, number in self._kinds.items() if number == code >> _BITS)
        return f"{kind} {code & (2**_BITS - 1)}"
