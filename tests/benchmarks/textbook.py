"""The textbook loop that the benchmarks compare with: both encoders in full at every step, on copies of the inputs,
with gradients for all weights, as the authors' code does it; and how far maps are apart."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, logsigmoid

import m2ib


def textbook(
    module: nn.Module,
    block: nn.Module | m2ib.Layer,
    run: Callable[[], tuple[Tensor, Tensor]],
    *,
    beta: float,
    steps: int,
    samples: int,
    seed: int,
    close: Callable[[Tensor, Tensor], Tensor] = cosine_similarity,
) -> tuple[Tensor, float]:
    """The capacity (1, positions) of the input that passes through ``block``, and the seconds of the steps alone.

    block a layer where its output is read in another order, in which the noise is drawn, or its channels are not the last axis
    run   both encoders on ``samples`` copies: (this side's embeddings, the other side's), (S, D) each
    close what is explained, of two embeddings
    """
    state: dict[str, Tensor] = {}
    place = block if isinstance(block, m2ib.Layer) else m2ib.Layer(block, "block")

    def hook(module: Any, args: Any, given: Any) -> Any:
        return place.write(given, mixed(place.read(given)))

    def mixed(output: Tensor) -> Tensor:
        if "alpha" not in state:
            state["a"] = output[:1].detach()
            return output
        lam = torch.sigmoid(state["alpha"])
        noise = torch.empty(samples, *state["a"].shape[1:]).normal_().to(output)  # (S, T, C)
        state["kl"] = 0.5 * ((1 - lam) ** 2 + (lam * output[:1]) ** 2 - 1 - 2 * logsigmoid(-state["alpha"]))
        return lam * output + (1 - lam) * noise

    handle = place.module.register_forward_hook(hook)
    with torch.no_grad():
        run()
    started = time.perf_counter()
    with torch.enable_grad():
        state["alpha"] = torch.full_like(state["a"], 5.0).requires_grad_()
        optimizer = torch.optim.Adam([state["alpha"]], lr=1.0)
        torch.manual_seed(seed)
        for _ in range(steps):
            module.zero_grad()
            optimizer.zero_grad()
            own, other = run()
            loss = beta * state["kl"].mean() - close(own, other).mean()
            loss.backward()
            optimizer.step()
    seconds = time.perf_counter() - started
    handle.remove()
    module.zero_grad()
    return state["kl"].detach().sum(place.channel_axis), seconds


def clip_map(
    module: Any, pixels: Tensor, ids: Tensor, side: str, layer: int, *, samples: int, **settings: Any
) -> np.ndarray:
    """The capacity per position (T,) of one side of a transformers CLIP, on its device and in its dtype.

    pixels    (3, H, W)
    ids       (T,)
    settings  of :func:`textbook`
    """
    blocks = {"image": module.vision_model, "text": module.text_model}[side].encoder.layers
    copies = pixels.to(module.device, module.dtype).expand(samples, -1, -1, -1)
    words = ids.to(module.device).expand(samples, -1)

    def run() -> tuple[Tensor, Tensor]:
        image = module.get_image_features(pixel_values=copies).pooler_output  # (S, D)
        text = module.get_text_features(input_ids=words).pooler_output  # (S, D)
        return (image, text) if side == "image" else (text, image)

    before = [parameter.requires_grad for parameter in module.parameters()]
    module.requires_grad_(True)
    try:
        capacity, _ = textbook(module, blocks[layer], run, samples=samples, **settings)
    finally:
        for parameter, wanted in zip(module.parameters(), before, strict=True):
            parameter.requires_grad_(wanted)
    return capacity[0].float().cpu().numpy()


def clip_maps(module: Any, pixels: Tensor, ids: Tensor, layer: int, **settings: Any) -> list[np.ndarray]:
    """Of both sides."""
    return [clip_map(module, pixels, ids, side, layer, **settings) for side in ("image", "text")]


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation."""
    ranks = [np.argsort(np.argsort(values)) for values in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def error_of(maps: Sequence[np.ndarray], reference: Sequence[np.ndarray]) -> float:
    """Of both sides, the largest difference over the reference's largest value."""
    return max(float(abs(a - b).max() / abs(b).max()) for a, b in zip(maps, reference, strict=True))
