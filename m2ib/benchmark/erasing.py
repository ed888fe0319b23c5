"""Taking evidence out of a preprocessed input, or leaving nothing else in it.

What is taken out is replaced by the median, for each input and each channel, of the tensor over the positions
outside the masks of all objects. A channel is everything but the positions: a colour of a picture, a mel band of a
sound over time, a trace of a motion. (Of an even number of values, torch's median is the lower middle one.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from m2ib.contract.encoder import Encoder
from m2ib.contract.inputs import Inputs
from m2ib.contract.layout import Axis
from m2ib.contract.model import Model
from m2ib.evaluation.raster import edges, sample_places
from m2ib.renderers.interpolation import interpolate


@dataclass(frozen=True)
class Samples:
    """Where the positions of a tensor, its last axes, lie on a raster.

    axes   one for each position axis: spans in the raw input's own terms
    index  for each axis (length,): the raster's place of each sample, -1 outside
    """

    axes: tuple[Axis, ...]
    index: tuple[np.ndarray, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the positions."""
        return tuple(len(index) for index in self.index)

    def of(self, masks: np.ndarray) -> np.ndarray:
        """Masks (N, *raster) at the samples, (N, *positions); nothing lies outside the raster."""
        for axis, index in enumerate(self.index, 1):
            shape = [1] * masks.ndim
            shape[axis] = len(index)
            masks = np.take(masks, index.clip(0), axis) & (index >= 0).reshape(shape)
        return masks


def samples_of(
    encoder: Encoder, inputs: object, axes: Sequence[Axis], raster: Sequence[Axis]
) -> Samples | None:
    """Of the inputs (N, ...) of an encoder whose grid has ``axes``; None where they cannot be told.

    They can be where the encoder takes one tensor of numbers, whose last axes are the last of the grid
    (:attr:`Encoder.stride`), and these are the raster's.
    """
    names = tuple(axis.name for axis in raster)
    last = tuple(axes[-len(names) :])
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point() or inputs.ndim <= len(names):
        return None
    if tuple(axis.name for axis in last) != names:
        return None
    found, index = [], []
    for place, (axis, wanted) in enumerate(zip(last, raster, strict=True)):
        at = place - len(names)
        length = inputs.shape[at]
        stride = length / len(axis.spans) if encoder.stride is None else encoder.stride[at]
        cuts = sample_places(length, axis, stride, wanted)  # (length + 1,)
        bounds = edges(wanted)
        raw = interpolate(cuts, np.arange(len(bounds), dtype=np.float64), bounds)
        found.append(
            Axis(wanted.name, wanted.unit, tuple(zip(raw[:-1].tolist(), raw[1:].tolist(), strict=True)))
        )
        centres = np.floor((cuts[:-1] + cuts[1:]) / 2 + 1e-6).astype(int)
        index.append(np.where((centres >= 0) & (centres < len(wanted.spans)), centres, -1))
    return Samples(tuple(found), tuple(index))


@dataclass(frozen=True)
class Eraser:
    """Inputs (N, channels..., positions...), what stands in for them (N, channels..., 1...), and their targets."""

    model: Model
    modality: str
    inputs: Tensor
    fill: Tensor
    targets: Tensor
    samples: Samples

    @classmethod
    def of(
        cls,
        model: Model,
        modality: str,
        inputs: Tensor,
        targets: Tensor,
        samples: Samples,
        objects: np.ndarray,
    ) -> Eraser:
        """objects  (N, *raster) bool: what any object covers"""
        covered = torch.from_numpy(samples.of(objects)).to(inputs.device)  # (N, *positions)
        return cls(model, modality, inputs, medians(inputs, covered), targets, samples)

    def blend(self, keep: Tensor) -> Tensor:
        """(N, ...): each input where ``keep`` is 1, its fill where it is 0. ``keep`` (N or 1, *positions)."""
        gap = self.inputs.ndim - keep.ndim
        weights = keep.to(self.inputs.dtype).reshape(len(keep), *[1] * gap, *keep.shape[1:])
        return self.fill + (self.inputs - self.fill) * weights

    def cosine(self, inputs: Tensor) -> np.ndarray:
        """(N,) of the embeddings of ``inputs`` (N, ...) and the targets."""
        return cosines(self.model, self.modality, inputs, self.targets)

    def effect(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cosine (N,) without the chosen places (N, *raster) bool, and with them alone."""
        keep = torch.from_numpy(self.samples.of(chosen)).to(self.inputs.device)  # (N, *positions)
        return self.cosine(self.blend(~keep)), self.cosine(self.blend(keep))

    def empty(self) -> np.ndarray:
        """Cosine (N,) with nothing but the fill."""
        return self.cosine(self.fill.expand_as(self.inputs))


def medians(inputs: Tensor, covered: Tensor) -> Tensor:
    """(N, channels..., 1...): of inputs (N, channels..., positions...) where ``covered`` (N, positions...) is not.

    Of all positions, for an input that is covered everywhere.
    """
    count = covered.ndim - 1
    gap = inputs.ndim - covered.ndim
    hidden = covered.reshape(len(covered), *[1] * gap, *covered.shape[1:])
    rows = inputs.float().masked_fill(hidden, float("nan")).flatten(-count)  # (N, channels..., P)
    found = rows.nanmedian(-1).values
    found = torch.where(found.isnan(), inputs.float().flatten(-count).median(-1).values, found)
    return found.to(inputs.dtype).reshape(*found.shape, *[1] * count)


def cosines(model: Model, modality: str, inputs: Inputs, targets: Tensor) -> np.ndarray:
    """(N,) cosine of the embedding of each of N inputs and its target (N, D)."""
    embeddings = model.embed(modality, inputs)  # (N, D), of length 1
    aims = normalize(targets.to(embeddings), dim=-1)
    return (embeddings * aims).sum(-1).cpu().numpy().astype(np.float64)
