"""Small things to test with: a model of a few hundred weights behind an adapter written from public names alone."""

from __future__ import annotations

import string
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from m2ib import (
    Defaults,
    Encoder,
    Inputs,
    Item,
    Layer,
    Layout,
    Model,
    Token,
    read_sequence_first,
    write_sequence_first,
)
from m2ib.contract.degradation import Replacing
from m2ib.renderers import ImageRenderer, ImageView, TextRenderer

PAD, BOS, EOS, VOCABULARY = 0, 1, 2, 64
WIDTH, SIZE, PATCH = 12, 8, 2

EXAMPLES: dict[str, list[Any]] = {
    "image": [np.linspace(0, 1, 192).reshape(8, 8, 3), np.random.default_rng(0).random((8, 8, 3))],
    "text": ["a dog", "two cats asleep on a sofa"],
}


class Block(nn.Module):
    """Residual attention over (N, T, C); gives a tuple, as the blocks of many libraries do."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def forward(self, x: Tensor, read: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.query(x) @ self.key(x).transpose(1, 2) / WIDTH**0.5  # (N, T, T)
        pattern = scores.masked_fill(~read[:, None], float("-inf")).softmax(-1)
        return x + pattern @ self.value(x), pattern


class SequenceFirst(Block):
    """The same over (T, N, C)."""

    def forward(self, x: Tensor, read: Tensor) -> tuple[Tensor, Tensor]:
        out, pattern = super().forward(x.transpose(0, 1), read)
        return out.transpose(0, 1), pattern


class Toy(nn.Module):
    """Patches and a class token, pooled there; word ids, pooled by their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.first = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.image_blocks = nn.ModuleList(Block() for _ in range(3))
        self.image_head = nn.Linear(WIDTH, 6)
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.text_blocks = nn.ModuleList(SequenceFirst() for _ in range(3))
        self.text_head = nn.Linear(WIDTH, 6)

    def embed_image(self, pixels: Tensor) -> Tensor:
        x = self.patches(pixels).flatten(2).transpose(1, 2)  # (N, 16, C)
        x = torch.cat([self.first.expand(len(x), -1, -1), x], 1)  # (N, 17, C)
        return self.pool_image(x, 0)

    def pool_image(self, x: Tensor, start: int) -> Tensor:
        """From the input of block ``start`` on: x (N, 17, C) -> (N, D)."""
        for block in self.image_blocks[start:]:
            x, _ = block(x, x.new_ones(x.shape[:2], dtype=torch.bool))
        return self.image_head(x[:, 0])

    def embed_text(self, ids: Tensor) -> Tensor:
        read = ids != PAD  # (N, T)
        x = self.words(ids).transpose(0, 1)  # (T, N, C)
        for block in self.text_blocks:
            x, _ = block(x, read)
        weights = read.T[..., None] / read.sum(1)[:, None]  # (T, N, 1)
        return self.text_head((x * weights).sum(0))


def prepare_image(raw: Any, *, truncate: bool = False) -> Item:
    return describe_image(torch.tensor(raw, dtype=torch.float32).permute(2, 0, 1))


def describe_image(pixels: Inputs) -> Item:
    assert isinstance(pixels, Tensor)
    side = SIZE // PATCH
    layout = Layout(grid=(side, side), index=tuple(range(1, side * side + 1)))
    shown = (pixels.permute(1, 2, 0).clamp(0, 1) * 255).byte().numpy()
    view = ImageView.of(Image.fromarray(shown), (0, 0, SIZE, SIZE), (SIZE, SIZE))
    return Item(pixels, layout, view, {"source": "toy"})


def prepare_text(raw: Any, *, truncate: bool = False) -> Item:
    words = raw.split()
    ids = [BOS, *(3 + sum(map(ord, word)) % (VOCABULARY - 3) for word in words), EOS]
    return describe_text(torch.tensor(ids), words)


def describe_text(ids: Inputs, words: Sequence[str] = ()) -> Item:
    assert isinstance(ids, Tensor)
    words = words or [f"w{value}" for value in ids[1:-1].tolist()]
    tokens, place = [Token("<s>", 0, 0, special=True)], 0
    for word in words:
        tokens.append(Token(word, place, place + len(word)))
        place += len(word) + 1
    end = max(place - 1, 0)
    tokens.append(Token("</s>", end, end, special=True))
    layout = Layout((len(ids),), read=len(ids), tokens=tuple(tokens))
    return Item(ids, layout, {"text": " ".join(words)}, {"source": "toy"})


def pad(items: Sequence[Inputs]) -> Inputs:
    rows = [item for item in items if isinstance(item, Tensor)]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)  # (N, T)


def toy_model(**breaks: Callable[[Encoder], Encoder]) -> Model:
    """The model, each encoder passed through ``breaks[modality]``: ``text=lambda e: replace(e, layers=())``."""
    torch.manual_seed(0)
    module = Toy().eval().requires_grad_(False)
    image = Encoder(
        modality="image",
        prepare=prepare_image,
        describe=describe_image,
        embed=module.embed_image,
        layers=tuple(Layer(block, f"image_blocks.{n}") for n, block in enumerate(module.image_blocks)),
        stem=Layer(module.image_blocks[0], "image_blocks.0 (input)", at="input"),
        defaults=Defaults(layer=1),
        renderer=ImageRenderer(),
        tail=lambda z, layer, pixels: module.pool_image(z, layer + 1),
    )
    places = {"read": read_sequence_first, "write": write_sequence_first}
    text = Encoder(
        modality="text",
        prepare=prepare_text,
        describe=describe_text,
        embed=module.embed_text,
        layers=tuple(Layer(b, f"text_blocks.{n}", **places) for n, b in enumerate(module.text_blocks)),
        stem=Layer(module.text_blocks[0], "text_blocks.0 (input)", at="input", **places),
        defaults=Defaults(layer=1),
        renderer=TextRenderer(),
        collate=pad,
        degradation=Replacing(PAD),
    )
    encoders = {encoder.modality: encoder for encoder in (image, text)}
    for modality, change in breaks.items():
        encoders[modality] = change(encoders[modality])
    return Model(module, encoders, torch.device("cpu"), torch.float32, {"adapter": "toy"})


def save_clip_with_words(folder: Path, **options: Any) -> Path:
    """The tiny CLIP folder with a tokenizer that knows a few words whole and spells all others by letters."""
    from transformers import CLIPTokenizer

    from tiny_clip import END, START, save_tiny_clip

    signs = [*string.ascii_lowercase, *".,!-"]
    known = [*signs, *(f"{sign}</w>" for sign in signs)]
    merges: list[tuple[str, str]] = []
    for word in ("cat", "dog", "red", "cup", "photo", "of", "the"):
        for length in range(1, len(word)):
            right = word[length] + ("</w>" if length == len(word) - 1 else "")
            merges.append((word[:length], right))
            known.append(word[:length] + right)
    known += [f"unused{number}" for number in range(START - len(set(known)))]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(known))}
    vocabulary |= {"<|startoftext|>": START, "<|endoftext|>": END}
    save_tiny_clip(folder, **options)
    CLIPTokenizer(vocab=vocabulary, merges=merges).save_pretrained(folder)
    return folder


def png(width: int, height: int) -> bytes:
    """A one-bit PNG of a few bytes that claims a size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )
