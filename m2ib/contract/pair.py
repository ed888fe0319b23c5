"""What was found for the two inputs of a pair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

from m2ib.contract.attribution import Attribution, side_of
from m2ib.contract.interactions import Interactions
from m2ib.contract.notebook import Side, framed
from m2ib.contract.null import SPECIFIC
from m2ib.contract.schema import bounded, require
from m2ib.errors import InputError

_COSINE = 1.01  # rounded in half precision


@dataclass(frozen=True, eq=False)
class AttributionPair:
    """What was found for the two inputs of a pair.

    attributions  one for each input, in the order given
    similarity    cosine of the two embeddings, or the model's own :class:`m2ib.Similarity`; for an ensemble, of the mean, and for a contrast, of the difference, with the other side
    provenance    versions, adapter, checkpoint, device, dtype; which reference inputs, if any; JSON-able
    interactions  which unit of one input acts together with which of the other; None where that was not asked for
    """

    attributions: tuple[Attribution, Attribution]
    similarity: float
    provenance: Mapping[str, Any] = field(default_factory=dict)
    interactions: Interactions | None = None

    def __post_init__(self) -> None:
        cosine = self.similarity_name == "cosine"
        require(
            bounded([self.similarity]) and (not cosine or abs(self.similarity) <= _COSINE),
            "explanation: similarity",
            self.similarity,
            "a cosine, from -1 to 1" if cosine else "a finite number",
        )

    @property
    def similarity_name(self) -> str:
        """What the similarity is: "cosine", "maxsim", ..."""
        return str(self.provenance.get("similarity", {}).get("name", "cosine"))

    @property
    def similarity_title(self) -> str:
        """Likewise, in words."""
        return str(self.provenance.get("similarity", {}).get("title") or f"{self.similarity_name} similarity")

    @property
    def specificity(self) -> float | None:
        """How far the pair's similarity stands above those to other inputs: the mean of its sides' ``null.score``, in
        standard deviations. None where there is no null.
        """
        scores = [each.null.score for each in self if each.null is not None]
        return sum(scores) / len(scores) if scores else None

    @property
    def unspecific(self) -> bool:
        """Whether the two are known to be no closer than others usually are: a specificity below 1.645, above which one in
        twenty unrelated pairs would lie. Their maps show what is there then, not why the two belong together.
        """
        found = self.specificity
        return found is not None and found < SPECIFIC

    def __getitem__(self, key: int | str) -> Attribution:
        """By position, or by modality when the two differ."""
        if isinstance(key, Integral):
            return self.attributions[int(key)]
        found = [a for a in self.attributions if a.modality == key]
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(f"explanation: both inputs are of modality {key!r}; index by position, 0 or 1")
        raise InputError(
            f"explanation: no input of modality {key!r}; there are {', '.join(map(repr, self.modalities))}"
        )

    def __iter__(self) -> Iterator[Attribution]:
        return iter(self.attributions)

    def __len__(self) -> int:
        return len(self.attributions)

    def _repr_html_(self) -> str:
        """Both maps, in a notebook."""
        return framed(repr(self), [self._sides()])

    def _sides(self, stem: str = "m") -> list[Side]:
        return [side_of(each, f"{stem}{number}") for number, each in enumerate(self)]

    @property
    def modalities(self) -> tuple[str, str]:
        """Of the two inputs, in the order given."""
        first, second = self.attributions
        return first.modality, second.modality
