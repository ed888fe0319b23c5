"""The numeric result for one input."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from m2ib.contract import Axis, Layout, Token
from m2ib.fit import Curve
from m2ib.shifts import axes_at

if TYPE_CHECKING:
    from m2ib.renderers import Renderer


@dataclass(frozen=True, eq=False)
class Attribution:
    """How much each position of one input tells about the other input.

    modality  of the input
    method    that made it
    grid      raw values on the encoder's own grid, unscaled: (rows, cols), (tokens,), ...; with ``shifts``
              each cell is split in as many as there are shifts along its axes, and with ``smooth`` smoothed
    capacity  of the bottleneck: the same at every position of the activation, class and register tokens included,
              never smoothed; with ``shifts`` the mean over them. None for other methods
    against   for a contrast: the grid when the target points the other way, what speaks for the other
              side; None otherwise
    layout    what the positions are
    curve     how the fit went; with ``shifts`` the mean over them. None for methods that fit nothing
    settings  resolved settings, JSON-able
    origin    where the input came from and how it was prepared, JSON-able
    view      what the renderer shows
    renderer  how it is looked at and stored
    unit      of the values: "nats" of the bottleneck, "cosine", "" for none
    additive  whether values add up, so that a word has the sum of its tokens'; otherwise it has their mean
    """

    modality: str
    method: str
    grid: np.ndarray
    capacity: np.ndarray | None
    layout: Layout
    curve: Curve | None
    settings: Mapping[str, Any]
    view: Any
    renderer: Renderer
    origin: Mapping[str, Any] = field(default_factory=dict)
    against: np.ndarray | None = None
    unit: str = "nats"
    additive: bool = True

    @property
    def scores(self) -> np.ndarray:
        """The map in [0, 1] at the model's input size, for looking at: min-max scaled.

        Special tokens of a text are left out of the scale and have the score 0; ``grid`` keeps them.
        """
        return self.renderer.scores(self.grid, self)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The grid's axes in the raw input's own units (seconds, hertz, pixels, ...); () where unknown."""
        return axes_at(self.layout.axes, self.grid.shape)

    @property
    def tokens(self) -> tuple[str, ...]:
        """Texts: the tokens, specials included, one for each value of ``grid``. Otherwise empty."""
        return tuple(token.text for token in self.layout.tokens)

    @property
    def words(self) -> list[tuple[str, float]]:
        """Texts: (word, value) pairs in reading order. Otherwise empty.

        Tokens are merged by their offsets in the text; a word's value is the sum of its tokens' values
        (capacities are nats and add up), or their mean where values do not add up. Special tokens belong to no word.
        """
        if not self.layout.tokens:
            return []
        return merge_words(self.view["text"], self.layout.tokens, self.grid, mean=not self.additive)

    def __repr__(self) -> str:
        return (
            f"Attribution({self.modality}, method={self.method!r}, grid={self.grid.shape}, "
            f"total={self.grid.sum():.4g}{self.unit and ' '}{self.unit}, layer={self.settings.get('layer')})"
        )


# A word is a run of letters and digits (with inner apostrophes and hyphens), one character of a script
# that writes no spaces, or a run of other signs.
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]"
    r"|[^\W\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+(?:['’-][^\W\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+)*"
    r"|[^\w\s]+"
)


def merge_words(
    text: str, tokens: Sequence[Token], values: np.ndarray, *, mean: bool = False
) -> list[tuple[str, float]]:
    """Sum ``values`` (tokens,) over the words of ``text`` that the tokens' offsets fall into, or their mean."""
    spans = [match.span() for match in _WORD.finditer(text)]
    totals = [0.0] * len(spans)
    counts = [0] * len(spans)
    owner: list[int | None] = [None] * len(spans)  # the first word of the run that a token joins
    for token, value in zip(tokens, values, strict=True):
        if token.special:
            continue
        start = token.start
        while start < token.end - 1 and text[start].isspace():  # a token may carry the space before it
            start += 1
        end = max(token.end, start + 1)
        touched = [number for number, (first, last) in enumerate(spans) if first < end and start < last]
        if not touched:
            continue
        head = owner[touched[0]]
        head = touched[0] if head is None else head
        for number in touched:  # a token that spans several words makes them one
            owner[number] = head
            if number != head:
                totals[head] += totals[number]
                counts[head] += counts[number]
                totals[number] = counts[number] = 0
        totals[head] += float(value)
        counts[head] += 1
    words = []
    for number, (first, _) in enumerate(spans):
        if owner[number] == number:
            last = max(end for (_, end), head in zip(spans, owner, strict=True) if head == number)
            words.append((text[first:last], totals[number] / (counts[number] if mean else 1)))
    return words
