"""What there is in the results of a run, in a few numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """What there is in a table, over all its rows.

    rows        a pair by a method each
    explained   of them, those that have maps
    errors      by kind: (how many, what one of them says)
    methods     rows by method
    warned      rows with warnings
    similarity  (least, first quartile, median, third quartile, greatest); None without any
    seconds     (median, sum) of what a row took
    unspecific  rows of pairs that are no closer than others usually are; None of a run without ``null``
    """

    rows: int
    explained: int
    errors: Mapping[str, tuple[int, str]]
    methods: Mapping[str, int]
    warned: int
    similarity: tuple[float, float, float, float, float] | None
    seconds: tuple[float, float] | None
    unspecific: int | None = None

    def lines(self) -> list[tuple[str, str]]:
        """In words: (what, how much)."""
        by = ", ".join(f"{count:,} by {name}" for name, count in self.methods.items())
        found = [
            ("rows", f"{self.rows:,}" + (f" ({by})" if len(self.methods) > 1 else "")),
            ("explained", f"{self.explained:,}, {self.warned:,} with warnings"),
        ]
        for kind, (count, said) in self.errors.items():
            found.append(("errors", f"{count:,} {kind}, as: {said}"))
        if self.similarity is not None:
            least, low, median, high, most = self.similarity
            span = f"{least:.3f} to {most:.3f}, median {median:.3f}, half of them in {low:.3f} to {high:.3f}"
            found.append(("similarity", span))
        if self.unspecific is not None:
            found.append(("unspecific", f"{self.unspecific:,}: no closer than others usually are"))
        if self.seconds is not None:
            median, whole = self.seconds
            found.append(("seconds", f"{median:.3g} a row (median), {whole:,.0f} in all"))
        return found
