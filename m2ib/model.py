"""A loaded shared-embedding model behind its adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from m2ib.capture import as_loaded, frozen
from m2ib.contract import Encoder, Inputs, Item
from m2ib.errors import AdapterError, InputError, SettingError, did_you_mean
from m2ib.notices import keeping
from m2ib.registry import AdapterInfo, Registry, default_registry

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}


@dataclass(frozen=True, eq=False)
class Model:
    """What ``load_model`` returns.

    module    the ``torch.nn.Module`` itself
    encoders  one :class:`Encoder` for each modality
    device    where the module and its inputs are
    dtype     of the weights and of floating-point inputs
    origin    which adapter, checkpoint and versions; JSON-able, becomes part of the provenance
    """

    module: nn.Module
    encoders: Mapping[str, Encoder]
    device: torch.device
    dtype: torch.dtype
    origin: Mapping[str, Any] = field(default_factory=dict)

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

    def item(self, modality: str, raw: Any, *, truncate: bool = False) -> Item:
        """One raw input made ready, or one preprocessed tensor (no batch axis) taken as it is."""
        encoder = self.encoder(modality)
        if isinstance(raw, Tensor) and raw.is_floating_point() and not torch.isfinite(raw).all():
            raise InputError(f"{modality}: the tensor holds NaN or infinite values")
        with torch.device("cpu"), keeping() as warned:  # whatever the caller's default device is
            if isinstance(raw, Tensor):
                item: Item = _ready(encoder.describe, "preprocessed tensors", modality)(raw.detach().cpu())
            else:
                item = _ready(encoder.prepare, "raw inputs", modality)(raw, truncate=truncate)
        return replace(item, origin={**item.origin, "warnings": warned}) if warned else item

    def collate(self, modality: str, items: Sequence[Item]) -> Inputs:
        """Items as one batch on the model's device and in its dtype."""
        return self._move(self.encoder(modality).collate([item.inputs for item in items]))

    def collate_one(self, inputs: Inputs) -> Inputs:
        """Inputs without batch axis as a batch of one, on the model's device and in its dtype."""
        if isinstance(inputs, dict):
            return self._move({name: tensor[None] for name, tensor in inputs.items()})
        return self._move(inputs[None])

    def preprocess(self, modality: str, raws: Sequence[Any], *, truncate: bool = False) -> Inputs:
        """Raw inputs as the encoder takes them, batch axis first, on the model's device.

        Raises :class:`InputError` for an input that cannot be used.
        """
        if isinstance(raws, (str, bytes)) or not isinstance(raws, Sequence):
            raise InputError(f"preprocess: give a list of {modality} inputs, not {type(raws).__name__}")
        if not raws:
            raise InputError(f"preprocess: the list of {modality} inputs is empty")
        return self.collate(modality, [self.item(modality, raw, truncate=truncate) for raw in raws])

    def embed(self, modality: str, inputs: Inputs) -> Tensor:
        """Embeddings of preprocessed inputs: float32 (N, D), rows L2-normalised, without gradient."""
        encoder = self.encoder(modality)
        with as_loaded(self.device, self.dtype), frozen(self.module), torch.no_grad():
            return normalize(encoder.embed(self._move(inputs)).float(), dim=-1)

    def _move(self, inputs: Inputs) -> Inputs:
        if isinstance(inputs, dict):
            return {name: self._move_tensor(tensor) for name, tensor in inputs.items()}
        return self._move_tensor(inputs)

    def _move_tensor(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, self.dtype if tensor.is_floating_point() else None)

    def __repr__(self) -> str:
        return (
            f"Model({self.origin.get('adapter', '?')}, checkpoint={self.origin.get('checkpoint')!r}, "
            f"modalities={self.modalities}, {self.device}, {str(self.dtype).removeprefix('torch.')})"
        )


def _ready(make: Callable[..., Any] | None, what: str, modality: str) -> Callable[..., Any]:
    """What makes an item. Raises :class:`InputError` for an encoder that takes none of ``what``."""
    if make is None:
        other = "a raw input" if what.startswith("pre") else "a preprocessed tensor"
        raise InputError(f"{modality}: this model takes no {what}; give {other}")
    return make


def resolve_device(device: str | torch.device) -> torch.device:
    """``"auto"`` is CUDA if there is any, else Apple's MPS, else the CPU."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError):
        raise SettingError(f"device: {device!r} is unknown; use 'auto', 'cpu', 'cuda' or 'cuda:1'") from None
    try:
        torch.empty(1, device=resolved)
    except (RuntimeError, AssertionError, ImportError):  # no driver, or a torch built without it
        raise SettingError(
            f"device: {device!r} was asked for, but torch cannot use it here; use 'auto' or 'cpu'"
        ) from None
    if resolved.type == "cuda" and resolved.index is None:  # the one that is current now, also later on
        return torch.device("cuda", torch.cuda.current_device())
    return resolved


def resolve_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """A name out of ``DTYPES``, or the torch dtype itself."""
    if isinstance(dtype, torch.dtype) and dtype in DTYPES.values():
        return dtype
    if isinstance(dtype, str) and dtype in DTYPES:
        return DTYPES[dtype]
    raise SettingError(f"dtype: {dtype!r} is unknown; use one of {', '.join(DTYPES)}")


def load_model(
    name: str,
    *,
    checkpoint: Any = None,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "float32",
    registry: Registry | None = None,
    **options: Any,
) -> Model:
    """Load a model through the adapter called ``name`` (or ``dist:name``).

    checkpoint  what the adapter takes: a hub id, a folder, a file; None: its default
    device      "auto", "cpu", "cuda", ...
    dtype       "float32", "bfloat16", "float16" or "float64"
    options     the adapter's own, see its documentation

    Raises :class:`AdapterError` for an unknown or ambiguous name or a missing package,
    :class:`CheckpointError` for weights that cannot be used, :class:`SettingError` for the rest.
    """
    info = (registry or default_registry()).find(name)
    place, precision = resolve_device(device), resolve_dtype(dtype)
    _check_options(info, options)
    try:
        with torch.inference_mode(False):  # weights made in inference mode could never be differentiated
            model = info.spec.load(checkpoint=checkpoint, device=place, dtype=precision, **options)
    except ImportError as error:
        install = f"pip install '{info.spec.extra}'" if info.spec.extra else "install what it needs"
        raise AdapterError(
            f"adapter {info.name!r} needs {error.name or error}, which cannot be imported: {install}"
        ) from error
    except TypeError as error:
        if "unexpected keyword argument" in str(error) and options:
            raise SettingError(f"adapter {info.name!r}: {error}") from error
        raise
    if not isinstance(model, Model):
        raise AdapterError(f"adapter {info.name!r}: load returned {type(model).__name__}, not an m2ib.Model")
    missing = [modality for modality in info.modalities if modality not in model.encoders]
    if missing:
        raise AdapterError(f"adapter {info.name!r}: load brought no encoder for {', '.join(missing)}")
    origin = {"adapter": info.name, "distribution": info.origin} | {
        name: value for name, value in model.origin.items() if name != "adapter"
    }
    return Model(model.module, model.encoders, place, precision, origin)


def _check_options(info: AdapterInfo, options: Mapping[str, Any]) -> None:
    """Raises :class:`SettingError` for an option that the adapter does not name, if it names its options."""
    known = info.spec.options
    for name in options:
        if known and name not in known:
            hint = did_you_mean(name, known)
            raise SettingError(
                f"adapter {info.name!r} has no option {name!r}{hint} It has {', '.join(known)}"
            )
