"""The fewest floating-point operations that one explanation of a CLIP can do with, and how long they take here.

    python tests/benchmarks/floor.py

Counted from the model's own configuration, two for each multiply-add, linear layers and attention's products alone:
both sides once through all blocks (the last one for the position that is read); the tail once more for noise alone,
then forward at each step and backward to its input at each but the last, whose update no one sees. Of a text the
positions up to its end token count. Bytes: the weights once for each of these passes, and what each linear layer takes and gives.

The rate is that of a product of 500 x 768 by 768 x 3072, the better one of torch's own and of oneDNN's with the weight
laid out for it, measured in the same run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.nn.functional import linear

from m2ib.execution.products import product_of, use_steady_weights
from m2ib.promises import kept_promises


@dataclass
class Work:
    """Operations, and bytes for numbers of one byte each."""

    operations: float = 0
    numbers: float = 0

    def __add__(self, other: Work) -> Work:
        return Work(self.operations + other.operations, self.numbers + other.numbers)

    def __mul__(self, times: float) -> Work:
        return Work(self.operations * times, self.numbers * times)


def product_work(rows: int, inside: int, outside: int) -> Work:
    """Of a linear layer."""
    return Work(2 * rows * inside * outside, inside * outside + rows * (inside + outside))


def block_work(inputs: int, tokens: int, config: Any) -> Work:
    """Of a block for all tokens of so many inputs."""
    width, rows = config.hidden_size, inputs * tokens
    attention = Work(2 * 2 * rows * tokens * width, 4 * rows * width)
    first = product_work(rows, width, config.intermediate_size)
    second = product_work(rows, config.intermediate_size, width)
    return product_work(rows, width, width) * 4 + attention + first + second


def pooled_work(inputs: int, tokens: int, config: Any, embedding: int) -> Work:
    """Of the last block for the token that is read, without keys and values, and of the projection."""
    width, heads = config.hidden_size, config.num_attention_heads
    attention = Work(2 * 2 * inputs * tokens * heads * width, 2 * inputs * tokens * width)
    # queries, what they probe for, what they find, the way out: of each token one
    square = product_work(inputs, width, width) * 4
    first = product_work(inputs, width, config.intermediate_size)
    second = product_work(inputs, config.intermediate_size, width)
    return square + attention + first + second + product_work(inputs, width, embedding)


def explanation_work(config: Any, tokens: int, *, layer: int, steps: int, samples: int) -> Work:
    """Of both sides of one pair by a ``CLIPConfig``; ``tokens`` of the text that are read."""
    whole = Work()
    vision = config.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2
    whole += product_work(patches, vision.num_channels * vision.patch_size**2, vision.hidden_size)
    for side, count in ((vision, patches + 1), (config.text_config, tokens)):
        after = side.num_hidden_layers - 2 - layer  # whole blocks of the tail
        for inputs, blocks, passes in (
            (1, side.num_hidden_layers - 1, 1),
            (samples, after, 1 + steps + (steps - 1)),
        ):
            one = block_work(inputs, count, side) * blocks
            whole += (one + pooled_work(inputs, count, side, config.projection_dim)) * passes
    return whole


def best(function: Callable[[], object], repeats: int = 30) -> float:
    """Seconds of the fastest run."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return min(times)


def rates(dtype: torch.dtype) -> tuple[float, float]:
    """Operations a second of that product by torch's own and by m2ib's."""
    x, weight = torch.randn(500, 768).to(dtype), torch.randn(3072, 768).to(dtype)
    operations = product_work(500, 768, 3072).operations
    with torch.no_grad(), kept_promises():
        use_steady_weights()
        return tuple(operations / best(partial(each, x, weight)) for each in (linear, product_of))  # type: ignore[return-value]


def main() -> None:
    from transformers import CLIPConfig

    work = explanation_work(CLIPConfig(), 10, layer=9, steps=10, samples=10)
    for dtype in (torch.float32, torch.bfloat16):
        own, ours = rates(dtype)
        print(
            f"{dtype}: {work.operations / 1e9:.1f} GFLOP, {work.numbers * dtype.itemsize / 2**30:.2f} GiB; torch {own / 1e9:.0f}, m2ib "
            f"{ours / 1e9:.0f} GFLOP/s: {work.operations / max(own, ours):.3f} s"
        )


if __name__ == "__main__":
    main()
