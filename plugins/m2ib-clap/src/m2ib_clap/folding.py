"""How the audio tower lays a spectrogram out, and how it is read as frequency by time.

The tower (HTSAT, a Swin transformer) was made for square pictures. A spectrogram is long, so transformers'
``reshape_mel2img`` cuts its time into equal chunks and stacks them, each with all its bands, the lowest first::

    row of the square = chunk * bands + band        column of the square = time within the chunk

Patches keep that order, and every stage halves the rows and the columns: at each resolution a row is (chunk,
frequency) and a column is a time within the chunk. What a block gives are these rows, one after another.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import Tensor

import m2ib


@dataclass(frozen=True)
class Folding:
    """One resolution of the square.

    chunks       parts of the time, stacked
    frequencies  rows of one chunk
    columns      times of one chunk
    """

    chunks: int
    frequencies: int
    columns: int

    def unfold(self, rows: Tensor) -> Tensor:
        """(N, chunks * frequencies * columns, C) -> (N, frequencies, chunks * columns, C)."""
        # (N, chunks, F, columns, C)
        square = rows.unflatten(1, (self.chunks, self.frequencies, self.columns))
        grid: Tensor = square.transpose(1, 2).flatten(2, 3)  # (N, F, T, C)
        return grid

    def fold(self, grid: Tensor) -> Tensor:
        """The inverse of :meth:`unfold`."""
        square = grid.unflatten(2, (self.chunks, self.columns)).transpose(1, 2)  # (N, chunks, F, columns, C)
        rows: Tensor = square.flatten(1, 3)  # (N, chunks * F * columns, C)
        return rows

    def layer(self, module: Any, name: str) -> m2ib.Layer:
        """A module whose output has this resolution, as (N, F, T, C)."""
        return m2ib.Layer(
            module,
            name,
            channel_axis=-1,
            read=lambda output: self.unfold(m2ib.read_first(output)),
            write=lambda output, value: m2ib.write_first(output, self.fold(value)),
        )


@dataclass(frozen=True)
class Tower:
    """The audio tower's layers, and what lies under the cells of its finest grid.

    stem     the patch embedding
    blocks   of all stages, in order
    stages   how many blocks each stage has
    bands    rows of the spectrogram as the tower stretches it
    frames   its columns
    stride   (bands, frames) from one cell of the stem to the next
    """

    stem: m2ib.Layer
    blocks: tuple[m2ib.Layer, ...]
    stages: tuple[int, ...]
    bands: int
    frames: int
    stride: tuple[int, int]

    @property
    def grid(self) -> tuple[int, int]:
        """(frequencies, times) of the stem, and of the first stage."""
        return self.bands // self.stride[0], self.frames // self.stride[1]


def tower_of(module: Any, who: str) -> Tower:
    """The tower of a ``ClapModel``.

    Raises :class:`m2ib.CheckpointError`, in the name of ``who``, for an architecture whose chunks do not fall
    on whole rows of every stage.
    """
    encoder = module.audio_model.audio_encoder
    chunks, side = encoder.freq_ratio, encoder.spec_size
    down, across = (int(step) for step in encoder.patch_stride)
    foldings = []
    for stage in range(len(encoder.layers)):
        rows, columns = encoder.input_resolutions[stage]
        foldings.append(Folding(chunks, rows // chunks, columns))
        if rows * 2**stage * down != side or columns * 2**stage * across != side or rows % chunks:
            raise m2ib.CheckpointError(
                f"{who} has an audio tower whose stage {stage} has {rows} x {columns} cells of a spectrogram that is "
                f"folded {chunks} times into {side} x {side}: its cells cannot be told apart by frequency and time; "
                "use one whose spec_size is a multiple of chunks, patch_stride and 2 to the number of stages"
            )
    path = "audio_model.audio_encoder"
    return Tower(
        stem=foldings[0].layer(encoder.patch_embed, f"{path}.patch_embed"),
        blocks=tuple(
            folding.layer(block, f"{path}.layers.{number}.blocks.{place}")
            for number, (stage, folding) in enumerate(zip(encoder.layers, foldings, strict=True))
            for place, block in enumerate(stage.blocks)
        ),
        stages=tuple(len(stage.blocks) for stage in encoder.layers),
        bands=side // chunks,
        frames=side * chunks,
        stride=(down, across),
    )


def under(cells: int, stride: int, made: int, given: int) -> list[tuple[float, float]]:
    """(start, end) of each cell along an axis, in samples of the spectrogram before it was stretched.

    Sample n has its centre at n and reaches from n - 1/2 to n + 1/2. A cell covers ``stride`` of the ``made``
    samples, which the tower interpolates between the ``given`` ones so that the first and the last fall on the first
    and the last (``align_corners``).
    """
    scale = (given - 1) / (made - 1)
    edges = [(cell * stride - 0.5) * scale for cell in range(cells + 1)]
    return list(pairwise(edges))
