"""Modules that were changed after loading: compiled, checkpointed, quantised, watched. The map is right, or refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.checkpoint import checkpoint

import m2ib
from open_clip_models import VIT, save_and_load
from tiny_clip import END, START

pytestmark = pytest.mark.usefixtures("one_thread")
IDS = torch.tensor([START, *range(5, 15), END])
METHODS = ("m2ib", "gradcam", "chefer", "rise")


def pixels(*size: int) -> Tensor:
    return torch.randn(3, *size, generator=torch.Generator().manual_seed(0))


def clip(folder: Path) -> m2ib.Model:
    return m2ib.load_model("clip", checkpoint=folder, device="cpu")


def grids(model: m2ib.Model, **options: Any) -> list[np.ndarray]:
    options = {"masks": 20, **options} if options.get("method") == "rise" else options
    found = m2ib.explain(model, image=pixels(32, 32), text=IDS, show_progress=False, **options)
    return [side.grid for side in found]


def compiled(model: m2ib.Model) -> None:
    for tower in (model.module.vision_model, model.module.text_model):
        for block in tower.encoder.layers:
            block.compile(backend="eager")
    model.module.get_image_features = torch.compile(model.module.get_image_features, backend="eager")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.module(input_ids=IDS[None], pixel_values=pixels(32, 32)[None])  # compiled now


def checkpointed(model: m2ib.Model) -> None:
    for part in model.module.modules():
        if hasattr(part, "gradient_checkpointing"):
            part.gradient_checkpointing = True
    model.module.train()


def other_weights(model: m2ib.Model) -> None:
    """The same numbers, made anew each time they are read."""
    for tower in (model.module.vision_model, model.module.text_model):
        for part in ("q_proj", "v_proj"):
            weight_norm(getattr(tower.encoder.layers[-1].self_attn, part))


@pytest.mark.parametrize("change", [compiled, checkpointed, other_weights])
@pytest.mark.parametrize("method", METHODS)
def test_a_changed_model_explains_as_a_plain_one(
    clip_folder: Path, change: Callable[[m2ib.Model], None], method: str
) -> None:
    model = clip(clip_folder)
    change(model)
    for found, expected in zip(
        grids(model, method=method), grids(clip(clip_folder), method=method), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-5)


def test_open_clip_with_checkpointing_on_explains_as_without(tmp_path: Path) -> None:
    model = save_and_load(VIT, tmp_path / "model.pt").model
    raw = {"image": pixels(32, 24).double(), "text": "a dog"}
    expected = [side.grid for side in m2ib.explain(model, **raw)]
    model.module.set_grad_checkpointing()
    found = [side.grid for side in m2ib.explain(model, **raw)]
    assert all(map(np.array_equal, found, expected))
    assert model.module.visual.transformer.grad_checkpointing


class Doubled(torch.Tensor):
    """Weights that are not plain numbers, as of a library that quantises: their shape tells, their entries do not."""

    @staticmethod
    def __new__(cls, half: Tensor) -> Doubled:
        made = torch.Tensor._make_wrapper_subclass(cls, half.shape, dtype=half.dtype)
        made.half_values = half
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name == "detach":
            return cls(args[0].half_values)
        if name not in ("t", "addmm", "mm", "linear"):
            raise NotImplementedError(f"{name} of such weights")
        args = [arg.half_values * 2 if isinstance(arg, cls) else arg for arg in args]
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("method", ["m2ib", "gradcam"])
def test_the_fast_tail_steps_aside_for_weights_that_are_no_plain_tensors(
    clip_folder: Path, method: str
) -> None:
    model = clip(clip_folder)
    attention = model.module.vision_model.encoder.layers[-1].self_attn
    for part in (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj):
        part.weight = nn.Parameter(Doubled(part.weight.detach() / 2), requires_grad=False)
    for found, expected in zip(
        grids(model, method=method), grids(clip(clip_folder), method=method), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["m2ib", "gradcam", "chefer", "saliency", "integrated-gradients"])
def test_quantised_layers_without_gradient_are_refused(clip_folder: Path, method: str) -> None:
    """The gradient would go round them, and the map show what does."""
    model = clip(clip_folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for block in model.module.vision_model.encoder.layers:
            torch.ao.quantization.quantize_dynamic(block.mlp, {nn.Linear}, inplace=True)
    with pytest.raises(
        m2ib.AdapterError, match=r"^image: .*mlp\.fc1 is a Linear of .*no gradient; use a method"
    ):
        grids(model, method=method)
    assert np.isfinite(grids(model, method="rise")[0]).all()


def test_blocks_that_checkpoint_themselves_are_explained(clip_folder: Path) -> None:
    model = clip(clip_folder)
    for block in model.module.vision_model.encoder.layers:
        own = block.forward
        block.forward = lambda *args, own=own, **kwargs: checkpoint(own, *args, use_reentrant=False, **kwargs)
    for found, expected in zip(grids(model), grids(clip(clip_folder)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-5)
