"""The model is left as it was found, also when something raises; nothing leaks."""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import m2ib
from m2ib.activations.capture import Tail, record, replace_forward
from m2ib.contract.inputs import repeat
from m2ib.execution.context import evaluating
from m2ib.promises import kept_promises
from m2ib.testing.model_checks import state
from naive import capacity
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
    with kept_promises():
        replace_forward(layer, lambda x: x + 1)
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
    assert counts["attention 2"] == counts["attention 3"] == 7  # recorded, five steps, noise alone


class Stemmed(torch.nn.Module):
    """A stem whose output is written into, also by a part of its own, and is needed again at the end, as a layer of it is;
    and two blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.shared = torch.nn.Conv1d(2, 4, 3, padding=1), torch.nn.Linear(4, 4)
        self.front, self.relu = torch.nn.Sequential(self.conv, torch.nn.Tanh()), torch.nn.ReLU(inplace=True)
        self.blocks = torch.nn.ModuleList(torch.nn.Linear(4, 4) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        around = self.around(x)  # (N, 4, T)
        x = self.shared(around.transpose(1, 2))  # (N, T, 4)
        for block in self.blocks:
            x = block(x).tanh()
        return self.shared(x).mean(1) + around.mean(-1)

    def around(self, x: torch.Tensor) -> torch.Tensor:
        x = self.front(x)
        x += 0.1
        self.relu(x)
        return x


@pytest.mark.parametrize("layer", [-1, 0, 1])
def test_a_stem_runs_once_for_all_calls_of_a_tail(monkeypatch: pytest.MonkeyPatch, layer: int) -> None:
    """Through the hooks of others, whatever the model does with its output; what comes after the layer runs each time."""
    module = Stemmed().double()
    hook = module.conv.register_forward_hook(lambda part, args, output: output.mul_(2))
    layers = [m2ib.Layer(block, f"blocks.{n}") for n, block in enumerate(module.blocks)]
    encoder = m2ib.Encoder(embed=module, layers=layers, modality="toy")
    x = torch.randn(2, 2, 5, dtype=torch.float64)
    around = module.around(x).mean(-1).repeat_interleave(3, 0)  # (6, 4)
    recording, counts = record(encoder, x, layer), []
    own = torch.nn.Conv1d._conv_forward
    monkeypatch.setattr(
        torch.nn.Conv1d, "_conv_forward", lambda *args: (counts.append(len(args[1])), own(*args))[1]
    )
    with Tail(recording, 3) as tail:
        for _ in range(3):
            z = torch.randn(6, 5, 4, dtype=torch.float64)
            found = tail(z)
            expected = z if layer == -1 else z.tanh()
            for block in module.blocks[layer + 1 :]:
                expected = torch.nn.functional.linear(expected, block.weight, block.bias).tanh()
            last = torch.nn.functional.linear(expected, module.shared.weight, module.shared.bias)
            torch.testing.assert_close(found, last.mean(1) + around, rtol=1e-12, atol=1e-12)
    with Tail(recording, 3) as tail:
        tail(z)
    assert counts == [6]
    assert torch.equal(module(x), recording.embedding)
    assert counts == [6, 2]
    hook.remove()


@pytest.mark.parametrize(
    ("tail", "blind"),
    [
        (lambda z, layer, x: z.mean(1), True),
        (
            lambda z, layer, x: z[:, torch.zeros(len(x), device=x.device, dtype=int)].mean(1)[
                :, : x.shape[1]
            ],
            True,
        ),
        (lambda z, layer, x: z[torch.arange(len(z)), x[:, 0].argmax(-1)], False),
        (lambda z, layer, x: z.mean(1) + x.mean(), False),
        (lambda z, layer, x: z.mean(1) @ x[0].new_zeros(4, 4), False),
    ],
)
def test_a_tail_that_looks_at_numbers_of_the_inputs_is_not_blind(tail: Any, blind: bool) -> None:
    module = Stemmed()
    layers = [m2ib.Layer(block, f"blocks.{n}") for n, block in enumerate(module.blocks)]
    encoder = m2ib.Encoder(embed=module, layers=layers, modality="toy", tail=tail)
    x = torch.randn(1, 2, 5)
    z = torch.randn(3, 5, 4)
    with torch.no_grad(), Tail(record(encoder, x, 0), 3) as way:
        found = way.blind(z)
        assert (found is not None) == blind
        assert found is None or torch.equal(found, way(z))


def test_a_recording_keeps_no_graph(clip64: m2ib.Model) -> None:
    encoder = clip64.encoder("text")
    with evaluating(clip64.module):
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


def changed(folder: Path, change: Callable[[Any], Any]) -> m2ib.Model:
    model = m2ib.load_model("clip", checkpoint=folder, device="cpu", dtype="float64")
    change(model.module)
    return model


def other_weights(module: Any) -> None:
    module.load_state_dict({name: value * 1.1 for name, value in module.state_dict().items()}, assign=True)


def other_mlp(module: Any) -> None:
    module.vision_model.encoder.layers[-1].mlp = torch.nn.Identity()


def other_projection(module: Any) -> None:
    class Doubled(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(x)

    for tower in (module.vision_model, module.text_model):
        attention = tower.encoder.layers[-1].self_attn
        attention.v_proj = Doubled(32, 32, dtype=torch.float64)


def hook_on(number: int) -> Callable[[Any], Any]:
    return lambda module: module.vision_model.encoder.layers[number].register_forward_hook(
        lambda part, args, output: output.tanh()
    )


@pytest.mark.parametrize(
    "change", [other_weights, other_mlp, other_projection, hook_on(-1), hook_on(2), hook_on(1), hook_on(0)]
)
def test_what_is_changed_after_loading_counts_on_both_paths(
    clip_folder: Path, clip64: m2ib.Model, change: Callable[[Any], Any]
) -> None:
    model = changed(clip_folder, change)
    fast, general = explain(model, steps=6), explain(model, steps=6, fast=False)
    for a, b in zip(fast, general, strict=True):
        np.testing.assert_allclose(a.grid, b.grid, rtol=1e-9)
    assert not np.allclose(fast["image"].grid, explain(clip64, steps=6)["image"].grid, rtol=1e-5)


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("fast", [True, False])
def test_a_hook_of_the_users_runs_as_in_the_full_model(clip_folder: Path, number: int, fast: bool) -> None:
    model = changed(clip_folder, hook_on(number))
    module: Any = model.module
    image = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    exp = m2ib.explain(model, image=image[0], text=IDS, layer=1, steps=3, samples=2, fast=fast)

    def embed() -> torch.Tensor:
        return module.get_image_features(pixel_values=image).pooler_output

    with torch.no_grad():
        target = module.get_text_features(input_ids=IDS[None]).pooler_output
    block = module.vision_model.encoder.layers[1]
    expected = capacity(embed, block, target, beta=0.1, variance=1.0, steps=3, samples=2)
    np.testing.assert_allclose(exp["image"].capacity, expected.numpy(), rtol=1e-9)


def test_one_model_in_several_threads(clip64: m2ib.Model) -> None:
    expected = explain(clip64)
    kernels = torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.mem_efficient_sdp_enabled()
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda number: explain(clip64, fast=number % 2 == 0), range(9)))
    for explanation in found:
        np.testing.assert_allclose(explanation[0].grid, expected[0].grid, rtol=1e-10)
    assert kernels == (
        torch.backends.cuda.flash_sdp_enabled(),
        torch.backends.cuda.mem_efficient_sdp_enabled(),
    )


@pytest.mark.parametrize("name", ["clip", "photo"])
def test_a_model_loaded_in_inference_mode_can_be_explained(clip_folder: Path, name: str) -> None:
    options: dict[str, Any] = {"checkpoint": clip_folder} if name == "clip" else {"size": 64}
    with torch.inference_mode():
        model = m2ib.load_model(name, device="cpu", **options)
        size = 32 if name == "clip" else 64
        text: Any = IDS if name == "clip" else "a cat"
        exp = m2ib.explain(model, image=torch.rand(3, size, size), text=text, steps=2, samples=2)
    assert np.isfinite(exp["image"].grid).all()


def test_another_default_device_changes_nothing(photo64: m2ib.Model) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    settings: dict[str, Any] = {"standardize": True, "reference": {"image": [picture], "text": ["a dog"]}}
    settings |= {"steps": 2, "samples": 2}
    expected = m2ib.explain(photo64, image=picture, text="a cat", **settings)
    good = m2ib.good_layers(photo64, "text", "a cat")
    with torch.device("meta"):
        found = m2ib.explain(photo64, image=picture, text="a cat", **settings)
        assert m2ib.good_layers(photo64, "text", "a cat") == good
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(b.grid, a.grid)


def test_nothing_is_left_behind(clip64: m2ib.Model) -> None:
    explain(clip64)

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    before = tensors()
    for _ in range(20):
        explain(clip64)
    assert tensors() <= before
