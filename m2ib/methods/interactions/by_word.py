"""``by-word``: the bottleneck of one input against the difference that each unit of the other makes.

The input of fewer units, for most pairs the text, loses one unit w after the other, as its encoder's degradation takes
parts out. With e its embedding and e_w that without w, the other input x is explained against what w brought::

    d_w = e - e_w                         of unit embeddings
    m_w = sign(s(x, e) - s(x, e_w)) C(x; sign * d_w)

C is the map of the bottleneck (Wang et al. 2023), in nats, and s the similarity. A unit without which the two would be closer
has a row below 0, which shows what it is at odds with; one that makes no difference has 0. The encoder of x runs up to the
layer once, and all fits are one batch. Its settings are those of ``m2ib``, with half the samples by default: there is a fit
for each word, and the regions that they find are no worse for it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from m2ib.contract.inputs import repeat_inputs
from m2ib.contract.targets import Targets
from m2ib.methods.bottleneck.method import prepare
from m2ib.methods.bottleneck.settings import FitSettings
from m2ib.methods.interactions.base import PairMethod, Side
from m2ib.notices import ignored_warnings

_NOTHING = 1e-6  # of embeddings: a difference that is rounding, as a share


def find(first: Side, second: Side) -> tuple[np.ndarray, tuple[str, ...]]:
    turned = second.units.number > first.units.number
    few, many = (first, second) if turned else (second, first)
    found = _rows(few, many)  # (few, many)
    return (found if turned else found.T), ()


def _rows(few: Side, many: Side) -> np.ndarray:
    batch, model = many.batch, many.batch.model
    kept = torch.cat([torch.ones(1, few.units.number), 1 - torch.eye(few.units.number)])
    whole, *gone = model.unit(few.without(kept).float())  # (...) each
    count = len(gone)
    targets = Targets.between(model, [whole] * count, gone, many.leads)
    with torch.no_grad():
        own = batch.embed()  # (1, ...)
        gained = targets(own.expand(count, *own.shape[1:])).cpu()  # (units,)
    apart = torch.stack([(each - whole).norm() / whole.norm() for each in gone]).cpu()
    differ = ((apart > _NOTHING) & (gained != 0)).nonzero().flatten().tolist()
    found = np.zeros((count, many.units.number))
    if not differ:
        return found
    signs = gained[differ].sign().to(targets.weights)
    chosen = targets[differ]
    signed = replace(chosen, weights=chosen.weights * signs[:, None])
    several = replace(
        batch, items=[batch.items[0]] * len(differ), inputs=repeat_inputs(batch.inputs, len(differ))
    )
    with ignored_warnings():  # of fits that nobody looks at one by one
        maps = prepare(several, many.settings.for_maps_alone()).maps(signed, lambda: None)
    for unit, sign, each in zip(differ, signs.tolist(), maps, strict=True):
        grid = np.asarray(each.grid, np.float64).ravel()  # (cells,); with shifts these are the units
        found[unit] = sign * (grid if many.shifts.number > 1 else many.cells.numpy() @ grid)
    return found


def method() -> PairMethod:
    return PairMethod(find, unit="nats", settings=FitSettings)
