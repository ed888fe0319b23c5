"""One pair explained in several ways, and figures of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, overload

from m2ib.contract.notebook import framed
from m2ib.contract.pair import AttributionPair
from m2ib.contract.plotting import png_of
from m2ib.errors import InputError, did_you_mean
from m2ib.page.comparison import check_one_pair
from m2ib.page.explanation import write_comparison
from m2ib.page.figure_grid import Row, draw_rows
from m2ib.page.titles import caption_of, similarity_of
from m2ib.renderers.looks import Scale
from m2ib.results.explanation import Explanation

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Sequence[Explanation]):
    """One pair explained in several ways: a sequence of explanations, each with a name.

    explanations  of the same pair, in order
    names         of each, "gradcam" or "layer 3": they are indexed by it as well, and it stands over their maps; (): their methods
    swept         the setting that differs; None where methods do, or whatever else

    Raises :class:`InputError` for explanations of different pairs, and for names that are not one for each.
    """

    explanations: Sequence[Explanation]
    names: Sequence[str] = ()
    swept: str | None = None

    def __post_init__(self) -> None:
        check_one_pair(self.explanations)
        names = tuple(self.names) or tuple(each[0].method for each in self.explanations)
        if len(names) != len(self.explanations) or len({*names}) != len(names):
            raise InputError(
                f"comparison: the names are {', '.join(map(repr, names)):.200}; give names=[...] with a different one for each of the "
                f"{len(self.explanations)} explanations"
            )
        object.__setattr__(self, "explanations", tuple(self.explanations))
        object.__setattr__(self, "names", names)

    @overload
    def __getitem__(self, key: int | str) -> Explanation: ...
    @overload
    def __getitem__(self, key: slice) -> Comparison: ...
    def __getitem__(self, key: int | str | slice) -> Explanation | Comparison:
        """By position or by name; a slice of several."""
        if isinstance(key, slice):
            return replace(self, explanations=self.explanations[key], names=self.names[key])
        if isinstance(key, Integral):
            return self.explanations[int(key)]
        if key not in self.names:
            raise InputError(
                f"comparison: there is no {key!r:.60}{did_you_mean(key, self.names)} There is {', '.join(self.names)}"
            )
        return self.explanations[self.names.index(str(key))]

    def __len__(self) -> int:
        return len(self.explanations)

    def figure(self, *, cmap: str | None = None, scale: Scale = "own") -> Figure:
        """A matplotlib figure: a row for each of the two inputs, a column for each explanation.

        cmap, scale  see :meth:`Explanation.figure`
        """
        first = self.explanations[0]
        rows = [
            Row(attribution.modality, "", [each[place] for each in self.explanations])
            for place, attribution in enumerate(first)
        ]
        title = similarity_of(first)
        return draw_rows(rows, self.names, swept=self.swept, title=title, cmap=cmap, scale=scale)

    def to_html(self, path: str | Path, *, title: str | None = None) -> Path:
        """Write one self-contained page with all maps side by side, and give its path back. Raises :class:`StorageError`."""
        return write_comparison(self.explanations, path, title=title, names=self.names)

    def _repr_html_(self) -> str:
        rows = [
            [replace(side, method=name) for name, side in zip(self.names, row, strict=True)]
            for row in zip(*(each._sides(f"m{n}-") for n, each in enumerate(self.explanations)), strict=True)
        ]
        return framed(repr(self), rows)

    def _repr_png_(self) -> bytes:
        return png_of(self.figure())

    def __repr__(self) -> str:
        first = self.explanations[0]
        by = f"{self.swept}s" if self.swept else "ways"
        return f"Comparison({' and '.join(first.modalities)}, similarity={first.similarity:.4f}, {len(self)} {by}: {', '.join(self.names)})"


def figure(
    explanations: Explanation | Comparison | Sequence[Explanation | Comparison],
    *,
    of: int | str | None = None,
    captions: Sequence[str] | None = None,
    cmap: str | None = None,
    scale: Scale = "own",
) -> Figure:
    """A matplotlib figure of many pairs: a row for each, a column for each method, what a pair is called and its similarity beside
    its row.

    explanations  one for each pair, or a :class:`Comparison` for each, all of the same methods
    of            which input's maps are shown, by modality or position; the other one is the caption. None: the first that is
                  not a text
    captions      in place of those, one for each pair
    cmap, scale   see :meth:`Explanation.figure`

    Raises :class:`InputError` and :class:`SettingError`.
    """
    given = [explanations] if isinstance(explanations, (AttributionPair, Comparison)) else [*explanations]
    for each in given:
        if not isinstance(each, (AttributionPair, Comparison)):
            raise InputError(f"figure: give explanations or comparisons, not {each!r:.80}")
    if not given:
        raise InputError("figure: there is nothing to draw; give one explanation or more")
    pairs = [each if isinstance(each, Comparison) else Comparison([each]) for each in given]
    names = pairs[0].names
    if other := next((each.names for each in pairs if each.names != names), None):
        raise InputError(
            f"figure: a row of {', '.join(names)} and one of {', '.join(other)} have no columns in common; give the same methods "
            "for each pair, in one order"
        )
    if captions is not None and len(captions) != len(pairs):
        raise InputError(f"figure: {len(captions)} captions for {len(pairs)} pairs; give one for each")
    rows = []
    for number, pair in enumerate(pairs):
        place = _shown(pair[0], of)
        caption = caption_of(pair[0][1 - place]) if captions is None else captions[number]
        rows.append(Row(caption, similarity_of(pair[0]), [each[place] for each in pair]))
    return draw_rows(rows, names, swept=pairs[0].swept, cmap=cmap, scale=scale)


def _shown(pair: Explanation, of: int | str | None) -> int:
    """Which of both inputs: its position."""
    if of is not None:
        chosen = pair[of]
        return next(place for place, each in enumerate(pair) if each is chosen)
    return next((place for place, each in enumerate(pair) if each.grid.size and not each.words), 0)
