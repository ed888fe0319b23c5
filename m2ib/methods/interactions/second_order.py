"""``second-order``: integrated Jacobians of both encoders, multiplied (Moeller, Tilli, Vu and Pado, TMLR 2025; arXiv 2408.14153).

With g and h the tails of the two encoders up to their unit embeddings, a and b what passes at a layer of each, a' and b'
what passes there of the inputs with everything hidden (or the mean over reference inputs, by channel, or 0), and
a(u) = a' + u (a - a')::

    G_i = integral over u from 0 to 1 of  dg/da_i at a(u)  times  (a_i - a'_i)         (D,) for each position i
    H_j = likewise of h, b and b'

    m_ij = G_i . H_j

G adds up to g(a) - g(a') over all positions, and H likewise, so m adds up to ``(g(a) - g(a')) . (h(b) - h(b'))``, class and
other special positions included: how much of the cosine is of both inputs together. Those positions are in no unit.

With ``shifts`` the input is looked at so many times, moved by parts of a cell, and the matrix is of finer cells.

G has D numbers for each position, and the Jacobian D rows. It is never made: for the side of fewer units H_j is a product of
the Jacobian with a vector, by forward mode; then m_.j is a product of H_j with the Jacobian, by reverse mode. So
there is no optimisation, and as many passes as there are words and points of the line.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.autograd.forward_ad import dual_level, make_dual, unpack_dual
from torch.nn.attention import SDPBackend, sdpa_kernel

from m2ib.activations.capture import Tail, check_differentiable, cut_graph, record
from m2ib.contract.inputs import row
from m2ib.errors import AdapterError
from m2ib.methods.base import Batch
from m2ib.methods.interactions.base import PairMethod, Side, of_directions

_AT_ONCE = 2**20  # numbers of z in one pass


class Line:
    """The way of one input's activation (1, ...) at a layer, from ``start``, everything hidden, to ``end``."""

    def __init__(self, side: Side, batch: Batch) -> None:
        layer = side.settings.layer
        self.side, self.batch, self.encoder, self.model = side, batch, batch.encoder, batch.model
        self.recording = record(self.encoder, batch.inputs, layer)
        self.axis = self.encoder.layer(layer).channel_axis
        wide = torch.promote_types(self.recording.activation.dtype, torch.float32)
        self.end = self.recording.activation.detach().to(wide)
        self.start = torch.zeros_like(self.end)
        if side.settings.baseline == "hidden":
            hidden = replace(side.hidden, batch=batch)
            nothing = hidden.by_cell(np.zeros((1, int(hidden.hideable.sum()))))
            inputs = hidden.degradation.apply(batch.inputs, nothing, batch.layouts[0])
            self.start = record(self.encoder, inputs, layer).activation.detach().to(wide)
        elif side.settings.baseline == "usual":
            batch.references.check(batch.model, batch.modality, "baseline='usual'")
            usual = batch.references.statistics(batch.model, batch.modality, layer)
            self.start = usual.like(self.end, self.axis % self.end.ndim)[0].expand_as(self.end)
        self.way = self.end - self.start
        places, weights = np.polynomial.legendre.leggauss(side.settings.steps)
        self.weights = self._along(weights / 2)  # (S, 1, ...)
        self.points = self.start + self._along((places + 1) / 2) * self.way  # (S, ...)

    def _along(self, values: np.ndarray) -> Tensor:
        return torch.tensor(values).to(self.end).view(-1, *[1] * (self.end.ndim - 1))

    def masks(self, cells: Tensor) -> Tensor:
        """(units, *positions, 1) as the activation is shaped: 1 at the positions of a unit, of which ``cells`` (units, cells) tells the cells."""
        positions = list(self.end.shape[1:])
        del positions[self.axis % self.end.ndim - 1]
        cells = cells.to(self.end)
        flat = cells.new_zeros(len(cells), int(np.prod(positions)))
        flat[:, self.batch.layouts[0].cells(tuple(positions))] = cells
        return flat.view(-1, *positions).unsqueeze(self.axis)

    def forward(self, cells: Tensor) -> Tensor:
        """Of each unit the integral of the Jacobian times the way of its positions: (units, D). Forward mode."""
        ways = self.way * self.masks(cells)  # (units, ...)
        z = self.points.repeat(len(ways), *[1] * (self.end.ndim - 1))  # (units * S, ...)
        tangents = ways.repeat_interleave(len(self.points), 0)
        size = max(1, _AT_ONCE // self.end.numel())
        found = [
            self._forward(*part) for part in zip(z.split(size), tangents.split(size), strict=True)
        ]  # (P, D) each
        moved = torch.cat(found).unflatten(0, (len(ways), -1))  # (units, S, D)
        summed: Tensor = (moved * self.weights.view(-1, 1)).sum(1)
        return summed

    def _forward(self, z: Tensor, tangents: Tensor) -> Tensor:
        dtype = self.recording.activation.dtype
        try:
            # fused attention, and an adapter's own tail, may know no derivative of this kind
            with (
                warnings.catch_warnings(),
                torch.no_grad(),
                sdpa_kernel(SDPBackend.MATH),
                dual_level(),
                Tail(self.recording, len(z), fast=False) as tail,
            ):
                warnings.filterwarnings(
                    "ignore", "`torch.jit", FutureWarning
                )  # torch's own, of its derivatives
                out = tail(make_dual(z.to(dtype), tangents.to(dtype))).to(self.end.dtype)
                moved: Tensor | None = unpack_dual(self.model.unit(out)).tangent
        except (NotImplementedError, RuntimeError) as error:
            if not _without_derivative(error):
                raise
            raise AdapterError(
                f"{self.encoder.modality}: second-order needs a forward derivative of what comes after layer {self.recording.layer}, "
                f"and a part of it has none ({' '.join(str(error).split()):.80}); interactions='by-word' and 'banzhaf' need none"
            ) from error
        if moved is None:
            raise cut_graph(self.encoder, self.recording.layer)
        return moved

    def backward(self, vectors: Tensor) -> Tensor:
        """Of each vector (V, D), times the integrated Jacobian and the way, by cell: (V, *cells). Reverse mode."""
        check_differentiable(self.encoder, self.recording.layer)
        z = self.points.to(self.recording.activation.dtype).requires_grad_()  # (S, ...)
        with torch.enable_grad(), Tail(self.recording, len(z), fast=self.batch.fast) as tail:
            out = self.model.unit(tail(z).to(self.end.dtype))  # (S, D)
            if not out.requires_grad:
                raise cut_graph(self.encoder, self.recording.layer)
            found = []
            for vector in vectors.to(out):
                (gradient,) = torch.autograd.grad(
                    (out * vector).sum(), z, retain_graph=True, allow_unused=True
                )
                if gradient is None:
                    raise cut_graph(self.encoder, self.recording.layer)
                found.append((gradient * self.weights).sum(0))
        products = (torch.stack(found) * self.way).sum(self.axis)  # (V, *positions)
        layout = self.batch.layouts[0]
        return torch.from_numpy(np.stack([layout.to_grid(row) for row in products.cpu().double().numpy()]))


def _without_derivative(error: Exception) -> bool:
    """Whether torch says that it knows no forward derivative of something."""
    return any(said in str(error) for said in ("jvp", "forward mode AD", "forward AD"))


def _lines(side: Side) -> list[Line]:
    """Of the input, or of each of its shifts."""
    inputs = side.shifts.apply(side.batch.inputs)
    return [
        Line(side, replace(side.batch, inputs=row(inputs, number))) for number in range(side.shifts.number)
    ]


def _forward(side: Side) -> Tensor:
    """(units, D)"""
    lines = _lines(side)
    if len(lines) == 1:
        return lines[0].forward(side.cells)
    every = torch.eye(math.prod(side.grid), dtype=torch.float64)
    maps = np.stack([line.forward(every).T.cpu().double().numpy() for line in lines])  # (shifts, D, cells)
    fine = side.shifts.joined(maps.reshape(*maps.shape[:2], *side.grid))  # (D, *finer cells)
    return torch.from_numpy(fine.reshape(len(fine), -1)).T.to(lines[0].end)


def _backward(side: Side, vectors: Tensor) -> Tensor:
    """(V, units)"""
    maps = [line.backward(vectors) for line in _lines(side)]  # (V, *cells) each
    if len(maps) == 1:
        return maps[0].flatten(1) @ side.cells.T
    return torch.from_numpy(side.shifts.joined(torch.stack(maps).numpy())).flatten(1)


def find(first: Side, second: Side) -> tuple[np.ndarray, tuple[str, ...]]:
    turned = second.units.number > first.units.number
    few, many = (first, second) if turned else (second, first)
    found = _backward(many, _forward(few)).numpy()  # (few, many)
    return (found if turned else found.T), ()


def method() -> PairMethod:
    return PairMethod(find, of_directions)
