"""The two stages: image with text, then each other modality to both of them, frozen."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from m2ib.scenes import KINDS
from m2ib_adapters.imagebind.network import ImageBind
from m2ib_adapters.imagebind_tiny.train import batches
from m2ib_adapters.imagebind_tiny.train.losses import KindHeads, contrastive
from m2ib_adapters.imagebind_tiny.train.recipe import Recipe, Stage

T = TypeVar("T")
Log = Callable[[dict[str, Any]], None]

_LOG_EVERY = 50  # steps
_MOST_NORM = 1.0  # of a gradient


def together(module: ImageBind, recipe: Recipe, seed: int, log: Log) -> None:
    """Image and text, from nothing: two captions a scene, one of everything and one of a part."""
    stage = recipe.together
    finish: Any = module.modality_postprocessors["text"]
    scale: Tensor = finish[1].log_logit_scale
    with torch.no_grad():
        scale.fill_(math.log(1 / stage.temperature))
    data = batches.together(seed, stage, module.architecture.grid("vision"))
    steps = _steps("together", module, ("vision", "text"), stage, recipe, data, log)
    for step, (images, texts, *cells) in steps:
        tokens, seen = module.features("vision", images)
        factor = scale.exp().clamp(max=100)
        full, part = (contrastive(module.features("text", ids)[1], seen, true, factor) for ids, true in texts)
        step((full + part) / 2, tokens, cells, full=full, part=part)


def pool_images(module: ImageBind, recipe: Recipe, seed: int) -> Tensor:
    """The embeddings of the images of the second stage's scenes: (scenes, D), normalised."""
    with torch.no_grad():
        parts = batches.images(batches.pool_seeds(seed, recipe.pool))
        return torch.cat([normalize(module.features("vision", images)[1], dim=-1) for images in parts])


def bind(module: ImageBind, name: str, pool: Tensor, recipe: Recipe, seed: int, log: Log) -> None:
    """One modality to the frozen image and text encoders; ``pool`` as :func:`pool_images` gives it."""
    stage = recipe.bound[name]
    if name == "imu":
        _forget_level(module)
    seeds = batches.pool_seeds(seed, recipe.pool)
    data = batches.bound(seed, stage, name, module.architecture.grid(name), seeds)
    scale = 1 / stage.temperature
    for step, (which, (x, texts, *cells)) in _steps(name, module, (name,), stage, recipe, data, log):
        with torch.no_grad():
            targets = [(module.features("text", ids)[1], true) for ids, true in texts]
        tokens, embedded = module.features(name, x)
        full, part = (contrastive(target, embedded, true, scale) for target, true in targets)
        held = cells[-1]
        same = (held[:, None] == held).all(-1)  # (N, N) scenes with the same kinds
        image = contrastive(pool[which], embedded, same, scale)
        loss = recipe.text_weight * (full + part) / 2 + recipe.image_weight * image
        step(loss, tokens, cells, full=full, part=part, image=image)


def _forget_level(module: ImageBind) -> None:
    """Start blind to what is constant within a window: gravity would drown everything else."""
    preprocessor: Any = module.modality_preprocessors["imu"]
    projection: Tensor = preprocessor.imu_stem.proj.weight  # (C, 6 * window)
    with torch.no_grad():
        traces = projection.unflatten(1, (-1, module.architecture.imu_window))  # (C, 6, window)
        traces -= traces.mean(-1, keepdim=True)


def _steps(
    name: str,
    module: ImageBind,
    branches: Sequence[str],
    stage: Stage,
    recipe: Recipe,
    data: Iterable[T],
    log: Log,
) -> Iterator[tuple[Callable[..., None], T]]:
    """(do a step with this loss, batch), ``stage.steps`` times; the positions of the first of ``branches`` learn their kinds.

    A batch is made when it is needed: on few cores a process of its own would only hold up the products.
    """
    heads = KindHeads(getattr(module.architecture, f"{branches[0]}_embed_dim"), len(KINDS))
    parts = ("preprocessors", "trunks", "heads", "postprocessors")
    trained = [getattr(module, f"modality_{part}")[each] for each in branches for part in parts]
    parameters = [each for part in (*trained, heads) for each in part.parameters()]
    for each in parameters:
        each.requires_grad_(True)
    groups = [
        {"params": [each for each in parameters if each.ndim >= 2], "weight_decay": stage.weight_decay},
        {"params": [each for each in parameters if each.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=stage.lr, betas=(0.9, 0.98))
    warm = max(1, round(stage.warmup * stage.steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, warm, stage.steps))
    started = time.perf_counter()
    sums: dict[str, float] = {}
    for number, ready in enumerate(data):

        def step(
            loss: Tensor, tokens: Tensor, cells: Sequence[Tensor], number: int = number, **shown: Tensor
        ) -> None:
            position, pooled = heads(tokens, *cells)
            weight = max(0.0, 1 - number / (recipe.fade * stage.steps))
            loss = loss + weight * (recipe.token_weight * position + recipe.pooled_weight * pooled)
            shown |= {"position": position, "pooled": pooled}
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, _MOST_NORM)
            optimizer.step()
            schedule.step()
            for key, value in {"loss": loss, **shown}.items():
                sums[key] = sums.get(key, 0.0) + float(value.detach())
            if (number + 1) % _LOG_EVERY == 0 or number + 1 == stage.steps:
                over = number % _LOG_EVERY + 1
                means = {key: round(value / over, 4) for key, value in sums.items()}
                seconds = round(time.perf_counter() - started, 1)
                log({"stage": name, "step": number + 1, "seconds": seconds, **means})
                sums.clear()

        yield step, ready
    for each in parameters:
        each.requires_grad_(False)


def _rate(step: int, warm: int, steps: int) -> float:
    """Share of the highest learning rate."""
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
