"""Which inputs of a batch are run together: as many as pay, and each once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from m2ib.activations.capture import Recording, record
from m2ib.contract.inputs import Item, each_tensor
from m2ib.methods.base import Batch, distinct
from m2ib.methods.bottleneck.fit import Common
from m2ib.methods.bottleneck.shifts import Shifts

_READ = 0.75
_AT_ONCE = {
    "cpu": 2**20
}  # numbers of z; more do not stay in a processor's cache from one operation to the next
_ELSEWHERE = 2**27


@dataclass(frozen=True)
class Part:
    """Inputs of a batch that are recorded together.

    places     of the batch
    numbers    which of the recorded inputs is at each of them: one that is the same object at several is recorded once
    recording  of these, each with its shifts in a row
    """

    places: Sequence[int]
    numbers: Sequence[int]
    recording: Recording
    common: Common = field(default_factory=Common)


def parts_of(batch: Batch, shifts: Shifts, layer: int) -> list[Part]:
    """The batch in parts of about one length. A part has its own padding, which costs as much as what is read."""
    parts = []
    for places in _by_length(batch.items):
        found, numbers = distinct([batch.items[place] for place in places])
        first = [places[number] for number in found]
        if len(places) < len(batch):
            inputs = batch.model.collate(batch.modality, [batch.items[place] for place in first])
        elif len(first) < len(places):
            inputs = each_tensor(batch.inputs, itemgetter(first))
        else:
            inputs = batch.inputs
        parts.append(Part(places, numbers, record(batch.encoder, shifts.apply(inputs), layer)))
    return parts


def _by_length(items: Sequence[Item]) -> list[list[int]]:
    """Places of ``items`` in parts of which each input reads at least three quarters of the positions."""
    reads = [item.layout.read for item in items]
    lengths = [read for read in reads if read is not None]
    if len(lengths) < len(items):  # all positions are read, whatever is there
        return [list(range(len(items)))]
    parts = list[list[int]]()
    for place in sorted(range(len(items)), key=lambda place: -lengths[place]):
        if not parts or lengths[place] < _READ * lengths[parts[-1][0]]:
            parts.append([])
        parts[-1].append(place)
    return [sorted(part) for part in parts]


def in_groups(
    part: Part, shifts: int, samples: int, seeds: Sequence[int]
) -> list[list[tuple[int, int, int]]]:
    """The fits of a part in equal groups that are as large as pays: each as its place, its row of the recording and its seed.

    Those of a place come seed by seed, of a seed shift by shift.
    """
    fits = [
        (place, number * shifts + shift, seed)
        for seed in seeds
        for place, number in zip(part.places, part.numbers, strict=True)
        for shift in range(shifts)
    ]
    activation = part.recording.activation
    most = _AT_ONCE.get(activation.device.type, _ELSEWHERE) // (samples * activation[0].numel())
    groups = -(-len(fits) // max(1, most))
    return [fits[len(fits) * n // groups : len(fits) * (n + 1) // groups] for n in range(groups)]
