"""What an adapter supplies for each modality. Plain data and callables; the core does the rest.

::

    raw --prepare--> Item --collate--> inputs (N, ...) --embed--> (N, D)
                       |                                  ^
                       layout, view              layers: where an activation is read and replaced
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

from m2ib.contract.inputs import Inputs, Item, stack
from m2ib.contract.layout import Layout
from m2ib.errors import AdapterError, InputError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from m2ib.contract.attribution import Renderer
    from m2ib.contract.degradation import Degradation


def read_first(output: Any) -> Tensor:
    """The tensor of a layer's output: the output itself, or the first element of a tuple."""
    value = output[0] if isinstance(output, (tuple, list)) else output
    if not isinstance(value, Tensor):
        raise InputError(
            f"layer: cannot find a tensor in an output of type {type(output).__name__}; give the Layer a `read`"
        )
    return value


def write_first(output: Any, value: Tensor) -> Any:
    """``output`` with its tensor replaced by ``value``."""
    if isinstance(output, (tuple, list)):
        return type(output)([value, *output[1:]])
    return value


def read_sequence_first(output: Any) -> Tensor:
    """For blocks that run (tokens, batch, channels): their output as (batch, tokens, channels)."""
    return read_first(output).transpose(0, 1)


def write_sequence_first(output: Any, value: Tensor) -> Any:
    """The inverse of :func:`read_sequence_first`."""
    return write_first(output, value.transpose(0, 1))


@dataclass(frozen=True)
class Layer:
    """A place where an activation can be read and replaced.

    module        the block; it must run exactly once in a forward pass
    name          how to name it in messages, usually its dotted name
    channel_axis  axis of the channels in what ``read`` returns: -1 for tokens (N, T, C), 1 for (N, C, H, W)
    at            the block's "output", or its "input" (first positional argument)
    read          output -> activation, batch first
    write         (output, activation) -> output with the activation in place
    """

    module: nn.Module
    name: str
    channel_axis: int = -1
    at: Literal["output", "input"] = "output"
    read: Callable[[Any], Tensor] = read_first
    write: Callable[[Any, Tensor], Any] = write_first


@dataclass(frozen=True)
class Defaults:
    """Settings that suit this encoder.

    layer     must not be one whose grid cannot reach the output; None: :func:`usual_layer`
    beta      weight of the information, see :class:`m2ib.FitSettings`
    variance  of the noise
    target    what a map explains, see :class:`m2ib.Options`
    methods   by the name of a method, those of its settings that suit this encoder better than its usual ones
    """

    layer: int | None = None
    beta: float = 0.1
    variance: float = 1.0
    target: str = "similarity"
    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def usual_layer(blocks: int) -> int:
    """The paper's block 9 of 12, at the same depth of other encoders; never the last block.

    The last block's patches cannot reach an embedding that is read from one token.
    """
    return max(-1, min(round(0.75 * blocks), blocks - 2))


@dataclass(frozen=True)
class Attention:
    """That the blocks of a transformer attend, and how it is read; for the methods that look at attention.

    Every block calls ``torch.nn.functional.scaled_dot_product_attention`` exactly once: there the patterns are seen,
    whoever calls it (transformers, open_clip, timm, ``nn.MultiheadAttention`` without weights, one's own code). Queries
    are (N * clips, heads, T, d); keys may have more than T rows (learned ones at the end), which belong to no position.
    The layers' activations are (N, clips * T, C). See ``m2ib/activations/attention.py``.

    pooled  inputs (N, ...) -> (N,) the position, counted in one clip, at which the embedding is read.
            None: at the grid's cells, by their mean, or by one more call of that function after the last block
            whose keys are the T positions
    by_sdpa context manager inside which blocks attend by that function; None: they always do
    """

    pooled: Callable[[Any], Tensor] | None
    by_sdpa: Callable[[], AbstractContextManager[None]] | None = None


Prepare = Callable[..., "Item | Inputs"]
"""``prepare(raw, truncate=False) -> Item``; ``truncate=True`` cuts what is longer than the model takes.

To :func:`m2ib.adapt` it may be ``prepare(raw)``, and give the inputs alone, without batch axis.
"""

Layers = Sequence["Layer | str"] | str
"""The blocks in order of running. Names, or the name of the list that holds them, are for :func:`m2ib.adapt`."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Encoder:
    """One branch of a model: everything the core needs to know about a modality.

    What may be left out is either not needed, or found out by :func:`m2ib.adapt`, which says how. ``inputs`` are what
    ``prepare`` gives, batched: one tensor, or several by name (:data:`m2ib.Inputs`).

    embed     inputs (N, ...) -> embeddings (N, D); differentiable, need not be normalised. Sets of vectors (N, K, D) where
              the model's :class:`Similarity` is of sets
    modality  its name; "": the key under which :func:`m2ib.adapt` is given it
    prepare   raw -> :class:`Item`; ``truncate=True`` cuts what is longer than the model takes. None: takes
              preprocessed tensors alone
    describe  one already preprocessed input (no batch axis) -> :class:`Item`. None: takes raw inputs alone
    layers    the blocks in order of running; blocks count from 0
    stem      layer -1: the embedding output. None: the input of block 0
    layout    for :func:`m2ib.adapt`, of every input whose ``prepare`` does not tell its own
    defaults  good settings for this encoder
    renderer  how an attribution of this modality is looked at and stored. None: by the type of the view, see
              :func:`m2ib.renderers.renderer_for`
    collate   list of ``Item.inputs`` -> inputs (N, ...); pads if it has to. Items that it cannot
              collate because their shapes differ are run apart
    tail      optional fast path from a layer to the embedding:
              ``tail(activation (M, ...), layer, inputs (M, ...)) -> (M, D)``, equal to what ``embed``
              gives with that layer's output replaced; None: ``embed`` is run with the earlier blocks skipped
    stride    for ``shifts`` and ``smooth``: how many samples the grid's cells are apart along the LAST axes of the input
              tensor, which are the last axes of the grid too: (14, 14) for patches of 14 pixels, (5,) for
              windows of 5 samples; or a function of the layer, for convolutions. None where there is no such step: texts
    presets   settings that suit this encoder by the name of a preset, over those of ``m2ib.PRESETS``
    reference gives raw inputs, always the same, or :class:`Item`s that no option of the user's changes: what is usual, for
              ``standardize`` and to compare a similarity with; or None
    attention that its blocks attend, for methods that read attention; None for an encoder without
    degradation how parts of an input are taken out, for methods that hide and for metrics: see
              ``m2ib/contract/degradation.py``. None: an input of numbers fades to 0 along its last axes; token ids cannot be hidden
    examples  gives two raw inputs or more, different ones, of different lengths where lengths differ: what ``m2ib
              check`` tries the encoder on, and what :func:`m2ib.adapt` looks at layers with; or None
    """

    embed: Callable[[Any], Tensor]
    modality: str = ""
    prepare: Prepare | None = None
    describe: Callable[[Any], Item] | None = None
    layers: Layers = ()
    stem: Layer | str | None = None
    layout: Layout | None = None
    defaults: Defaults = Defaults()
    renderer: Renderer | None = None
    collate: Callable[[Sequence[Any]], Inputs] = stack
    tail: Callable[[Tensor, int, Any], Tensor] | None = None
    stride: tuple[int, ...] | Callable[[int], tuple[int, ...] | None] | None = None
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reference: Callable[[], Sequence[Any]] | None = None
    attention: Attention | None = None
    degradation: Degradation | None = None
    examples: Callable[[], Sequence[Any]] | None = None

    @property
    def blocks(self) -> tuple[Layer, ...]:
        """The layers from 0 on. Raises :class:`AdapterError` for an encoder whose layers are but named."""
        found = tuple(layer for layer in self.layers if isinstance(layer, Layer))
        if len(found) < len(self.layers):
            raise AdapterError(
                f"{self.modality or 'encoder'}: its layers are names, {self.layers!r:.80}; m2ib.adapt(module, "
                "encoders={...}) makes a model of them"
            )
        return found

    @property
    def known_layers(self) -> tuple[Layer, ...]:
        """The stem and the blocks, but for those that are only named."""
        return tuple(layer for layer in (self.stem, *self.layers) if isinstance(layer, Layer))

    def layer(self, index: int) -> Layer:
        """The layer with this number: -1 is the stem, 0 .. len(blocks) - 1 the blocks."""
        if index != -1:
            return self.blocks[index]
        if isinstance(self.stem, Layer):
            return self.stem
        if self.stem is None:
            return replace(self.blocks[0], name=f"{self.blocks[0].name} (input)", at="input")
        raise AdapterError(
            f"{self.modality or 'encoder'}: its stem is a name, {self.stem!r}; m2ib.adapt(module, encoders={{...}}) "
            "makes a model of it"
        )

    def step(self, layer: int) -> tuple[int, ...] | None:
        """``stride`` of the grid at a layer."""
        return self.stride(layer) if callable(self.stride) else self.stride

    @property
    def default_layer(self) -> int:
        """That of the defaults, or the usual one."""
        return usual_layer(len(self.layers)) if self.defaults.layer is None else self.defaults.layer

    def batch_key(self, inputs: Inputs) -> object:
        """Inputs with equal keys can be collated: all of them, or with plain stacking those of one shape."""
        if self.collate is not stack:
            return None
        if isinstance(inputs, Tensor):
            return tuple(inputs.shape)
        return tuple((name, tuple(tensor.shape)) for name, tensor in inputs.items())
