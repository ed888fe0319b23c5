"""A model of twenty lines, and its adapter: what it takes, how it embeds, where its blocks are."""

from typing import Any

import torch
from torch import Tensor, nn

import m2ib
from m2ib_adapters.kit import ImagePreparation, check_text

COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0), "pink": (1, 0, 1)}
WORDS = ["a", *COLOURS]  # ids; words that are not known count as the first one
PIXELS = ImagePreparation(size=(64, 64), mean=(0.5,) * 3, std=(0.5,) * 3)


class Colours(nn.Module):
    """An embedding is a colour: of an image the mean over its patches, of a text over its words."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 3, 8, 8, bias=False)  # the mean of each channel over 8 x 8 pixels
        self.patches.weight.data = torch.eye(3)[:, :, None, None].expand(3, 3, 8, 8) / 64
        colours = [torch.zeros(3), *(torch.tensor(colour) - sum(colour) / 3 for colour in COLOURS.values())]
        self.words = nn.Embedding(len(WORDS), 3)
        self.words.weight.data = torch.stack(colours)
        self.image_blocks = nn.Sequential(nn.Softshrink(0.1), nn.Identity())
        self.text_blocks = nn.Sequential(nn.Identity(), nn.Identity())

    def embed_image(self, pixels: Tensor) -> Tensor:
        x: Tensor = self.patches(pixels).flatten(2).transpose(1, 2)  # (N, 3, 64, 64) -> (N, 64 patches, 3)
        x = self.image_blocks(x - x.mean(-1, keepdim=True))  # grey is 0
        return x.mean(1)  # (N, 3)

    def embed_text(self, ids: Tensor) -> Tensor:
        x: Tensor = self.text_blocks(self.words(ids))  # (N, T) -> (N, T, 3)
        return x.mean(1)  # (N, 3)


def prepare_image(raw: Any, *, truncate: bool = False) -> m2ib.Item:
    """A path, PIL image or array -> (3, 64, 64), and which pixels of it each of the 8 x 8 cells shows."""
    return PIXELS.prepare(raw, m2ib.Layout(grid=(8, 8)))


def prepare_text(raw: Any, *, truncate: bool = False) -> m2ib.Item:
    """A text -> ids (T,), with the place of each word in it."""
    tokens, end = [], 0
    for word in check_text(raw).split():
        start = raw.index(word, end)
        end = start + len(word)
        tokens.append(m2ib.Token(word, start, end))
    ids = [WORDS.index(token.text.lower()) if token.text.lower() in WORDS else 0 for token in tokens]
    return m2ib.Item(torch.tensor(ids), m2ib.Layout(grid=(len(ids),), tokens=tuple(tokens)), {"text": raw})


def load(*, checkpoint: Any = None, device: torch.device, dtype: torch.dtype) -> m2ib.Model:
    """The model, whose weights stand above; ``checkpoint`` is where yours would be read from."""
    module = Colours().to(device, dtype).eval()
    image = m2ib.Encoder(embed=module.embed_image, prepare=prepare_image, layers="image_blocks")
    text = m2ib.Encoder(embed=module.embed_text, prepare=prepare_text, layers="text_blocks")
    return m2ib.adapt(module, {"image": image, "text": text})
