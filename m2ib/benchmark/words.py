"""Does the map of a caption lie on the word for what the other input holds?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from m2ib.benchmark.erasing import cosines
from m2ib.benchmark.localise import Example
from m2ib.benchmark.methods import Batch, Method
from m2ib.benchmark.metrics import measures
from m2ib.benchmark.rows import Control, Row
from m2ib.contract.inputs import Item
from m2ib.contract.model import Model
from m2ib.errors import InputError
from m2ib.evaluation.raster import shares
from m2ib.metrics import mass_share, top
from m2ib.scenes.questions import Question

TEXT = "text"


@dataclass(frozen=True)
class WordFinder:
    """Captions of one seed's questions, each explained against an input that holds one of its kinds alone.

    targets  (N, D) embeddings of these inputs, in the order of the questions
    """

    model: Model
    seed: int
    targets: Tensor
    methods: Mapping[str, Method]
    control: Control = ""

    def run(
        self,
        questions: Sequence[Question],
        items: Sequence[Item],
        batch_size: int,
        advance: Callable[[], None],
    ) -> Iterator[tuple[Row, Example | None]]:
        """A row for each question and method, in batches; methods that hide positions are left out.

        Raises :class:`InputError` for a model that does not tell its tokens.
        """
        for start in range(0, len(questions), batch_size):
            part = slice(start, start + batch_size)
            yield from self._batch(questions[part], items[part], self.targets[part], advance)

    def _batch(
        self,
        questions: Sequence[Question],
        items: Sequence[Item],
        targets: Tensor,
        advance: Callable[[], None],
    ) -> Iterator[tuple[Row, Example | None]]:
        inputs = self.model.collate(TEXT, items)
        cosine = cosines(self.model, TEXT, inputs, targets)
        spread = [
            shares(item.layout.tokens, q.scene.axes[TEXT][0])
            for q, item in zip(questions, items, strict=True)
        ]
        if any(not item.layout.tokens for item in items):
            raise InputError(
                "benchmark: the model's layout of texts has no tokens; give the adapter's Layout `tokens`"
            )
        masks = [question.scene.masks[TEXT][question.kind] for question in questions]
        batch = Batch(
            model=self.model,
            modality=TEXT,
            items=items,
            inputs=inputs,
            targets=targets,
            seed=self.seed,
            scenes=[question.scene.seed for question in questions],
            truth=[mask.astype(np.float64) @ share for mask, share in zip(masks, spread, strict=True)],
            axes=(),
            eraser=None,
        )
        for name, method in self.methods.items():
            if method.hides:
                continue
            maps, seconds = method.timed(batch)
            for number, question in enumerate(questions):
                values = spread[number] @ np.asarray(maps.grids[number], dtype=np.float64)  # (words,)
                found = self._values(question, values, masks[number]) | maps.facts(number)
                found |= {"cosine": float(cosine[number]), "seconds": seconds}
                row = Row(self.seed, question.scene.seed, TEXT, name, self.control, question.kind, found)
                others = _others(question)
                yield row, Example(question, TEXT, TEXT, name, values, masks[number], others)
                advance()

    def _values(self, question: Question, values: np.ndarray, mask: np.ndarray) -> dict[str, float]:
        others = _others(question)
        random = np.random.default_rng((self.seed, question.scene.seed))
        found = measures(values, mask, others, top(values, int(mask.sum()), random))
        found["objects"] = mass_share(values, mask | others)
        filler = values[question.scene.filler]
        found["above_filler"] = float(values[mask].max() > filler.max()) if len(filler) else float("nan")
        return found


def _others(question: Question) -> np.ndarray:
    """(words,) bool: those that name the other kinds."""
    masks = question.scene.masks[TEXT]
    return np.asarray(np.any([mask for kind, mask in masks.items() if kind != question.kind], axis=0))


def embedded(model: Model, modality: str, items: Sequence[Item], batch_size: int) -> Tensor:
    """(N, D) embeddings of length 1, made in batches."""
    found = [
        model.embed(modality, model.collate(modality, items[start : start + batch_size]))
        for start in range(0, len(items), batch_size)
    ]
    return torch.cat(found)
