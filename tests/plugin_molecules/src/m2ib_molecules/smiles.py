"""SMILES of the organic subset -> atoms with their places in the string, and bonds."""

import re
from dataclasses import dataclass

import m2ib

_PART = re.compile(
    r"(?P<atom>Cl|Br|[BCNOPSFI]|[bcnops])|(?P<ring>\d)|(?P<bond>[-=#:])|(?P<open>\()|(?P<close>\))"
)


@dataclass(frozen=True)
class Molecule:
    """symbols and spans of the atoms, in the string's order; bonds (first, second, order)."""

    smiles: str
    symbols: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    bonds: tuple[tuple[int, int, int], ...]


def read_smiles(raw: object) -> Molecule:
    """Raises :class:`m2ib.InputError` for what is none."""
    if not isinstance(raw, str) or not raw:
        raise m2ib.InputError(f"smiles: {raw!r:.40} is no SMILES string, such as 'CCO'")
    symbols: list[str] = []
    spans: list[tuple[int, int]] = []
    bonds: list[tuple[int, int, int]] = []
    branches: list[int] = []
    rings: dict[str, int] = {}
    before, order, place = -1, 1, 0

    def refuse(what: str) -> m2ib.InputError:
        return m2ib.InputError(
            f"smiles {raw!r}: {what} at character {place + 1}; atoms are B C N O P S F I Cl Br, aromatic ones b c n o p s"
        )

    while place < len(raw):
        part = _PART.match(raw, place)
        if part is None:
            raise refuse(f"{raw[place]!r} is not understood")
        sign = part.group()
        if part["atom"]:
            if before >= 0:
                bonds.append((before, len(symbols), order))
            before, order = len(symbols), 1
            symbols.append(sign)
            spans.append(part.span())
        elif before < 0:
            raise refuse(f"{sign!r} stands before any atom")
        elif part["bond"]:
            order = {"-": 1, "=": 2, "#": 3, ":": 1}[sign]
        elif part["ring"] and sign in rings:
            bonds.append((rings.pop(sign), before, order))
            order = 1
        elif part["ring"]:
            rings[sign] = before
        elif part["open"]:
            branches.append(before)
        elif branches:
            before = branches.pop()
        else:
            raise refuse("')' closes no branch")
        place = part.end()
    if branches or rings:
        raise refuse("a branch is left open" if branches else f"the ring {next(iter(rings))} is left open")
    return Molecule(raw, tuple(symbols), tuple(spans), tuple(bonds))
