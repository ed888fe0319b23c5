"""A loaded shared-embedding model behind its adapter."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import cloudpickle
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from m2ib.contract.encoder import Encoder
from m2ib.contract.inputs import Inputs, Item, each_tensor, first_of
from m2ib.contract.similarity import COSINE, Similarity
from m2ib.errors import AdapterError, InputError
from m2ib.execution.context import alone, default_execution, entrances, evaluating, neutral
from m2ib.execution.half_precision import or_in_float32
from m2ib.notices import collected_warnings
from m2ib.promises import leaves_nothing

_SHORTEST = 1e-12  # below, `normalize` makes no unit vector


@dataclass(frozen=True, eq=False)
class Model:
    """What ``load_model`` returns.

    module    the ``torch.nn.Module`` itself
    encoders  one :class:`Encoder` for each modality
    device    where the module and its inputs are
    dtype     of the weights and of floating-point inputs
    origin    which adapter, checkpoint and versions; JSON-able, becomes part of the provenance
    recipe    what ``load_model`` was given, where that is JSON-able: it gives this model again; None otherwise
    similarity  of two embeddings: what is explained
    """

    module: nn.Module
    encoders: Mapping[str, Encoder]
    device: torch.device
    dtype: torch.dtype
    origin: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] | None = None
    similarity: Similarity = COSINE

    @property
    def modalities(self) -> tuple[str, ...]:
        """The kinds of input this model takes."""
        return tuple(self.encoders)

    def encoder(self, modality: str) -> Encoder:
        """The branch for a modality. Raises :class:`InputError` naming those the model has."""
        try:
            return self.encoders[modality]
        except (KeyError, TypeError):
            raise InputError(
                f"model {self.origin.get('adapter', '')!r} takes no {modality!r}; it takes {', '.join(self.modalities)}"
            ) from None

    @leaves_nothing
    def item(self, modality: str, raw: Any, *, truncate: bool = False) -> Item:
        """One raw input made ready, or one preprocessed tensor (no batch axis) taken as it is.

        What cannot be used as it is may be a batch: one of a single input is taken as that input. Raises
        :class:`InputError`, for a batch of several too.
        """
        try:
            return self._item(modality, raw, truncate)
        except Exception as error:  # an adapter's prepare may raise anything
            batch = first_of(raw)
            if batch is None:
                raise
            fault = error
        first, count = batch
        try:
            item = self._item(modality, first, truncate)
        except Exception as error:
            raise (error if count == 1 and isinstance(raw, (list, tuple)) else fault) from None
        if count == 1:
            return replace(item, origin={**item.origin, "batch_of": 1})
        said = f"{fault}; if this" if isinstance(raw, np.ndarray) else f"{modality}: this"
        raise InputError(
            f"{said} is a batch of {count}, give one of them, or each in a pair of its own to m2ib.explain_many, or all as "
            "one target, m2ib.ensemble(*batch)"
        ) from None

    def _item(self, modality: str, raw: Any, truncate: bool) -> Item:
        encoder = self.encoder(modality)
        if isinstance(raw, Item):
            return raw
        if isinstance(raw, Tensor) and raw.is_meta:
            raise InputError(
                f"{modality}: the tensor is on the device 'meta' and holds no numbers; give one that does"
            )
        if isinstance(raw, Tensor) and raw.is_floating_point() and not torch.isfinite(raw).all():
            raise InputError(f"{modality}: the tensor holds NaN or infinite values")
        with neutral(), collected_warnings() as warned:
            if isinstance(raw, Tensor):
                item: Item = _ready(encoder.describe, "preprocessed tensors", modality)(raw.detach().cpu())
            else:
                item = _ready(encoder.prepare, "raw inputs", modality)(raw, truncate=truncate)
        return replace(item, origin={**item.origin, "warnings": warned}) if warned else item

    def collate(self, modality: str, items: Sequence[Item]) -> Inputs:
        """Items as one batch on the model's device and in its dtype."""
        with neutral():
            return self._move(self.encoder(modality).collate([item.inputs for item in items]))

    def collate_one(self, inputs: Inputs) -> Inputs:
        """Inputs without batch axis as a batch of one, on the model's device and in its dtype."""
        return self._move(each_tensor(inputs, lambda tensor: tensor[None]))

    @leaves_nothing
    def preprocess(self, modality: str, raws: Sequence[Any], *, truncate: bool = False) -> Inputs:
        """Raw inputs as the encoder takes them, batch axis first, on the model's device.

        Raises :class:`InputError` for an input that cannot be used.
        """
        if isinstance(raws, (str, bytes)) or not isinstance(raws, Sequence):
            raise InputError(f"preprocess: give a list of {modality} inputs, not {type(raws).__name__}")
        if not raws:
            raise InputError(f"preprocess: the list of {modality} inputs is empty")
        return self.collate(modality, [self.item(modality, raw, truncate=truncate) for raw in raws])

    @leaves_nothing
    def embed(self, modality: str, inputs: Inputs) -> Tensor:
        """Embeddings of preprocessed inputs: float32 (N, D), rows L2-normalised, without gradient.

        As the encoder gives them for a :class:`Similarity` to which lengths matter; sets of vectors are (N, K, D).
        """
        encoder = self.encoder(modality)
        with self.running(), torch.no_grad():
            return self.unit(self.sound(modality, encoder.embed(self._move(inputs))).float())

    def unit(self, embeddings: Tensor) -> Tensor:
        """With nothing but their directions, where the similarity asks for no more."""
        return normalize(embeddings, dim=-1) if self.similarity.directions else embeddings

    def sound(self, modality: str, embedding: Tensor) -> Tensor:
        """An embedding (N, D) or (N, K, D) itself, if each has a direction. Raises :class:`InputError` for 0, NaN and infinite values."""
        axes = 3 if self.similarity.sets else 2
        if not isinstance(embedding, Tensor) or embedding.ndim != axes or not embedding.is_floating_point():
            kind = (
                f"{tuple(embedding.shape)} {embedding.dtype}"
                if isinstance(embedding, Tensor)
                else type(embedding)
            )
            shape = "sets of vectors (N, K, D)" if self.similarity.sets else "(N, D)"
            raise AdapterError(f"{modality}: embed gives {kind}; it must be real numbers {shape}")
        if embedding.is_meta:  # a model without weights, of which only shapes are asked
            return embedding
        lengths = embedding.detach().cpu().double().flatten(1).norm(dim=-1)  # (N,)
        if not torch.isfinite(lengths).all():
            raise InputError(f"{modality}: the embedding holds NaN or infinite values; {self._remedy()}")
        if (lengths < _SHORTEST).any():
            raise InputError(
                f"{modality}: the embedding is 0, so it is close to nothing and nothing can be explained; check the input "
                "and the model's weights"
            )
        return embedding

    def _remedy(self) -> str:
        """What to do about NaN."""
        named = chain(self.module.named_parameters(), self.module.named_buffers())
        bad = [
            name
            for name, value in named
            if value.is_floating_point()
            and not (torch.isfinite(value).all() if isinstance(value, nn.Parameter) else ~value.isnan().any())
        ]
        if bad:
            return f"so do {len(bad)} of the model's weights, first {', '.join(bad[:3])}; load sound ones"
        return f"check the input{or_in_float32(self.dtype)}"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, no other thread runs the module, nor a fit of any model; what it computes is as it was loaded."""
        layers = [layer.module for encoder in self.encoders.values() for layer in encoder.known_layers]
        with alone(entrances(self.module, layers)), default_execution(self.device, self.dtype):
            yield

    @contextmanager
    def running(self) -> Iterator[None]:
        """:meth:`alone`, in evaluation mode; all as before outside."""
        with self.alone(), evaluating(self.module):
            yield

    def _move(self, inputs: Inputs) -> Inputs:
        def moved(tensor: Tensor) -> Tensor:
            if tensor.is_meta and self.device.type != "meta":
                raise InputError(
                    f"model {self.origin.get('adapter', '')!r}: inputs on the device 'meta' hold no numbers"
                )
            return tensor.to(self.device, self.dtype if tensor.is_floating_point() else None)

        return each_tensor(inputs, moved)

    @leaves_nothing
    def __reduce__(self) -> tuple[Callable[[bytes], Model], tuple[bytes]]:
        """For pickle, torch.save and deepcopy: encoders are functions that hold the module, and get the copy of it."""
        stored = io.BytesIO()
        fields = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        try:
            with self.alone():
                torch.save(fields, stored, pickle_module=cloudpickle)
        except Exception as error:  # an adapter's parts may be anything
            raise InputError(
                f"model {self.origin.get('adapter', '')!r}: cannot be copied or pickled, for one of its parts cannot: "
                f"{' '.join(str(error).split()):.200}; load it a second time instead"
            ) from error
        return _restored, (stored.getvalue(),)

    def __copy__(self) -> Model:
        return replace(self)

    def __repr__(self) -> str:
        return (
            f"Model({self.origin.get('adapter', '?')}, checkpoint={self.origin.get('checkpoint')!r}, "
            f"modalities={self.modalities}, {self.device}, {str(self.dtype).removeprefix('torch.')})"
        )


def _restored(stored: bytes) -> Model:
    """The inverse of ``Model.__reduce__``."""
    with torch.inference_mode(False):  # what is made inside never has a gradient
        return Model(**torch.load(io.BytesIO(stored), weights_only=False))


def _ready(make: Callable[..., Any] | None, what: str, modality: str) -> Callable[..., Any]:
    """What makes an item. Raises :class:`InputError` for an encoder that takes none of ``what``."""
    if make is None:
        other = "a raw input" if what.startswith("pre") else "a preprocessed tensor"
        raise InputError(f"{modality}: this model takes no {what}; give {other}")
    return make
