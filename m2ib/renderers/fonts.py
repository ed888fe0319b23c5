"""Fonts for a figure's words: matplotlib's own knows few scripts, and would draw boxes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import regex

from m2ib.contract.plotting import library
from m2ib.contract.words import clusters
from m2ib.notices import warn

_UNDRAWN = regex.compile(r"\s|\p{Default_Ignorable_Code_Point}|\p{Cc}")
_SHAPED = regex.compile(r"\p{Bidi_Class=R}|\p{Bidi_Class=AL}|\p{Mc}|\p{Indic_Syllabic_Category=Virama}")
_SHAPES_FROM = (3, 11)  # matplotlib's version that joins letters and writes from right to left
MISSING = "□"


def readable(texts: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Each text as matplotlib can draw it, and the font families for it, of what is installed.

    Characters that no installed font has become ``□``, with a warning; another one where matplotlib is too old to
    draw a script.
    """
    matplotlib = library()
    usual = list(matplotlib.rcParams["font.family"])
    known = _usual_signs(tuple(usual))
    foreign = {text for text in texts if _signs(text) - known}
    held = _holding(frozenset().union(*map(_signs, foreign))) if foreign else ()
    drawn = []
    lacking: list[str] = []
    for text in texts:
        families: list[str] = []
        left = _signs(text) - (frozenset() if text in foreign else known)
        while left:  # the fewest fonts, each with as many of its characters as there are
            family, signs = max([*held, ("", known)], key=lambda each: len(left & each[1]))
            if not left & signs:
                break
            families += [family] if family else usual
            left -= signs
        spelt = [text[start:end] for start, end in clusters(text)]
        lacking += [sign for sign in spelt if left & set(sign)]
        shown = "".join(MISSING if left & set(sign) else sign for sign in spelt)
        drawn.append((shown, list(dict.fromkeys([*families, *usual]))))
    if lacking:
        some = list(dict.fromkeys(lacking))
        warn(
            f"figure: no installed font has {' '.join(some[:8])}{' ...' if len(some) > 8 else ''}, drawn as {MISSING}; "
            "install one (the Noto fonts have most scripts), or look at the page (to_html)"
        )
    if matplotlib.__version_info__[:2] < _SHAPES_FROM and any(map(_SHAPED.search, texts)):
        warn(
            f"figure: matplotlib {matplotlib.__version__} draws letters one by one from left to right, which is wrong "
            "for the script of these words; install matplotlib 3.11 or newer, or look at the page (to_html)"
        )
    return drawn


def _signs(text: str) -> frozenset[str]:
    """The characters of a text that need a glyph."""
    return frozenset(sign for sign in text if not _UNDRAWN.match(sign))


@lru_cache(maxsize=4)
def _usual_signs(families: tuple[str, ...]) -> frozenset[str]:
    from matplotlib.font_manager import FontProperties, findfont
    from matplotlib.ft2font import FT2Font

    paths = {findfont(FontProperties(family=[family])) for family in families}
    return frozenset(chr(code) for path in paths for code in FT2Font(path).get_charmap())


@lru_cache(maxsize=16)
def _holding(wanted: frozenset[str]) -> tuple[tuple[str, frozenset[str]], ...]:
    """(family, which of the characters it has) of the installed fonts that have any; plain ones first.

    Fonts that matplotlib has not seen yet are made known to it.
    """
    from matplotlib.font_manager import findSystemFonts, fontManager
    from matplotlib.ft2font import FT2Font

    known = {entry.fname for entry in fontManager.ttflist}
    found: dict[str, frozenset[str]] = {}
    for path in sorted(findSystemFonts(), key=_plainness):
        try:
            font = FT2Font(path)
            signs = wanted.intersection(map(chr, font.get_charmap()))
            name = font.family_name
            if (
                not signs
                or not font.scalable
                or name in found
                or "lastresort" in name.lower().replace(" ", "")
            ):
                continue
            if path not in known:
                fontManager.addfont(path)
        except (OSError, RuntimeError, ValueError):  # what is no font after all
            continue
        found[name] = signs
    return tuple(found.items())


def _plainness(path: str) -> tuple[bool, bool, int, str]:
    name = Path(path).stem
    return "Regular" not in name and "-" in name, "Sans" not in name, len(name), path
