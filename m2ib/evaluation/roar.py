"""ROAR+ with real fine-tuning (Wang et al. 2023, Section 4.4; after Hooker et al. 2019).

For one side of the pairs and one method::

    l_o    validation loss after training on the original pairs
    l_c    the same after training on pairs whose side has lost what the method's maps call most important
    score  100 (l_c - l_o) / l_o, in per cent; higher is better

both validated on original pairs. What is lost, of each input by its own map:

numbers  the positions above the 75th percentile of the map, enlarged to the input's positions, get the input's own
         mean over all positions, channel by channel
tokens   those above the median of the tokens that are not special become the padding token

"Above" is strictly above: a constant map loses nothing and has the score 0, and a map whose highest value fills more
than that share of the places loses nothing either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import torch
from torch import Tensor

from m2ib.contract.degradation import Degradation, Fading, fill_cells, spread
from m2ib.contract.inputs import Inputs, Item
from m2ib.contract.model import Model
from m2ib.errors import InputError, SettingError
from m2ib.evaluation.fine_tune import Sides, Training, TrainingOutcome, fine_tune, steps_of
from m2ib.methods.base import degradation_of
from m2ib.metrics import RoarPlus, above_percentile


@dataclass(frozen=True)
class Roar:
    """Of one side of the pairs.

    modality   of the side
    original   by seed, trained on the original pairs
    corrupted  by method and seed
    """

    modality: str
    original: Mapping[int, TrainingOutcome]
    corrupted: Mapping[str, Mapping[int, TrainingOutcome]]

    def metric(self, method: str) -> RoarPlus:
        """The scores of a method, one for each seed."""
        found = RoarPlus()
        rows = self.corrupted[method]
        found.update(
            [self.original[seed].after for seed in rows],
            [row.after for row in rows.values()],
            keys=list(rows),
        )
        return found


def split(count: int, training: Training, seed: int = 0) -> tuple[list[int], list[int]]:
    """Numbers of the pairs that train, and of those that validate, each in order; drawn from all ``count``.

    Two at least of each. Raises :class:`InputError` for fewer than four pairs.
    """
    number = count if training.pairs is None else min(count, training.pairs)
    if number < 4:
        raise InputError(
            f"roar: {number} pairs cannot be split; give 4 or more: 2 to train on, 2 to validate"
        )
    drawn = torch.randperm(count, generator=torch.Generator(device="cpu").manual_seed(seed), device="cpu")
    chosen = drawn[:number].tolist()
    held = min(max(2, round(training.validation * number)), number - 2)
    return sorted(chosen[held:]), sorted(chosen[:held])


def corrupt(
    model: Model, modality: str, items: Sequence[Item], grids: Sequence[np.ndarray], training: Training
) -> list[Item]:
    """The inputs without what their maps call most important; see the head of this module.

    grids  a map for each item, on its layout's grid or a finer one

    Raises :class:`InputError` for maps that do not fit, and inputs whose parts cannot be taken out.
    """
    if len(items) != len(grids):
        raise InputError(f"roar: {len(items)} {modality} inputs and {len(grids)} maps; give a map for each")
    degradation = degradation_of(model.encoder(modality))
    return [
        replace(item, inputs=_without_best(degradation, item, np.asarray(grid, np.float64), training))
        for item, grid in zip(items, grids, strict=True)
    ]


def roar_plus(
    model: Model,
    modalities: tuple[str, str],
    side: int,
    train: Sides,
    validation: Sides,
    grids: Mapping[str, Sequence[np.ndarray]],
    training: Training | None = None,
    *,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    original: Mapping[int, TrainingOutcome] | None = None,
    checkpoints: Path | None = None,
    originals: Path | None = None,
    steps: Callable[[int], Callable[[], None]] | None = None,
) -> Roar:
    """Trains once on the original pairs and once for each method, for each seed. The model is left as it was.

    side         0 or 1: which input of the pairs is corrupted
    grids        method -> the maps of that side of the training pairs
    seeds        of the order of the batches, the same for all methods
    original     what is known already of l_o by seed: it is the same for both sides
    checkpoints  a folder with a file for each training, so that a call that was cut off goes on; see :func:`fine_tune`
    originals    a folder for those trainings that are the same for every method and side; None: ``checkpoints``
    steps        given the number of steps of AdamW, gives what is called after each; less where ``checkpoints`` knows

    Raises what :func:`corrupt` and :func:`fine_tune` raise, and :class:`SettingError`.
    """
    training = training or Training()
    if side not in (0, 1):
        raise SettingError(f"roar: side={side!r} is unknown; it is 0 or 1, an input of the pairs")
    if not seeds or len(set(seeds)) < len(seeds):
        raise SettingError(f"roar: seeds={list(seeds)!r} must be one or more different numbers")
    known = dict(original or {})
    modality = modalities[side]
    corrupted = {name: corrupt(model, modality, train[side], maps, training) for name, maps in grids.items()}
    runs = len(seeds) * len(grids) + len(set(seeds) - set(known))
    advance = (lambda: None) if steps is None else steps(runs * steps_of(training, len(train[0])))

    def run(name: str, seed: int, pairs: Sides, place: Path | None = checkpoints) -> TrainingOutcome:
        path = None if place is None else place / checkpoint_name(name, seed)
        return fine_tune(
            model, modalities, pairs, validation, training, seed=seed, checkpoint=path, advance=advance
        )

    for seed in seeds:
        if seed not in known:
            known[seed] = run("original", seed, train, originals or checkpoints)
    found: dict[str, dict[int, TrainingOutcome]] = {}
    for name, items in corrupted.items():
        pairs = (items, train[1]) if side == 0 else (train[0], items)
        found[name] = {seed: run(run_name(side, modality, name), seed, pairs) for seed in seeds}
    return Roar(modality, {seed: known[seed] for seed in seeds}, found)


def run_name(side: int, modality: str, method: str) -> str:
    """Of the trainings on pairs whose side has lost what a method's maps call most important."""
    return f"{side} {modality} {method}"


def checkpoint_name(run: str, seed: int) -> str:
    """The file of one training."""
    return f"{quote(run, safe=' ')}-{seed}.pt"


def _without_best(degradation: Degradation, item: Item, grid: np.ndarray, training: Training) -> Inputs:
    """The inputs of one item (without a batch axis) that has lost its best positions."""
    whole = item.inputs
    inputs: Inputs = (
        whole[None] if isinstance(whole, Tensor) else {name: each[None] for name, each in whole.items()}
    )
    keep = ~_best(degradation, item, inputs, grid, training)[None]  # (1, *positions)
    if isinstance(degradation, Fading) and isinstance(inputs, Tensor):
        changed: Inputs = _averaged(degradation, inputs, keep, item)
    else:
        changed = degradation.apply(inputs, keep.float(), item.layout)
    return changed[0] if isinstance(changed, Tensor) else {name: each[0] for name, each in changed.items()}


def _best(
    degradation: Degradation, item: Item, inputs: Inputs, grid: np.ndarray, training: Training
) -> Tensor:
    """(*positions) bool: strictly above the percentile, over the positions that can be taken out."""
    shape = degradation.positions(inputs, grid.shape)
    if not np.isfinite(grid).all():
        raise InputError("roar: a map holds NaN or infinite values; give finite ones")
    wide = spread(torch.from_numpy(grid.copy())[None], shape)[0].numpy()
    hideable = fill_cells(degradation.hideable(item.layout, grid.shape)[None].cpu(), shape)[0].numpy()
    chosen = np.zeros(shape, bool)
    if grid.min() < grid.max() and hideable.any():  # rounding would make differences of a constant map
        share = training.share if degradation.gradual else training.token_share
        chosen[hideable] = above_percentile(wide[hideable], 100 * (1 - share))
    return torch.from_numpy(chosen)


def _averaged(fading: Fading, inputs: Tensor, keep: Tensor, item: Item) -> Tensor:
    """Inputs (1, ...) with their mean over the positions, channel by channel, where ``keep`` is False."""
    places = [1 + place for place in fading.places(inputs.ndim - 1, tuple(keep.shape[1:]))]
    means = inputs.mean(places, keepdim=True)  # (1, channels..., 1...)
    kept = replace(fading, fill=0.0).apply(torch.ones_like(inputs), keep, item.layout)  # (1, ...) of 0 and 1
    return torch.where(kept > 0.5, inputs, means)
