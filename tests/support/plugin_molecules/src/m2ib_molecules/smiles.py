"""SMILES -> atoms with their places in the string, and bonds."""

import re
from dataclasses import dataclass

import m2ib

ELEMENTS = ["B", "C", "N", "O", "F", "Na", "P", "S", "Cl", "Br", "I"]
AROMATIC = ["b", "c", "n", "o", "p", "s"]
DUMMY = "*"
_ORDERS = {"-": 1, "=": 2, "#": 3, ":": 1, "/": 1, "\\": 1}
_PART = re.compile(
    r"(?P<atom>Cl|Br|[BCNOPSFI]|[bcnops]|\*)"
    r"|\[\d*(?P<bracket>[A-Z][a-z]?|[a-z]|\*)@{0,2}(H\d*)?([+-]\d+|\++|-+)?(:\d+)?\]"  # isotope, chirality, H, charge, class
    r"|(?P<ring>\d|%\d\d)|(?P<bond>[-=#:/\\])|(?P<open>\()|(?P<close>\))|(?P<dot>\.)"
)


@dataclass(frozen=True)
class Molecule:
    """symbols and spans of the atoms, in the string's order; bonds (first, second, order)."""

    smiles: str
    symbols: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    bonds: tuple[tuple[int, int, int], ...]


def read_smiles(raw: object) -> Molecule:
    """Hydrogens, charges, isotopes and chirality are read past. Raises :class:`m2ib.InputError` for what is no SMILES."""
    if not isinstance(raw, str) or not raw:
        raise m2ib.InputError(f"smiles: {raw!r:.40} is no SMILES string, such as 'CCO'")

    def refuse(what: str, place: int) -> m2ib.InputError:
        return m2ib.InputError(
            f"smiles {raw!r}: {what} at character {place + 1}; atoms are {' '.join([*ELEMENTS, *AROMATIC, DUMMY])}"
        )

    symbols: list[str] = []
    spans: list[tuple[int, int]] = []
    bonds: dict[tuple[int, int], int] = {}
    branches: list[tuple[int, int]] = []  # (atom, place) where each begins
    rings: dict[str, tuple[int, int | None, int]] = {}  # (atom, order, place) where each begins
    before: int | None = None  # the atom that the next one is bonded to
    order: int | None = None  # of the bond that was written last, until it is used
    place = 0
    while place < len(raw):
        part = _PART.match(raw, place)
        if part is None:
            raise refuse(f"{raw[place]!r} is not understood", place)
        sign = part.group()
        if symbol := part["atom"] or part["bracket"]:
            if symbol not in (*ELEMENTS, *AROMATIC, DUMMY):
                raise refuse(f"{symbol!r} is not known", place)
            if before is not None:
                bonds[before, len(symbols)] = order or 1
            before, order = len(symbols), None
            symbols.append(symbol)
            spans.append(part.span())
        elif before is None:
            raise refuse(f"{sign!r} comes before any atom", place)
        elif part["ring"] and sign in rings:
            first, opened, _ = rings.pop(sign)
            if first == before or (first, before) in bonds:
                raise refuse(f"ring {sign} joins an atom with itself or with a neighbour", place)
            if opened and order and opened != order:
                raise refuse(f"ring {sign} closes with another bond than it begins with", place)
            bonds[first, before] = order or opened or 1
            order = None
        elif part["ring"]:
            rings[sign], order = (before, order, place), None
        elif order is not None:
            raise refuse(f"{sign!r} follows a bond", place)
        elif part["bond"]:
            order = _ORDERS[sign]
        elif part["open"]:
            branches.append((before, place))
        elif part["dot"]:
            before = None
        elif not branches or raw[place - 1] == "(":
            raise refuse("')' closes nothing", place)
        else:
            before = branches.pop()[0]
        place = part.end()
    if branches:
        raise refuse("the branch is left open that begins", branches[-1][1])
    if rings:
        sign, (_, _, place) = next(iter(rings.items()))
        raise refuse(f"ring {sign} is left open that begins", place)
    if before is None or order is not None:
        raise refuse("an atom is missing", len(raw))
    found = tuple((first, second, order) for (first, second), order in bonds.items())
    return Molecule(raw, tuple(symbols), tuple(spans), found)
