"""RISE (Petsiuk et al., BMVC 2018): what is left visible when the cosine is high?

    S(x) = E[ cos(target, embed(fill + (input - fill) * M)) | M(x) = 1 ]
         ~ sum_k cos_k * M_k(x) / sum_k M_k(x)                                      k = 1 .. K

K random masks M_k: a coarse grid of cells that are 1 with probability p, enlarged linearly along each axis by a cell
more than is needed, and cut at a random place. The sum is divided by the coverage as it was, sum_k M_k(x): the paper
takes the expected one, which with a few hundred masks leaves in the map where chance covered more. The masks are the
same for all inputs. Here they hide towards the eraser's fill rather than black, and stand along the positions alone:
rows and columns of a picture, the time of a sound or a motion.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from m2ib.benchmark.erasing import Eraser
from m2ib.methods.hiding import AT_ONCE
from m2ib.methods.rise import KEEP, random_masks

MASKS = 256


def rise(
    eraser: Eraser, cells: Sequence[int], *, masks: int = MASKS, keep: float = KEEP, seed: int = 0
) -> Tensor:
    """(N, *positions) float32, for the inputs and targets of ``eraser``.

    cells  of the coarse grid, one number for each axis of the positions
    """
    drawn = random_masks(masks, eraser.samples.shape, cells, keep, seed).to(
        eraser.inputs.device
    )  # (K, *positions)
    scores = torch.zeros(len(eraser.inputs), masks, device=drawn.device)  # (N, K)
    for row, (values, fill, target) in enumerate(
        zip(eraser.inputs, eraser.fill, eraser.targets, strict=True)
    ):
        one = Eraser(eraser.model, eraser.modality, values[None], fill[None], target[None], eraser.samples)
        for start in range(0, masks, AT_ONCE):
            embeddings = eraser.model.embed(
                eraser.modality, one.blend(drawn[start : start + AT_ONCE])
            )  # (k, D)
            scores[row, start : start + AT_ONCE] = embeddings @ normalize(target.to(embeddings), dim=-1)
    weighed: Tensor = torch.tensordot(scores, drawn, dims=1)  # (N, *positions)
    return weighed / drawn.sum(0)
