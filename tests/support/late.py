"""A model of late interaction whose answer is known: every word and every patch has a vector that was placed by hand.

All are at right angles to each other, but for one word and one patch that have the same.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

import m2ib
from m2ib.contract.layout import Layout, Token

WORDS = ("small", "bird", "sits")
SIDE, CELLS = 4, 4
WORD, PATCH = 1, 9  # those that match
WIDTH = 256  # so many numbers that noise matches nothing by chance


class Late(nn.Module):
    """Words and patches by their number -> their vectors; a block of each that adds nothing is the layer."""

    def __init__(self) -> None:
        super().__init__()
        axes = torch.eye(WIDTH, dtype=torch.float64)
        words, patches = axes[: len(WORDS)], axes[len(WORDS) : len(WORDS) + CELLS**2].clone()
        patches[PATCH] = words[WORD]
        self.words = nn.Embedding.from_pretrained(torch.cat([torch.zeros_like(axes[:1]), words]))
        self.patches = nn.Parameter(patches)
        self.register_buffer("ground", axes[-2:])  # what every word, and every patch, has a little of
        self.text_blocks, self.image_blocks = (nn.ModuleList([nn.Identity()]) for _ in range(2))

    def text(self, ids: Tensor) -> Tensor:
        """(N, T), 0 for padding -> (N, T, D)."""
        return (
            normalize(self.text_blocks[0](self.words(ids)) + 0.2 * self.ground[0], dim=-1)
            * (ids > 0)[..., None]
        )

    def image(self, pixels: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, cells, D): the brighter a patch, the more of its own vector."""
        bright = nn.functional.avg_pool2d(pixels, SIDE).flatten(1)  # (N, cells)
        return normalize(
            self.image_blocks[0](bright[..., None] * self.patches) + 0.2 * self.ground[1], dim=-1
        )


def late_model(similarity: m2ib.Similarity | None = None) -> m2ib.Model:
    module = Late()
    return m2ib.adapt(
        module,
        {
            "image": m2ib.Encoder(
                embed=module.image,
                layers=(m2ib.Layer(module.image_blocks[0], "image_blocks.0"),),
                layout=Layout((CELLS, CELLS)),
                defaults=m2ib.Defaults(layer=0),
                stride=(SIDE, SIDE),
            ),
            "text": m2ib.Encoder(
                embed=module.text,
                layers=(m2ib.Layer(module.text_blocks[0], "text_blocks.0"),),
                prepare=_prepare,
                collate=lambda rows: nn.utils.rnn.pad_sequence(list(rows), batch_first=True),
                defaults=m2ib.Defaults(layer=0),
                degradation=m2ib.Replacing(0),
            ),
        },
        similarity=similarity or replace(m2ib.MAXSIM, first=("text",)),
    )


def _prepare(raw: str) -> m2ib.Item:
    ids, tokens, place = [], [], 0
    for word in raw.split():
        ids.append(1 + WORDS.index(word))
        tokens.append(Token(word, place, place + len(word)))
        place += len(word) + 1
    layout = Layout((len(ids),), read=len(ids), tokens=tuple(tokens))
    return m2ib.Item(torch.tensor(ids), layout, {"text": raw})


def white() -> Tensor:
    """(1, H, W)."""
    return torch.ones(1, SIDE * CELLS, SIDE * CELLS, dtype=torch.float64)
