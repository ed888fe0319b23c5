"""Does a map lie on the object that the text names? For everything but texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from m2ib.activations.capture import record
from m2ib.benchmark.erasing import Eraser, cosines, samples_of
from m2ib.benchmark.methods import Batch, Maps, Method
from m2ib.benchmark.metrics import measures
from m2ib.benchmark.rows import Control, Row
from m2ib.contract.inputs import Item
from m2ib.contract.layout import Axis
from m2ib.contract.model import Model
from m2ib.errors import InputError
from m2ib.evaluation.raster import grid_axes, on_cells, on_raster
from m2ib.execution.context import ONE_AT_A_TIME, as_loaded, frozen
from m2ib.metrics import mass_share, top
from m2ib.scenes.questions import Question

_TIME = "time"
_PLANE = "-tf"


@dataclass(frozen=True)
class View:
    """N maps are compared with these masks, on the raster of these axes.

    asked, others, objects  (N, *raster) bool: the kind asked for, the other ones, all of them
    """

    name: str
    raster: tuple[Axis, ...]
    asked: np.ndarray
    others: np.ndarray
    objects: np.ndarray


@dataclass(frozen=True)
class Example:
    """One map as it was measured, for looking at: raster arrays, and the raw input of the scene."""

    question: Question
    modality: str
    view: str
    method: str
    values: np.ndarray
    asked: np.ndarray
    others: np.ndarray


def views(modality: str, questions: Sequence[Question], axes: Sequence[Axis], method: str = "") -> list[View]:
    """What maps whose cells have ``axes`` can be compared with: the first is the one that counts.

    A mask over time and something else (frequencies, traces) is compared over time alone, true where it is
    true anywhere; and as a whole if the map has that axis too.
    """
    raster = questions[0].scene.axes[modality]
    names = [axis.name for axis in raster]
    there = [name for name in names if name in [axis.name for axis in axes]]
    kept = [[_TIME], there] if _TIME in names and len(there) > 1 else [[_TIME] if _TIME in names else names]
    return [_view(modality + _PLANE * place, questions, modality, keep) for place, keep in enumerate(kept)]


def _view(name: str, questions: Sequence[Question], modality: str, keep: Sequence[str]) -> View:
    raster = questions[0].scene.axes[modality]
    dropped = tuple(place for place, axis in enumerate(raster) if axis.name not in keep)
    asked, others = [], []
    for question in questions:
        masks = {kind: mask.any(dropped) for kind, mask in question.scene.masks[modality].items()}
        asked.append(masks[question.kind])
        others.append(np.any([mask for kind, mask in masks.items() if kind != question.kind], axis=0))
    mine, rest = np.stack(asked), np.stack(others)
    return View(name, tuple(axis for axis in raster if axis.name in keep), mine, rest, mine | rest)


def grid_shape(model: Model, modality: str, item: Item) -> tuple[int, ...]:
    """Of the model's own cells at the adapter's default layer."""
    if item.layout.grid is not None:
        return item.layout.grid
    encoder = model.encoder(modality)
    layer = encoder.layer(encoder.default_layer)
    with ONE_AT_A_TIME, as_loaded(model.device, model.dtype), frozen(model.module):
        activation = record(encoder, model.collate(modality, [item]), encoder.default_layer).activation
    shape = list(activation.shape)
    del shape[layer.channel_axis % activation.ndim], shape[0]
    return tuple(shape)


@dataclass(frozen=True)
class Localiser:
    """The questions of one seed, asked of one modality of a model.

    targets  by kind (D,): the embedding of a text that names it
    erases   measure deletion and insertion too
    """

    model: Model
    modality: str
    seed: int
    targets: Mapping[str, Tensor]
    methods: Mapping[str, Method]
    control: Control = ""
    erases: bool = True

    def run(
        self,
        questions: Sequence[Question],
        items: Sequence[Item],
        batch_size: int,
        advance: Callable[[], None],
    ) -> Iterator[tuple[Row, Example | None]]:
        """A row for each question, method and view, in batches; the example is of the first view.

        advance  called for each map
        """
        shape = grid_shape(self.model, self.modality, items[0])
        for start in range(0, len(questions), batch_size):
            some = questions[start : start + batch_size]
            yield from self._batch(some, items[start : start + batch_size], shape, advance)

    def _batch(
        self,
        questions: Sequence[Question],
        items: Sequence[Item],
        shape: tuple[int, ...],
        advance: Callable[[], None],
    ) -> Iterator[tuple[Row, Example | None]]:
        scene = questions[0].scene
        axes = grid_axes(shape, items[0].layout.axes, scene.axes[self.modality])
        seen = views(self.modality, questions, axes)
        batch, cosine = self._prepared(questions, items, axes, seen)
        nothing = None if batch.eraser is None else batch.eraser.empty()
        by_mask = _effects(batch.eraser, cosine, nothing, seen[0].asked, "mask_")
        for name, method in self.methods.items():
            if method.hides and batch.eraser is None:
                raise InputError(
                    f"benchmark: {name} hides parts of an input, and those of {self.modality} cannot be told in what "
                    f"this model takes; leave {name} out of the methods"
                )
            maps, seconds = method.timed(batch)
            for place, view in enumerate(seen):
                if not {axis.name for axis in view.raster} <= {axis.name for axis in maps.axes or axes}:
                    continue
                values, chosen = self._laid(maps, view, questions, name)
                effects = by_mask | _effects(batch.eraser, cosine, nothing, chosen) if place == 0 else {}
                for number, question in enumerate(questions):
                    found = self._values(view, number, values[number], chosen[number]) | maps.facts(number)
                    found |= {key: float(effect[number]) for key, effect in effects.items()}
                    found |= {"cosine": float(cosine[number]), "seconds": seconds}
                    example = Example(
                        question,
                        self.modality,
                        view.name,
                        name,
                        values[number],
                        view.asked[number],
                        view.others[number],
                    )
                    kind = question.absent if self.control == "absent object" else question.kind
                    row = Row(self.seed, question.scene.seed, view.name, name, self.control, kind, found)
                    yield row, example if place == 0 else None
            for _ in questions:
                advance()

    def _prepared(
        self,
        questions: Sequence[Question],
        items: Sequence[Item],
        axes: tuple[Axis, ...],
        seen: Sequence[View],
    ) -> tuple[Batch, np.ndarray]:
        """The batch, and the cosine (N,) of each input and its target."""
        absent = self.control == "absent object"
        inputs = self.model.collate(self.modality, items)
        targets = torch.stack([self.targets[q.absent if absent else q.kind] for q in questions])  # (N, D)
        samples = samples_of(self.model.encoder(self.modality), inputs, axes, seen[0].raster)
        eraser = None
        if self.erases and samples is not None and isinstance(inputs, Tensor):
            eraser = Eraser.of(self.model, self.modality, inputs, targets, samples, seen[0].objects)
        batch = Batch(
            model=self.model,
            modality=self.modality,
            items=items,
            inputs=inputs,
            targets=targets,
            seed=self.seed,
            scenes=[question.scene.seed for question in questions],
            truth=list(on_cells(seen[-1].asked, seen[-1].raster, axes)),
            axes=axes,
            eraser=eraser,
        )
        return batch, cosines(self.model, self.modality, inputs, targets)

    def _laid(
        self, maps: Maps, view: View, questions: Sequence[Question], name: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """The maps on the view's raster (N, *raster), and as many of their highest places as the masks have."""
        grids = np.stack([np.asarray(grid) for grid in maps.grids])
        axes = grid_axes(grids.shape[1:], maps.axes, view.raster)
        values = on_raster(grids, axes, view.raster)
        chosen = [
            top(flat.ravel(), int(mask.sum()), np.random.default_rng((self.seed, question.scene.seed)))
            for flat, mask, question in zip(values, view.asked, questions, strict=True)
        ]
        return values, np.stack(chosen).reshape(values.shape)

    def _values(self, view: View, number: int, values: np.ndarray, chosen: np.ndarray) -> dict[str, float]:
        flat = values.ravel()
        found = {"objects": mass_share(flat, view.objects[number].ravel())}
        if self.control == "absent object":
            return found
        mask, others = view.asked[number].ravel(), view.others[number].ravel()
        return found | measures(flat, mask, others, chosen.ravel())


def _effects(
    eraser: Eraser | None,
    cosine: np.ndarray,
    nothing: np.ndarray | None,
    chosen: np.ndarray,
    prefix: str = "",
) -> dict[str, np.ndarray]:
    """What the chosen places (N, *raster) are worth (N,): lost without them, won by them alone over ``nothing``."""
    if eraser is None or nothing is None:
        return {}
    without, alone = eraser.effect(chosen)
    return {f"{prefix}deletion": cosine - without, f"{prefix}insertion": alone - nothing}
