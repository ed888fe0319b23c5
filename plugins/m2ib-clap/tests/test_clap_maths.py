"""Explanations against the textbook loop, in float64: the whole model once for each sample, its layers hooked bare."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import m2ib
from clap_checkpoint import RATE, SAMPLES, processor, transformers_of

SOUND = (np.random.default_rng(3).standard_normal(3 * SAMPLES // 10) * 0.1).astype(np.float32)
TEXT = "a dog barking"
SETTINGS: dict[str, Any] = {"beta": 0.3, "variance": 0.7, "steps": 3, "samples": 2, "lr": 0.5, "seed": 5}


def naive(
    embed: Callable[[], Tensor], module: nn.Module, target: Tensor, order: Tensor | None = None
) -> Tensor:
    """Nats by position. ``order``: which of the model's positions stands at each place of the map, in its order."""

    def run(change: Callable[[Tensor], Tensor]) -> Tensor:
        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)

        handle = module.register_forward_hook(hook)
        try:
            return embed()
        finally:
            handle.remove()

    seen: list[Tensor] = []

    def look(value: Tensor) -> Tensor:
        seen.append(value.detach())
        return value

    with torch.no_grad():
        run(look)
    full = seen[0]  # (1, T, C)
    places = torch.arange(full.shape[1]) if order is None else order.flatten()
    shape = (full.shape[1],) if order is None else tuple(order.shape)
    a = full[:, places].reshape(1, *shape, -1)
    alpha = torch.full_like(a, 5.0)
    first, second, kl = torch.zeros_like(a), torch.zeros_like(a), torch.zeros_like(a)
    torch.manual_seed(SETTINGS["seed"])
    for step in range(1, SETTINGS["steps"] + 1):
        noise = torch.empty(SETTINGS["samples"], *a.shape[1:], dtype=a.dtype).normal_()
        alpha = alpha.detach().requires_grad_()
        lam = 1 / (1 + torch.exp(-alpha))
        spread = SETTINGS["variance"] * (1 - lam) ** 2
        cosines = []
        for eps in noise:
            z = (lam * a + spread.sqrt() * eps).reshape(1, len(places), -1)
            into = torch.zeros_like(full).index_copy(1, places, z)
            out = run(lambda value, into=into: into)  # type: ignore[misc]
            cosines.append((out * target).sum() / out.norm() / target.norm())
        kl = 0.5 * (spread + (lam * a) ** 2 - 1 - torch.log(spread))
        loss = SETTINGS["beta"] * kl.mean() - torch.stack(cosines).mean()
        (grad,) = torch.autograd.grad(loss, alpha)
        first, second = 0.9 * first + 0.1 * grad, 0.999 * second + 0.001 * grad**2
        update = first / (1 - 0.9**step) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
        alpha = alpha.detach() - SETTINGS["lr"] * update
    return kl.detach().sum(-1)[0]


def places_of(frequencies: int, times: int) -> Tensor:
    """(frequencies, times) the row of a stage's output, counted by hand: two chunks one under the other, row by row."""
    columns = times // 2
    rows = [
        [(time // columns * frequencies + frequency) * columns + time % columns for time in range(times)]
        for frequency in range(frequencies)
    ]
    return torch.tensor(rows)


def loaded(folder: Path) -> tuple[m2ib.Model, Any, Any]:
    """The model, and transformers' own inputs for it."""
    model = m2ib.load_model("clap", checkpoint=folder, device="cpu", dtype="float64")
    for parameter in transformers_of(model).parameters():
        parameter.requires_grad_(False)
    audio = processor(folder)(audio=SOUND, sampling_rate=RATE, return_tensors="pt")
    text = processor(folder)(text=TEXT, return_tensors="pt")
    return model, {**audio, "input_features": audio["input_features"].double()}, text


@pytest.mark.parametrize(
    ("layer", "path", "grid"),
    [(-1, "patch_embed", (16, 64)), (0, "layers.0.blocks.0", (16, 64)), (2, "layers.1.blocks.1", (8, 32))],
)
def test_a_sound(folder: Path, layer: int, path: str, grid: tuple[int, int]) -> None:
    model, audio, text = loaded(folder)
    target = transformers_of(model).get_text_features(**text).pooler_output
    wanted = naive(
        lambda: transformers_of(model).get_audio_features(**audio).pooler_output,
        transformers_of(model).audio_model.audio_encoder.get_submodule(path),
        target,
        places_of(*grid),
    )
    given = m2ib.explain(
        model, audio=(SOUND, RATE), text=TEXT, layer={"audio": layer}, show_progress=False, **SETTINGS
    )
    np.testing.assert_allclose(given["audio"].grid, wanted.numpy(), rtol=1e-6, atol=1e-9)
    assert math.isclose(
        given.similarity,
        float((transformers_of(model).get_audio_features(**audio).pooler_output * target).sum()),
        abs_tol=1e-6,
    )


@pytest.mark.parametrize(("layer", "path"), [(-1, "embeddings"), (1, "encoder.layer.1")])
def test_a_text(folder: Path, layer: int, path: str) -> None:
    model, audio, text = loaded(folder)
    wanted = naive(
        lambda: transformers_of(model).get_text_features(**text).pooler_output,
        transformers_of(model).text_model.get_submodule(path),
        transformers_of(model).get_audio_features(**audio).pooler_output,
    )
    given = m2ib.explain(
        model, audio=(SOUND, RATE), text=TEXT, layer={"text": layer}, show_progress=False, **SETTINGS
    )
    np.testing.assert_allclose(given["text"].grid, wanted.numpy(), rtol=1e-6, atol=1e-9)
