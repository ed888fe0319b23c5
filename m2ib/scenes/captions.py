"""Captions: the objects' names, colours and sizes among words that say nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from m2ib.contract.layout import Axis
from m2ib.scenes.icons import KINDS
from m2ib.scenes.plan import COLOURS, SIZES, ScenePlan, plan

_OPENINGS = (
    "a photo of", "a picture of", "there is", "here we see", "this scene has", "one can find", "this shows",
    "look at", "we have", "",
)  # fmt: skip
_JOINS = ("and", "next to", "with", "near", "beside", "close to", "together with")
_ENDINGS = ("outside", "at home", "in view", "right here", "today", "for us", "", "", "", "")
_PURPOSE = 5

_TELLING = {*KINDS, *COLOURS, *SIZES}

WORDS = tuple(sorted({"a", *_TELLING, *" ".join((*_OPENINGS, *_JOINS, *_ENDINGS)).split()}))
"""Every word that captions and queries are made of."""


@dataclass(frozen=True)
class Named:
    """One object of a caption: numbers of its kind, and of its colour and size, -1 where they are not said."""

    kind: int
    colour: int = -1
    size: int = -1


def sentence(objects: Sequence[Named], random: np.random.Generator) -> str:
    """The objects in this order, with an opening, joining words and an ending, at most 22 words."""

    def one_of(phrases: Sequence[str]) -> str:
        return phrases[int(random.integers(len(phrases)))]

    parts = [one_of(_OPENINGS)]
    for place, named in enumerate(objects):
        if place:
            parts.append(one_of(_JOINS))
        parts.append("a")
        parts += [SIZES[named.size]] if named.size >= 0 else []
        parts += [COLOURS[named.colour]] if named.colour >= 0 else []
        parts.append(KINDS[named.kind])
    parts.append(one_of(_ENDINGS))
    return " ".join(" ".join(parts).split())


def objects_of(plan: ScenePlan, scene: int) -> list[Named]:
    """All objects of one scene, with colour and size."""
    return [
        Named(int(plan.kind[scene, slot]), int(plan.colour[scene, slot]), int(plan.size[scene, slot]))
        for slot in range(int(plan.count[scene]))
    ]


def captions(plan: ScenePlan) -> list[str]:
    """A caption for each scene that names every object with its size and colour."""
    return [sentence(objects_of(plan, scene), random) for scene, random in enumerate(plan.random(_PURPOSE))]


def query(kind: str, seed: int = 0) -> str:
    """A text that names one kind and nothing else: "a photo of a bell" for the seed 0.

    Raises :class:`InputError` for what is no kind.
    """
    named = Named(int(plan([seed], kinds=(kind,)).kind[0, 0]))
    if seed == 0:
        return f"{_OPENINGS[0]} a {kind}"
    return sentence([named], np.random.default_rng((seed, _PURPOSE)))


def words(text: str) -> list[tuple[str, int, int]]:
    """(word, start, end) in reading order."""
    return [(match.group(), *match.span()) for match in re.finditer(r"\w+", text)]


def masks(text: str, kinds: Sequence[str]) -> tuple[dict[str, np.ndarray], Axis, np.ndarray]:
    """By kind, which words name it, (words,) bool; the words' places; and which words are filler."""
    found = words(text)
    named = {kind: np.array([word == kind for word, _, _ in found]) for kind in kinds}
    axis = Axis("word", "characters", tuple((float(start), float(end)) for _, start, end in found))
    return named, axis, np.array([word not in _TELLING for word, _, _ in found])
