"""What is usual: how similar other inputs are, and what activations of a layer are, by channel, for ``standardize``.

IBA (Schulz et al. 2020) lets its bottleneck work on a' = (a - mean) / std, both estimated on data. Noise of
variance 1 and the KL's standard-normal prior then suit every layer and channel, whatever their scale. Here the
estimate is by channel, over reference inputs and the positions that the model reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from m2ib.activations.capture import record
from m2ib.contract.encoder import Encoder
from m2ib.contract.model import Model
from m2ib.contract.targets import Targets
from m2ib.errors import InputError, SettingError

STD_FLOOR = 0.01
"""No channel's std counts as less, as in IBA's code: one that hardly ever moves is not blown up."""


@dataclass(frozen=True, eq=False)
class Statistics:
    """Of one layer, in float64 on the CPU.

    mean, std  (C,) each; std is that of the population, ``STD_FLOOR`` at least
    source     which reference inputs, JSON-able
    """

    mean: Tensor
    std: Tensor
    source: Mapping[str, Any]

    def like(self, activation: Tensor, channel_axis: int) -> tuple[Tensor, Tensor]:
        """Mean and std with the axes, dtype and device of ``activation`` (N, ...), of size 1 but for the channels'."""
        shape = [1] * activation.ndim
        shape[channel_axis] = -1
        return self.mean.to(activation).view(shape), self.std.to(activation).view(shape)


_SAMPLE = 1024  # values of each tensor by which a change is noticed
USUAL = 32
"""So many reference inputs are compared with."""

_embedded: WeakKeyDictionary[Encoder, tuple[int, Sequence[Tensor]]] = WeakKeyDictionary()
# By encoder and layer, of the adapter's own reference inputs: with the state of the weights they were made with.
_known: WeakKeyDictionary[Encoder, dict[int, tuple[int, Statistics]]] = WeakKeyDictionary()


class References:
    """The reference inputs of one call: those given by modality, else the adapter's own.

    Statistics are computed at first use, each once; those of an adapter's own inputs are kept as long as the
    encoder lives and its weights stay as they are.
    """

    def __init__(self, given: Any = None) -> None:
        """Raises :class:`SettingError` for what is not a dict of lists by modality."""
        if given is not None and not isinstance(given, Mapping):
            raise SettingError(
                f"reference: {given!r:.80} is not a dict by modality, as in reference={{'image': [first, second]}}"
            )
        self._given: dict[str, Sequence[Any]] = {}
        for modality, raws in (given or {}).items():
            if raws is None:
                continue
            if isinstance(raws, (str, bytes)) or not isinstance(raws, Sequence) or not raws:
                raise SettingError(
                    f"reference for {modality}: {raws!r:.80} is not a list of raw inputs; give some"
                )
            self._given[modality] = raws
        self._embedded: dict[str, tuple[int, Sequence[Tensor]]] = {}
        self._found: dict[tuple[str, int, int], Statistics] = {}

    def check(self, model: Model, modality: str, purpose: str = "standardize") -> None:
        """Raises :class:`SettingError` where there are none for what needs them."""
        strangers = sorted(set(self._given) - set(model.modalities), key=str)
        if strangers:
            raise SettingError(
                f"reference: {strangers[0]!r} is not a modality of this model ({', '.join(model.modalities)})"
            )
        if modality not in self._given and model.encoder(modality).reference is None:
            raise SettingError(
                f"{purpose} for {modality}: this model brings no reference inputs; give some, as in "
                f"reference={{{modality!r}: [first, second, ...]}}"
            )

    def similarities(self, model: Model, modality: str, targets: Targets) -> Tensor | None:
        """(N, K) of the first reference inputs to N targets; None where there are none."""
        rows = [
            each.expand(len(targets), *each.shape[1:])
            for each in self.embedded(model, modality)  # (1, ...) each
        ]
        return torch.stack([targets(each) for each in rows], -1) if rows else None  # (N, K)

    def embedded(self, model: Model, modality: str) -> Sequence[Tensor]:
        """Embeddings (1, ...) of the first reference inputs; none where there are none."""
        encoder, raws = model.encoder(modality), self._given.get(modality)
        if raws is None and encoder.reference is None:
            return ()
        state = state_of(model.module)
        known = _embedded.get(encoder) if raws is None else self._embedded.get(modality)
        if known is None or known[0] != state:
            items = [model.item(modality, raw) for raw in list(raws or encoder.reference())[:USUAL]]  # type: ignore[misc]
            with torch.no_grad():
                rows = [
                    model.sound(modality, encoder.embed(model.collate(modality, [item]))) for item in items
                ]  # (1, D) each
            known = self._keep(encoder, state, rows)
        return known[1]

    def _keep(self, encoder: Encoder, state: int, rows: Sequence[Tensor]) -> tuple[int, Sequence[Tensor]]:
        """Embeddings (1, ...) of the first reference inputs, as long as the weights stay as they are."""
        known = state, [each.to(torch.promote_types(each.dtype, torch.float32)) for each in rows[:USUAL]]
        if encoder.modality in self._given:
            self._embedded[encoder.modality] = known
        else:
            _embedded[encoder] = known
        return known

    def statistics(self, model: Model, modality: str, layer: int) -> Statistics:
        """Of a layer's activations over the reference inputs."""
        encoder = model.encoder(modality)
        raws = self._given.get(modality)
        if raws is not None:
            key = modality, layer, state_of(model.module)
            if key not in self._found:
                self._found[key], rows = _estimate(model, modality, layer, raws, "given")
                self._keep(encoder, key[2], rows)
            return self._found[key]
        assert encoder.reference is not None  # checked before
        known, state = _known.setdefault(encoder, {}), state_of(model.module)
        if layer not in known or known[layer][0] != state:
            found, rows = _estimate(model, modality, layer, encoder.reference(), "the adapter's")
            known[layer] = state, found
            self._keep(encoder, state, rows)
        return known[layer][1]


def state_of(module: nn.Module) -> int:
    """Changes with the weights, whether they are replaced or changed in place, also past autograd's count (``.data``)."""
    tensors = list(chain(module.parameters(), module.buffers()))
    plain = [each for each in tensors if type(each) in (nn.Parameter, Tensor) and each.numel()]
    samples = [each.detach().flatten()[:: 1 + each.numel() // _SAMPLE].double().sum() for each in plain]
    sums = torch.stack([each.to(samples[0].device) for each in samples]).tolist() if samples else []
    return hash((*((tensor.data_ptr(), tensor._version) for tensor in tensors), *sums))


def _estimate(
    model: Model, modality: str, layer: int, raws: Sequence[Any], source: str
) -> tuple[Statistics, list[Tensor]]:
    """With the inputs' embeddings, (1, D) each. One input after the other, so that nothing depends on a batch; their moments joined (Chan et al. 1979)."""
    encoder = model.encoder(modality)
    place = encoder.layer(layer)
    embeddings: list[Tensor] = []
    count, mean, squares = 0, torch.zeros((), device="cpu"), torch.zeros((), device="cpu")
    for raw in raws:
        item = model.item(modality, raw)
        recording = record(encoder, model.collate(modality, [item]), layer)
        embeddings.append(recording.embedding)
        activation = recording.activation  # (1, ...)
        rows = activation.detach().cpu().double().movedim(place.channel_axis, -1)  # (1, ..., C)
        rows = rows[:, : item.layout.read].flatten(0, -2)  # (P, C); a slice to None is all
        more, own = len(rows), rows.mean(0)  # (C,)
        step = own - mean
        squares = squares + (rows - own).square().sum(0) + step.square() * count * more / (count + more)
        mean = mean + step * more / (count + more)
        count += more
    std = (squares / count).sqrt()
    if not torch.isfinite(std).all():
        raise InputError(
            f"reference for {modality}: the model gives NaN or infinite values at layer {layer} for them"
        )
    return Statistics(mean, std.clamp_min(STD_FLOOR), {"inputs": len(raws), "from": source}), embeddings
