"""Fine-tuning both encoders of a model on pairs, for as long as it takes to read a loss; then all is put back.

The loss is CLIP's (Radford et al. 2021), InfoNCE both ways over a batch of B pairs, the temperature t fixed::

    s_ij = cos(a_i, b_j) / t
    loss = mean_i ( -ln softmax_j(s_ij)[i] - ln softmax_j(s_ji)[i] ) / 2

The validation loss is that of all validation pairs as one batch, so that it does not depend on ``batch_size``. The model
stays in evaluation mode: dropout is off and the running statistics of norms are frozen, so that the order of the
batches is all that is random, and two trainings differ by their data alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from m2ib.contract.inputs import Item
from m2ib.contract.model import Model
from m2ib.contract.similarity import COSINE, Similarity, joined
from m2ib.errors import InputError, SettingError
from m2ib.evaluation.checkpoint import Checkpoint
from m2ib.evaluation.prepared import by_shape
from m2ib.evaluation.weights import learning, parts, preserved
from m2ib.results.resume import digest

Sides = tuple[Sequence[Item], Sequence[Item]]
"""N pairs: the ready inputs of one side and those of the other."""


@dataclass(frozen=True)
class Training:
    """How ROAR+ corrupts and trains.

    epochs        over the training pairs
    batch_size    pairs; where they do not come out even, the batches of an epoch are larger, and none is left out
    lr            AdamW's, constant. 1e-5 suits CLIP's sizes; a model of a few million weights takes more, 3e-4
    temperature   of the loss. CLIP's training begins with 0.07 and ends with 0.01
    weight_decay  AdamW's
    share         of an input's positions that are replaced by its channel mean: those above the percentile 100 (1 - share)
    token_share   of a text's tokens that are replaced by the padding token, likewise
    pairs         at most so many, training and validation together; None: all
    validation    share of the pairs that only validates

    Raises :class:`SettingError`.
    """

    epochs: int = 5
    batch_size: int = 32
    lr: float = 1e-5
    temperature: float = 0.07
    weight_decay: float = 0.01
    share: float = 0.25
    token_share: float = 0.5
    pairs: int | None = 500
    validation: float = 0.2

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 2), ("pairs", 4)):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= least
            if not whole and not (name == "pairs" and value is None):
                raise SettingError(
                    f"training: {name}={value!r} is out of range; give a whole number from {least}"
                )
        for name, low, high in (
            ("lr", 0.0, math.inf),
            ("temperature", 0.0, math.inf),
            ("share", 0.0, 1.0),
            ("token_share", 0.0, 1.0),
            ("validation", 0.0, 1.0),
        ):
            value = getattr(self, name)
            if not _number(value) or not low < value < high:
                above = f"between 0 and {high:g}" if high < math.inf else "above 0"
                raise SettingError(f"training: {name}={value!r} is out of range; give a number {above}")
        if not _number(self.weight_decay) or not 0 <= self.weight_decay < math.inf:
            raise SettingError(
                f"training: weight_decay={self.weight_decay!r} is out of range; give a number from 0"
            )


@dataclass(frozen=True)
class TrainingOutcome:
    """Of one training.

    before  validation loss of the model as it was
    losses  of each epoch: the mean over its training pairs, while they were learned
    after   validation loss at the end
    """

    before: float
    losses: tuple[float, ...]
    after: float


def info_nce(first: Tensor, second: Tensor, temperature: float, similarity: Similarity = COSINE) -> Tensor:
    """The loss of B pairs of embeddings, the first ones being those that come first in the similarity."""
    logits = similarity.table(first, second) / temperature  # (B, B)
    labels = torch.arange(len(logits), device=logits.device)
    return (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2


def fine_tune(
    model: Model,
    modalities: tuple[str, str],
    train: Sides,
    validation: Sides,
    training: Training | None = None,
    *,
    seed: int = 0,
    checkpoint: Path | None = None,
    advance: Callable[[], None] = lambda: None,
) -> TrainingOutcome:
    """Train every floating-point weight that the two encoders use; every bit of the model is as before afterwards.

    train, validation  ready inputs, two at least of each
    seed               of the order of the batches
    checkpoint         a file for the state after each epoch: the same call goes on from there after it was cut off, to
                       the same result. Once it is through, only the outcome stays in it
    advance            called after each step of AdamW, ``steps_of(training, len(train[0]))`` times in all

    Raises :class:`InputError` for too few pairs, :class:`SettingError` for a loss that is not finite and for a
    checkpoint of another training, :class:`StorageError` for one that cannot be read or written.
    """
    training = training or Training()
    _check(model, train, validation)
    with model.running():
        run = _Run(model, modalities, train, validation, training)
        kept = None
        if checkpoint is not None:
            data = (item.inputs for item in chain(*train, *validation))
            kept = Checkpoint(
                checkpoint,
                {
                    **{f"training.{name}": value for name, value in dataclasses.asdict(training).items()},
                    "seed": seed,
                    "modalities": list(modalities),
                    "torch": str(torch.__version__),
                    "pairs": digest(data),
                    "weights": digest(run.weights.values()),
                },
            )
        with preserved(run.weights.values()), learning(run.weights.values()):
            return run(seed, kept, advance)


def steps_of(training: Training, count: int) -> int:
    """AdamW's steps over ``count`` training pairs."""
    return training.epochs * _batches(training, count)


def _batches(training: Training, count: int) -> int:
    return max(1, count // training.batch_size)


@dataclass(frozen=True)
class _Run:
    """One training, while the model's weights are lent to it."""

    model: Model
    modalities: tuple[str, str]
    train: Sides
    validation: Sides
    training: Training
    weights: dict[str, nn.Parameter] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        used: dict[str, nn.Parameter] = {}
        for modality, items in zip(self.modalities, self.train, strict=True):
            for part in parts(self.model, modality, self.model.collate(modality, items[:1])):
                used |= part.parameters
        object.__setattr__(self, "weights", used)

    def __call__(self, seed: int, kept: Checkpoint | None, advance: Callable[[], None]) -> TrainingOutcome:
        training, generator = self.training, torch.Generator(device="cpu").manual_seed(seed)
        adam = torch.optim.AdamW(self.weights.values(), lr=training.lr, weight_decay=training.weight_decay)
        state = None if kept is None else kept.read()
        if state is not None and "after" in state:
            return TrainingOutcome(state["before"], tuple(state["losses"]), state["after"])
        if state is None:
            before, losses = self._validation_loss("before training"), []
        else:
            before, losses = state["before"], list(state["losses"])
            self._restore(state, adam, generator)
        for epoch in range(len(losses), training.epochs):
            losses.append(self._epoch(epoch, adam, generator, advance))
            if kept is not None:
                kept.write({"before": before, "losses": losses, **self._state(adam, generator)})
        after = self._validation_loss("after training")
        if kept is not None:
            kept.write({"before": before, "losses": losses, "after": after})
        return TrainingOutcome(before, tuple(losses), after)

    def _epoch(
        self, epoch: int, adam: torch.optim.Optimizer, generator: torch.Generator, advance: Callable[[], None]
    ) -> float:
        """The mean loss over the training pairs, each batch's before it was learned from."""
        count = len(self.train[0])
        order = torch.randperm(count, generator=generator, device="cpu")
        total = 0.0
        for number, batch in enumerate(order.tensor_split(_batches(self.training, count)), 1):
            places = batch.tolist()
            first, second = (
                embed(self.model, modality, [items[place] for place in places])
                for modality, items in zip(self.modalities, self.train, strict=True)
            )
            loss = self._loss(first, second)
            value = self._finite(loss, f"in epoch {epoch + 1}, batch {number}")
            adam.zero_grad()
            loss.backward(inputs=list(self.weights.values()))
            adam.step()
            total += value * len(places)
            advance()
        adam.zero_grad()
        return total / count

    def _validation_loss(self, when: str) -> float:
        size = self.training.batch_size
        sides = []
        with torch.no_grad():
            for modality, items in zip(self.modalities, self.validation, strict=True):
                chunks = (items[start : start + size] for start in range(0, len(items), size))
                sides.append(joined([embed(self.model, modality, chunk) for chunk in chunks]))  # (N, ...)
            return self._finite(self._loss(*sides), when)

    def _loss(self, first: Tensor, second: Tensor) -> Tensor:
        similarity = self.model.similarity
        sides = (first, second) if similarity.leads(self.modalities, 0) else (second, first)
        return info_nce(*sides, self.training.temperature, similarity)

    def _finite(self, loss: Tensor, when: str) -> float:
        value = loss.item()
        if not math.isfinite(value):
            raise SettingError(
                f"fine-tuning on {' and '.join(self.modalities)}: the loss is {value} {when}; lower lr "
                f"({self.training.lr:g}) or raise temperature ({self.training.temperature:g})"
            )
        return value

    def _state(self, adam: torch.optim.Optimizer, generator: torch.Generator) -> dict[str, Any]:
        weights = {name: value.detach() for name, value in self.weights.items()}
        return {"weights": weights, "optimizer": adam.state_dict(), "generator": generator.get_state()}

    def _restore(
        self, state: dict[str, Any], adam: torch.optim.Optimizer, generator: torch.Generator
    ) -> None:
        with torch.no_grad():
            for name, value in self.weights.items():
                value.copy_(state["weights"][name])
        adam.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])


def embed(model: Model, modality: str, items: Sequence[Item]) -> Tensor:
    """(N, D), or sets (N, K, D), in the order of the items, unnormalised; those that cannot be collated are run apart."""
    encoder = model.encoder(modality)
    groups = by_shape(encoder, items)
    rows = [encoder.embed(model.collate(modality, [items[number] for number in group])) for group in groups]
    places = torch.tensor(list(chain(*groups)), device="cpu").argsort()
    return joined(rows)[places.to(model.device)]


def _check(model: Model, train: Sides, validation: Sides) -> None:
    if model.dtype not in (torch.float32, torch.float64):
        name = str(model.dtype).removeprefix("torch.")
        raise SettingError(
            f"fine-tuning: the model was loaded in {name}, too coarse for small steps; load it with dtype='float32'"
        )
    for what, (first, second) in (("training", train), ("validation", validation)):
        if len(first) != len(second):
            raise InputError(
                f"fine-tuning: {len(first)} and {len(second)} {what} inputs on the two sides; give as many of both"
            )
        if len(first) < 2:
            there = f"only {len(first)} {what} pair" if len(first) else f"no {what} pairs"
            raise InputError(f"fine-tuning: there is {there}; a contrastive loss needs 2 or more")


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
