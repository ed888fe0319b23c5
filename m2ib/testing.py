"""The conformance kit: does an adapter keep the contract? For first-party and third-party tests alike.

    from m2ib.testing import check_adapter

    def test_my_adapter():
        check_adapter("my-adapter", {"image": [photo, other], "text": ["a dog", "a longer text"]})
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from m2ib.bottleneck import mix
from m2ib.capture import Tail, frozen, record
from m2ib.contract import Encoder, Inputs, Item, Layout
from m2ib.errors import M2IBError, M2IBWarning
from m2ib.model import Model, load_model
from m2ib.page import render_page
from m2ib.pipeline import explain

Check = Callable[["_Subject"], None]


class ConformanceError(AssertionError):
    """An adapter breaks the contract; the message has a line for each failure."""


@dataclass(frozen=True)
class Result:
    """One check of one modality: ``failure`` is empty if it passed, else it says why."""

    modality: str
    check: str
    failure: str = ""

    def __str__(self) -> str:
        return f"{self.modality}: {self.check}: {self.failure or 'passed'}"


@dataclass(frozen=True)
class _Subject:
    """What a check looks at: one encoder, its examples made ready, and the settings of the kit."""

    model: Model
    encoder: Encoder
    items: tuple[Item, ...]
    tolerance: float

    @property
    def modality(self) -> str:
        return self.encoder.modality

    def batch(self, *items: Item) -> Inputs:
        return self.model.collate(self.modality, items)


def check_adapter(
    adapter: str | Model,
    examples: Mapping[str, Sequence[Any]],
    *,
    tolerance: float = 1e-4,
    **options: Any,
) -> list[Result]:
    """Check a loaded model, or the adapter called ``adapter``, against the contract.

    examples   raw inputs by modality, two different ones for each; for texts, of different lengths
    tolerance  relative error between two ways of computing the same embedding
    options    for ``load_model`` when a name is given (``device="cpu"`` unless told otherwise)

    Returns the results. Raises :class:`ConformanceError` telling what is broken and why.
    """
    model = adapter if isinstance(adapter, Model) else load_model(adapter, **{"device": "cpu", **options})
    results = [_run("model", "model", lambda: _check_model(model, examples))]
    if not results[0].failure:
        for modality, encoder in model.encoders.items():
            results += _check_encoder(model, encoder, examples[modality], tolerance)
        if not any(result.failure for result in results):
            results += _check_together(model, examples)
    failures = [str(result) for result in results if result.failure]
    if failures:
        raise ConformanceError(
            f"{model.origin.get('adapter', 'the adapter')} breaks the contract:\n" + "\n".join(failures)
        )
    return results


def _run(modality: str, name: str, check: Callable[[], None]) -> Result:
    try:
        check()
    except _Broken as broken:
        return Result(modality, name, str(broken))
    except Exception as error:  # a stranger's code may raise anything: that, too, is a finding
        return Result(modality, name, f"raised {type(error).__name__}: {error}")
    return Result(modality, name)


class _Broken(Exception):
    """A check found something."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise _Broken(message)


def _check_model(model: Model, examples: Mapping[str, Sequence[Any]]) -> None:
    _require(isinstance(model.module, nn.Module), f"module is a {type(model.module).__name__}, not a torch.nn.Module")
    _require(len(model.encoders) > 0, "there is no encoder")
    sizes: dict[str, int] = {}
    for modality, encoder in model.encoders.items():
        _require(
            encoder.modality == modality,
            f"the encoder under {modality!r} says that its modality is {encoder.modality!r}",
        )
        _require(
            len(examples.get(modality, ())) >= 2,
            f"no two examples for {modality!r} were given; the model takes {', '.join(model.modalities)}",
        )
        with torch.no_grad():
            item = model.item(modality, examples[modality][0])
            sizes[modality] = encoder.embed(model.collate(modality, [item])).shape[-1]
    _require(len(set(sizes.values())) == 1, f"the embeddings differ in size: {sizes}; they must share one space")


def _check_encoder(model: Model, encoder: Encoder, raws: Sequence[Any], tolerance: float) -> list[Result]:
    subject: _Subject | None = None

    def prepare() -> None:
        nonlocal subject
        items = tuple(encoder.prepare(raw) for raw in raws)
        for item in items:
            _require(isinstance(item, Item), f"prepare gives a {type(item).__name__}, not an Item")
        subject = _Subject(model, encoder, items, tolerance)

    results = [_run(encoder.modality, "prepare", prepare)]
    if subject is None:
        return results
    ready: _Subject = subject
    for name, check in _CHECKS.items():
        results.append(_run(encoder.modality, name, lambda check=check: _as_found(ready, check)))  # type: ignore[misc]
        if results[-1].failure and name in _VITAL:
            break  # what follows would fail for the same reason
    return results


def _as_found(subject: _Subject, check: Check) -> None:
    with frozen(subject.model.module):
        check(subject)


def _check_embedding(subject: _Subject) -> None:
    """embed gives (N, D), finite, differentiable from the activations on, the same every time."""
    inputs = subject.batch(subject.items[0])
    out = subject.encoder.embed(inputs)
    _require(
        isinstance(out, Tensor) and out.ndim == 2 and out.shape[0] == 1,
        f"embed gives {_shape(out)} for one input; it must be (1, D)",
    )
    _require(bool(torch.isfinite(out).all()), "embed gives NaN or infinite values")
    again = subject.encoder.embed(inputs)
    _require(
        torch.equal(out, again),
        "embed gives another embedding at the second call: there is randomness, or state, in the forward pass",
    )


def _check_batch(subject: _Subject) -> None:
    """An input gives the same embedding alone and in a batch."""
    encoder = subject.encoder
    keys = {encoder.batch_key(item.inputs) for item in subject.items}
    if len(keys) > 1:
        return  # run apart, by shape
    together = encoder.embed(subject.batch(*subject.items))  # (N, D)
    for number, item in enumerate(subject.items):
        alone = encoder.embed(subject.batch(item))[0]  # (D,)
        error = _error(together[number], alone)
        _require(
            error <= subject.tolerance,
            f"example {number} has another embedding in a batch than alone (relative error {error:.1e}): "
            "collate pads with something that the model reads, or embed mixes the batch",
        )


def _check_layers(subject: _Subject) -> None:
    """Every layer runs once, reads batch first, and writes back what was read."""
    encoder = subject.encoder
    _require(len(encoder.layers) > 0, "layers is empty")
    numbers = range(-1, len(encoder.layers))
    for number in numbers:
        layer = encoder.layer(number)
        _require(layer.at in ("output", "input"), f"layer {number} ({layer.name}): at is {layer.at!r}")
        inputs = subject.batch(subject.items[0])
        recording = record(encoder, inputs, number)
        a = recording.activation
        _require(
            a.ndim >= 3 and a.shape[0] == 1,
            f"layer {number} ({layer.name}): read gives {_shape(a)} for one input; the batch axis must come first "
            "and have one row (sequence-first blocks need read_sequence_first)",
        )
        _require(
            -a.ndim <= layer.channel_axis < a.ndim and layer.channel_axis % a.ndim != 0,
            f"layer {number} ({layer.name}): channel_axis {layer.channel_axis} does not fit {_shape(a)}",
        )
        kept = layer.read(layer.write(recording.outputs[number], a + 1))
        _require(
            kept.shape == a.shape and torch.equal(kept, a + 1),
            f"layer {number} ({layer.name}): read(write(output, x)) is not x",
        )


def _check_tail(subject: _Subject) -> None:
    """The tail gives the model's own embedding for the model's own activation, and another one for another."""
    encoder = subject.encoder
    inputs = subject.batch(subject.items[0])
    for number in range(-1, len(encoder.layers)):
        recording = record(encoder, inputs, number)
        name = f"layer {number} ({encoder.layer(number).name})"
        a = recording.activation
        other = mix(a, torch.zeros_like(a), torch.randn(a.shape, generator=torch.Generator().manual_seed(1)).to(a), 1.0)
        both = torch.cat([a, other])  # (2, ...)
        results = {}
        for fast in (False, True) if encoder.tail is not None else (False,):
            which = "the encoder's own tail" if fast else "the tail (embed with earlier blocks skipped)"
            with torch.no_grad(), Tail(recording, 2, fast=fast) as tail:
                out = tail(both)  # (2, D)
            _require(
                out.ndim == 2 and out.shape[0] == 2,
                f"{name}: {which} gives {_shape(out)} for two activations; it must be (2, D)",
            )
            error = _error(out[0], recording.embedding[0])
            _require(
                error <= subject.tolerance,
                f"{name}: {which} does not give the model's embedding (relative error {error:.1e})",
            )
            _require(
                _error(out[1], out[0]) > 1e-6,
                f"{name}: {which} gives the same embedding whatever the activation is: what `write` puts in is not used",
            )
            results[fast] = out
        if len(results) == 2:
            error = _error(results[True][1], results[False][1])
            _require(
                error <= subject.tolerance,
                f"{name}: the encoder's own tail differs from the full model on another activation "
                f"(relative error {error:.1e})",
            )


def _check_layout(subject: _Subject) -> None:
    """The layout fits the activation; what it calls unread is not read, and what it reads is."""
    encoder = subject.encoder
    for number, item in enumerate(subject.items):
        layout = item.layout
        _require(isinstance(layout, Layout), f"example {number}: the layout is a {type(layout).__name__}")
        a = record(encoder, subject.batch(item), encoder.defaults.layer).activation
        axis = encoder.layer(encoder.defaults.layer).channel_axis
        positions = np.zeros([size for place, size in enumerate(a.shape) if place not in (0, axis % a.ndim)])
        if layout.index is not None:
            _require(
                len(set(layout.index)) == len(layout.index)
                and all(0 <= place < positions.size for place in layout.index),
                f"example {number}: index repeats positions, or leaves the {positions.size} of the activation",
            )
        if layout.read is not None:
            _require(
                0 < layout.read <= a.shape[1], f"example {number}: read is {layout.read} of {a.shape[1]} positions"
            )
        try:
            grid = layout.to_grid(positions)
        except M2IBError as error:
            raise _Broken(f"example {number}: {error}") from None
        if layout.tokens:
            _require(
                len(layout.tokens) == grid.size,
                f"example {number}: {len(layout.tokens)} tokens for a grid of {grid.shape}",
            )
            _require(
                not all(token.special for token in layout.tokens), f"example {number}: every token is special"
            )
    _check_padding(subject)


def _check_padding(subject: _Subject) -> None:
    """Noise on unread positions of a padded batch must not move the embedding."""
    encoder = subject.encoder
    if len({encoder.batch_key(item.inputs) for item in subject.items}) > 1:
        return
    recording = record(encoder, subject.batch(*subject.items), encoder.defaults.layer)
    a = recording.activation  # (N, T, C)
    reads = [a.shape[1] if item.layout.read is None else item.layout.read for item in subject.items]
    if all(read == a.shape[1] for read in reads):
        return
    noisy = a.clone()
    for row, read in zip(noisy, reads, strict=True):
        row[read:] += 1
    with torch.no_grad(), Tail(recording, 1) as tail:
        error = _error(tail(noisy), recording.embedding)
    _require(
        error <= subject.tolerance,
        f"positions that the layout calls unread do reach the embedding (relative error {error:.1e})",
    )


def _check_defaults(subject: _Subject) -> None:
    """The default settings are in range, and the default layer's grid reaches the embedding."""
    encoder = subject.encoder
    defaults = encoder.defaults
    last = len(encoder.layers) - 1
    _require(-1 <= defaults.layer <= last, f"the default layer {defaults.layer} is not one of -1 to {last}")
    _require(defaults.beta >= 0 and defaults.variance > 0, f"the defaults {defaults} are out of range")
    item = subject.items[0]
    recording = record(encoder, subject.batch(item), defaults.layer)
    z = recording.activation.clone().requires_grad_()
    with torch.enable_grad(), Tail(recording, 1) as tail:
        out = tail(z)
        _require(
            out.requires_grad,
            f"no gradient comes back from the embedding to layer {defaults.layer}: something is detached, or runs under no_grad",
        )
        (grad,) = torch.autograd.grad(out.square().sum() + out.sum(), z)
    axis = encoder.layer(defaults.layer).channel_axis
    reached = item.layout.to_grid((grad != 0).any(axis)[0].cpu().numpy())
    content = np.array([not token.special for token in item.layout.tokens] or [True] * reached.size)
    _require(
        bool(reached.reshape(-1)[content].any()),
        f"no cell of the grid at the default layer {defaults.layer} reaches the embedding; choose an earlier layer",
    )


def _check_described(subject: _Subject) -> None:
    """A preprocessed tensor without batch axis is taken as the raw input it came from."""
    item = subject.items[0]
    described = subject.encoder.describe(item.inputs)
    with torch.no_grad():
        first, second = (subject.encoder.embed(subject.batch(each)) for each in (item, described))
    error = _error(first, second)
    _require(error <= subject.tolerance, f"describe(inputs) has another embedding than prepare(raw): {error:.1e}")


_CHECKS: dict[str, Check] = {
    "embedding": _check_embedding,
    "batch": _check_batch,
    "layers": _check_layers,
    "tail": _check_tail,
    "layout": _check_layout,
    "defaults": _check_defaults,
    "preprocessed input": _check_described,
}
_VITAL = ("embedding", "layers")


def _check_together(model: Model, examples: Mapping[str, Sequence[Any]]) -> list[Result]:
    """Every modality with the next: explain, look, and find the model as it was."""
    results = []
    modalities = model.modalities
    for number, modality in enumerate(modalities):
        other = modalities[(number + 1) % len(modalities)]
        results.append(
            _run(modality, f"explain with {other}", lambda a=modality, b=other: _check_explain(model, examples, a, b))  # type: ignore[misc]
        )
    return results


def _check_explain(model: Model, examples: Mapping[str, Sequence[Any]], first: str, second: str) -> None:
    before = _state(model.module)
    pair = (first, examples[first][0]), (second, examples[second][1])
    with warnings.catch_warnings():
        warnings.simplefilter("error", M2IBWarning)
        explanation = explain(model, *pair, steps=2, samples=2, show_progress=False)
        again = explain(model, *pair, steps=2, samples=2, show_progress=False)
    for attribution, repeated in zip(explanation, again, strict=True):
        _require(
            bool(np.isfinite(attribution.grid).all()), f"the map of the {attribution.modality} holds NaN or infinite values"
        )
        _require(
            np.array_equal(attribution.grid, repeated.grid),
            f"the map of the {attribution.modality} changes between two runs with one seed",
        )
        scores = attribution.scores
        _require(
            bool((scores >= 0).all() and (scores <= 1).all()),
            f"the renderer's scores of the {attribution.modality} leave [0, 1]",
        )
    _require("<figure" in render_page([explanation]), "the renderers' fragments hold no <figure>")
    explanation.figure()
    _require(_state(model.module) == before, "the model is left changed: hooks, forwards, modes or requires_grad differ")


def _state(module: nn.Module) -> list[Any]:
    parts = [
        (name, part.training, len(part._forward_hooks), len(part._forward_pre_hooks), "forward" in part.__dict__)
        for name, part in module.named_modules()
    ]
    return [*parts, *((name, p.requires_grad) for name, p in module.named_parameters())]


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _error(value: Tensor, reference: Tensor) -> float:
    """The largest difference over the reference's largest value."""
    value, reference = value.double(), reference.double()
    return float((value - reference).abs().max() / reference.abs().max().clamp_min(1e-12))
