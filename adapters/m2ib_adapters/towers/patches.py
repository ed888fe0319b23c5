"""How a transformer's stem cuts an input into a grid of cells, and where each cell lies in the input."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from m2ib.contract.layout import Axis, Layout


@dataclass(frozen=True)
class Patches:
    """A strided window over an input's axes, e.g. (rows, columns) or (bands, frames); a class token comes first.

    kernel  window by axis, in the input's own samples
    stride  step by axis; less than the kernel where cells overlap
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]

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
        length = 1 + prod(cells)  # the class token comes first
        index = tuple(clip * length + 1 + cell for clip in range(clips or 1) for cell in range(prod(cells)))
        return Layout(cells if clips is None else (clips, *cells), index, axes=axes)

    def placed(self, layout: Layout, size: tuple[int, ...]) -> Layout:
        """``layout``, whose axes tile an input of this size, with axes that end where the last whole cell ends."""
        axes = tuple(
            Axis(axis.name, axis.unit, _shrunk(axis.spans, len(axis.spans) * step / length))
            for axis, step, length in zip(layout.axes, self.stride, size, strict=True)
        )
        return replace(layout, axes=axes)


def _shrunk(spans: tuple[tuple[float, float], ...], factor: float) -> tuple[tuple[float, float], ...]:
    if factor == 1:
        return spans
    first = spans[0][0]
    return tuple((first + (start - first) * factor, first + (end - first) * factor) for start, end in spans)
