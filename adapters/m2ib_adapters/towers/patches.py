"""How a transformer's stem cuts an input into a grid of cells, and where each cell lies in the input."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from m2ib.contract import Axis, Layout


@dataclass(frozen=True)
class Patches:
    """A strided window over an input's axes, e.g. (rows, columns) or (bands, frames).

    kernel  window by axis, in the input's own samples
    stride  step by axis; less than the kernel where cells overlap
    before  positions ahead of the cells: the class token
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    before: int = 1

    def grid(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Cells by axis of an input with this size."""
        return tuple(
            (length - kernel) // stride + 1
            for length, kernel, stride in zip(size, self.kernel, self.stride, strict=True)
        )

    def spans(self, axis: int, length: int) -> list[tuple[int, int]]:
        """[start, end) of each cell along an axis of ``length`` samples."""
        step, width = self.stride[axis], self.kernel[axis]
        return [(n * step, n * step + width) for n in range((length - width) // step + 1)]

    def layout(
        self, size: tuple[int, ...], *, clips: int | None = None, axes: tuple[Axis, ...] = ()
    ) -> Layout:
        """The layout of an input of this size; of ``clips`` such inputs in a row, class token by class token.

        The grid of several clips is (clips, *cells), its positions clip-major.
        """
        cells = self.grid(size)
        length = self.before + prod(cells)
        index = tuple(
            clip * length + self.before + cell for clip in range(clips or 1) for cell in range(prod(cells))
        )
        return Layout(cells if clips is None else (clips, *cells), index, axes=axes)
