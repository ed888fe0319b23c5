"""The recipe: everything that decides what the weights become, the seed apart."""

from __future__ import annotations

from dataclasses import dataclass

BOUND = ("audio", "depth", "thermal", "imu")
"""What is bound to the frozen image and text encoders, one after the other."""


@dataclass(frozen=True)
class Stage:
    """One optimisation.

    steps, batch   of AdamW, and scenes in each step
    lr             highest learning rate: a linear warm-up, then a cosine to zero
    temperature    of the contrastive loss; the first stage learns its own, from here
    """

    steps: int
    batch: int
    lr: float = 1.5e-3
    warmup: float = 0.05
    weight_decay: float = 0.05
    temperature: float = 0.07


@dataclass(frozen=True)
class Recipe:
    """Two stages, as ImageBind was made: image and text together, then each other modality to both, frozen.

    together       the first stage
    bound          the second one, by modality
    pool           scenes that the second stage draws from, their image embeddings computed once
    token_weight   of the auxiliary loss that asks each position which kinds it shows
    pooled_weight  of the one that asks the class token; both fade to zero
    fade           share of the steps after which the auxiliary losses are zero
    text_weight, image_weight  of the two targets in the second stage
    """

    together: Stage
    bound: dict[str, Stage]
    pool: int = 32_768
    token_weight: float = 1.0
    pooled_weight: float = 0.25
    fade: float = 0.8
    text_weight: float = 1.0
    image_weight: float = 0.5


FULL = Recipe(
    together=Stage(steps=2400, batch=96),
    bound={
        "audio": Stage(steps=1000, batch=64),
        "depth": Stage(steps=4000, batch=64),
        "thermal": Stage(steps=4000, batch=64),
        "imu": Stage(steps=1200, batch=64),
    },
)

QUICK = Recipe(
    together=Stage(steps=8, batch=16), bound={name: Stage(steps=4, batch=16) for name in BOUND}, pool=64
)
"""A few steps of everything, to see that it runs."""
