"""The model is left as it was found, also when something raises; nothing leaks."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
import torch

import m2ib
from m2ib.capture import Tail, frozen, record, repeat, replaced_forward
from m2ib.testing import state
from tiny_clip import END, START

IDS = torch.tensor([START, 5, 60, 7, END])


def explain(model: m2ib.Model, **settings: Any) -> m2ib.Explanation:
    image = torch.randn(3, 32, 32, dtype=torch.float32, generator=torch.Generator().manual_seed(0))
    return m2ib.explain(model, image=image, text=IDS, **{"steps": 2, "samples": 2, "layer": 1, **settings})


def test_modes_gradients_and_hooks_are_as_before(clip64: m2ib.Model) -> None:
    module = clip64.module
    module.train()
    module.requires_grad_(True)
    next(module.parameters()).requires_grad_(False)
    module.vision_model.eval()  # type: ignore[operator]
    try:
        before = state(module)
        for fast in (True, False):
            explain(clip64, fast=fast)
            assert state(module) == before
        assert all(parameter.grad is None for parameter in module.parameters())
    finally:
        module.eval().requires_grad_(False)


@pytest.mark.parametrize("fast", [True, False])
def test_the_model_is_whole_after_an_error(clip64: m2ib.Model, fast: bool) -> None:
    module: Any = clip64.module
    before = state(module)
    explain(clip64)
    calls = 0

    def fail(part: Any, args: Any, output: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > 3:  # in the fit, with everything patched
            raise RuntimeError("in the middle")

    handle = module.vision_model.post_layernorm.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        explain(clip64, fast=fast, steps=10)
    handle.remove()
    assert state(module) == before


def test_an_instance_forward_is_put_back() -> None:
    layer = torch.nn.Linear(2, 2)
    mine = layer.forward
    layer.forward = mine  # type: ignore[method-assign]
    with replaced_forward(layer, lambda x: x + 1):
        assert torch.equal(layer(torch.ones(1)), torch.full((1,), 2.0))
    assert layer.__dict__["forward"] is mine


def test_only_the_tail_runs(clip64: m2ib.Model) -> None:
    module: Any = clip64.module
    counts: dict[str, int] = {}

    def count(name: str) -> Any:
        return lambda part, args, output: counts.__setitem__(name, counts.get(name, 0) + 1)

    blocks = module.vision_model.encoder.layers
    handles = [block.register_forward_hook(count(f"block {n}")) for n, block in enumerate(blocks)]
    handles += [
        part.self_attn.register_forward_hook(count(f"attention {n}")) for n, part in enumerate(blocks)
    ]
    handles.append(module.text_model.register_forward_hook(count("text")))
    try:
        explain(clip64, steps=5, layer={"image": 1, "text": 1}, fast=False)
    finally:
        for handle in handles:
            handle.remove()
    assert counts["attention 0"] == counts["attention 1"] == 1
    assert counts["attention 2"] == counts["attention 3"] == 6


def test_a_recording_keeps_no_graph(clip64: m2ib.Model) -> None:
    encoder = clip64.encoder("text")
    with frozen(clip64.module):
        recording = record(encoder, IDS[None], 1)
        assert not recording.activation.requires_grad
        with Tail(recording, 3) as tail:
            out = tail(repeat(recording.activation, 3))
    assert out.shape == (3, 16)
    torch.testing.assert_close(out, recording.embedding.expand(3, -1))


def test_repeat_is_a_view_for_one_input() -> None:
    one = torch.randn(1, 4, 5)
    assert repeat(one, 10).data_ptr() == one.data_ptr()
    two = torch.arange(4.0).reshape(2, 2)
    assert repeat(two, 2).tolist() == [[0, 1], [0, 1], [2, 3], [2, 3]]


@pytest.mark.parametrize(
    "surroundings", [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)]
)
def test_the_callers_surroundings_do_not_matter(clip64: m2ib.Model, surroundings: Any) -> None:
    expected = explain(clip64)
    for fast in (True, False):
        with surroundings():
            found = explain(clip64, fast=fast)
        for a, b in zip(expected, found, strict=True):
            np.testing.assert_allclose(b.grid, a.grid, rtol=1e-10)
    torch.set_default_dtype(torch.float64)
    try:
        np.testing.assert_allclose(explain(clip64)[0].grid, expected[0].grid, rtol=1e-10)
    finally:
        torch.set_default_dtype(torch.float32)


def test_nothing_is_left_behind(clip64: m2ib.Model) -> None:
    explain(clip64)

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    before = tensors()
    for _ in range(20):
        explain(clip64)
    assert tensors() <= before
