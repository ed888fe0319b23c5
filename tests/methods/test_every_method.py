"""What holds for all methods that look at gradients or hide, whatever they compute."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import m2ib
from m2ib.contract.targets import Targets
from m2ib.methods import Batch
from m2ib.pipeline import explain_side
from m2ib.registry.plan import plan_of
from scene_model import MODALITIES, example, save_scene_model
from tiny_clip import END, START
from toy import BOS, EOS, PAD, toy_model

SETTINGS: dict[str, dict[str, Any]] = {
    "gradcam": {},
    "saliency": {},
    "integrated-gradients": {"steps": 12},
    "kernelshap": {"masks": 80},
    "rise": {"masks": 80, "cells": 3},
    "uniform": {},
    "random": {},
}
HIDING = ("kernelshap", "rise")
every = pytest.mark.parametrize("name", SETTINGS)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> m2ib.Model:
    return save_scene_model(tmp_path_factory.mktemp("tiny") / "weights.safetensors").model


def pixels(seed: int, size: int = 8) -> Tensor:
    return torch.randn(3, size, size, generator=torch.Generator().manual_seed(seed))


def explained(model: m2ib.Model, name: str, *pair: Any, **options: Any) -> m2ib.Explanation:
    return m2ib.explain(model, *pair, method=name, settings=SETTINGS[name], show_progress=False, **options)


@every
@pytest.mark.parametrize("modality", MODALITIES)
def test_every_modality_has_a_finite_map_of_the_bottleneck_s_grid(
    tiny: m2ib.Model, name: str, modality: str
) -> None:
    other = "text" if modality != "text" else "image"
    pair = (modality, example(modality, 1)), (other, example(other, 2))
    found = explained(tiny, name, *pair)
    bottleneck = m2ib.explain(tiny, *pair, steps=1, samples=1)
    assert found.similarity == pytest.approx(bottleneck.similarity, abs=1e-12)
    for one, fit in zip(found.attributions, bottleneck.attributions, strict=True):
        assert one.grid.shape == fit.grid.shape
        assert one.grid.dtype == np.float64
        assert np.isfinite(one.grid).all()
        assert one.method == name


@every
def test_many_are_as_one_by_one(name: str) -> None:
    model = toy_model()
    texts = [[BOS, 5, 9, EOS], [BOS, 7, EOS], [BOS, 4, 8, 15, 16, 23, 42, EOS]]
    pairs = [{"image": pixels(n), "text": torch.tensor(text)} for n, text in enumerate(texts)]
    many = m2ib.explain_many(model, pairs, method=name, settings=SETTINGS[name], batch_size=3, seed=4)
    for pair, together in zip(pairs, many, strict=True):
        alone = explained(model, name, *pair.items(), seed=4)
        for side in ("image", "text"):
            np.testing.assert_allclose(together[side].grid, alone[side].grid, rtol=1e-4, atol=2e-6)


@every
def test_only_methods_that_draw_depend_on_the_seed(clip64: m2ib.Model, name: str) -> None:
    pair = ("image", pixels(1, 32).double()), ("text", torch.tensor([START, *range(5, 15), END]))
    first, again, other = (explained(clip64, name, *pair, seed=seed) for seed in (1, 1, 2))
    for side in ("image", "text"):
        assert np.array_equal(first[side].grid, again[side].grid)
        same = np.array_equal(first[side].grid, other[side].grid)
        assert same != m2ib.list_methods()[name].load().draws


def state(module: nn.Module) -> list[Any]:
    """What a method could leave behind."""
    found: list[Any] = []
    for part in module.modules():
        hooks = (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks, part._backward_pre_hooks)
        found.append((part.training, "forward" in part.__dict__, *map(len, hooks)))
    for parameter in module.parameters():
        found.append((parameter.requires_grad, parameter.grad is None, parameter._version))
    return found


@every
def test_the_model_and_the_random_numbers_are_left_as_found(name: str) -> None:
    model = toy_model()
    model.module.train()
    model.module.requires_grad_(True)
    before, drawn, numpy_drawn = state(model.module), torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    image, ids = pixels(0), torch.tensor([BOS, 5, 9, EOS])
    given = image.clone(), ids.clone()
    explained(model, name, ("image", image), ("text", ids))
    assert state(model.module) == before
    assert torch.equal(torch.get_rng_state(), drawn)
    assert np.array_equal(np.random.get_state()[1], numpy_drawn)  # noqa: NPY002
    assert torch.equal(image, given[0])
    assert torch.equal(ids, given[1])
    assert not image.requires_grad


@every
def test_the_model_is_left_as_found_by_a_failure(name: str) -> None:
    def failing(encoder: m2ib.Encoder) -> m2ib.Encoder:
        calls = []

        def embed(inputs: Any) -> Tensor:
            calls.append(1)
            if len(calls) > 2 or torch.is_grad_enabled():
                raise RuntimeError("out of luck")
            return encoder.embed(inputs)

        def tail(z: Tensor, layer: int, inputs: Any) -> Tensor:
            raise RuntimeError("out of luck")

        return replace(encoder, embed=embed, tail=tail)

    model = toy_model(image=failing)
    model.module.train()
    before = state(model.module)
    if name in ("uniform", "random"):
        explained(model, name, ("image", pixels(0)), ("text", torch.tensor([BOS, 5, EOS])))
    else:
        with pytest.raises(RuntimeError, match="out of luck"):
            explained(model, name, ("image", pixels(0)), ("text", torch.tensor([BOS, 5, EOS])))
    assert state(model.module) == before


@every
def test_one_side_alone_is_that_of_the_pair(name: str) -> None:
    model = toy_model()
    ids = torch.tensor([BOS, 5, 9, EOS])
    exp = explained(model, name, ("image", pixels(0)), ("text", ids))
    item = model.item("image", pixels(0))
    targets = 7 * model.embed("text", ids[None])  # only their direction matters
    plan = plan_of(name, {**SETTINGS[name], "seed": 0})
    (found,) = explain_side(model, "image", [item], model.collate("image", [item]), targets, plan)
    np.testing.assert_allclose(found.grid, exp["image"].grid, rtol=1e-4, atol=1e-6)


@every
def test_padding_of_a_batch_changes_nothing(name: str) -> None:
    """A short text beside a long one is hidden and differentiated as if it were alone."""
    model = toy_model()
    short = model.item("text", torch.tensor([BOS, 5, 9, EOS]))
    padded = torch.tensor([[BOS, 5, 9, EOS, PAD, PAD, PAD]])
    targets = model.embed("image", pixels(0)[None])
    plan = plan_of(name, SETTINGS[name])
    (found,) = explain_side(model, "text", [short], padded, targets, plan)
    (alone,) = explain_side(model, "text", [short], padded[:, :4], targets, plan)
    np.testing.assert_allclose(found.grid, alone.grid, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["saliency", "integrated-gradients", *HIDING])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_other_precisions_come_near(clip_folder: Any, clip64: m2ib.Model, name: str, dtype: str) -> None:
    model = m2ib.load_model("clip", checkpoint=clip_folder, device="cpu", dtype=dtype)
    pair = ("image", pixels(1, 32)), ("text", torch.tensor([START, 5, 60, 7, END]))
    found, exact = explained(model, name, *pair), explained(clip64, name, *pair)
    assert np.isfinite(found["image"].grid).all()
    if dtype == "float32":
        scale = np.abs(exact["image"].grid).max()
        np.testing.assert_allclose(found["image"].grid, exact["image"].grid, rtol=0, atol=1e-3 * scale)


@every
def test_progress_counts_what_is_announced(name: str) -> None:
    model = toy_model()
    plan = plan_of(name, SETTINGS[name])
    items = [model.item("image", pixels(n)) for n in range(3)]
    steps = plan.method.steps(plan.settings(model, "image", ("image",)))
    called = []
    batch = Batch(model, "image", items, model.collate("image", items))
    targets = model.embed("text", torch.tensor([[BOS, 5, EOS]])).expand(3, -1)
    plan.method.prepare(batch, plan.settings(model, "image", ("image",))).maps(
        Targets.of(model, targets), lambda: called.append(1)
    )
    assert len(called) == steps


@pytest.mark.parametrize("name", ["integrated-gradients", *HIDING])
def test_a_contrast_has_both_signs(name: str) -> None:
    model = toy_model()
    exp = explained(
        model,
        name,
        ("image", pixels(0)),
        ("text", m2ib.contrast(torch.tensor([BOS, 5, EOS]), torch.tensor([BOS, 6, EOS]))),
    )
    assert exp["image"].against is not None
    np.testing.assert_allclose(exp["image"].against, -exp["image"].grid, rtol=0, atol=1e-6)


def cut(model: m2ib.Model, how: str) -> m2ib.Model:
    """The model as somebody has it whose graph is cut."""
    whole = model.encoders["image"]

    def embed(inputs: Any) -> Tensor:
        with torch.no_grad() if how == "no_grad" else torch.inference_mode():
            return whole.embed(inputs)

    return replace(model, encoders={**model.encoders, "image": replace(whole, embed=embed, tail=None)})


NEEDS_GRADIENTS = ("m2ib", "gradcam", "saliency", "integrated-gradients", "chefer", "grad-eclip", "legrad")


@pytest.mark.parametrize("how", ["no_grad", "inference_mode", "hook"])
@pytest.mark.parametrize("name", NEEDS_GRADIENTS)
def test_a_cut_graph_is_refused_in_one_line(clip_folder: Any, name: str, how: str) -> None:
    """It gave a map of what is large, without a word."""
    model = m2ib.load_model("clip", checkpoint=clip_folder, device="cpu")
    if how == "hook":
        last = model.module.vision_model.encoder.layers[-1]
        last.register_forward_hook(lambda module, args, output: output.detach())
    else:
        model = cut(model, how)
    pair = ("image", pixels(1, 32)), ("text", torch.tensor([START, *range(5, 15), END]))
    with pytest.raises(
        m2ib.AdapterError, match=r"^image: no gradient comes back .* detaches what passes; take that"
    ):
        m2ib.explain(model, *pair, method=name, show_progress=False)


@pytest.mark.parametrize("how", ["no_grad", "inference_mode", "hook"])
def test_adapt_refuses_a_cut_graph(how: str) -> None:
    net = nn.Sequential(nn.Conv2d(3, 5, 4, 4), nn.Conv2d(5, 5, 1), nn.Conv2d(5, 5, 1))
    surroundings = {"no_grad": torch.no_grad, "inference_mode": torch.inference_mode}.get(
        how, torch.enable_grad
    )
    if how == "hook":
        net[-1].register_forward_hook(lambda module, args, output: output.detach())

    def embed(x: Any) -> Tensor:
        with surroundings():
            return net(x).mean((2, 3))

    encoder = m2ib.Encoder(embed=embed, layers=("0", "1"))
    with pytest.raises(m2ib.AdapterError, match="image: no gradient comes back from the embedding"):
        m2ib.adapt(net, {"image": encoder}, examples={"image": pixels(1, 16)})
