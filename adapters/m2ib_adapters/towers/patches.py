"""How a transformer's stem cuts an input into a grid of cells, and where each cell lies in the input."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from m2ib.contract.degradation import Fading
from m2ib.contract.inputs import Item
from m2ib.contract.layout import Axis, Layout

Region = tuple[float, float, float, float]
"""(left, top, right, bottom) in pixels."""


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

    def read(self, size: tuple[int, ...], cells: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """Samples of each axis that the cells cover, from the first on; so many cells, or as many as fit."""
        counts = zip(cells or self.grid(size), self.kernel, self.stride, strict=True)
        return tuple((count - 1) * stride + kernel for count, kernel, stride in counts)

    def fading(self, size: tuple[int, ...]) -> Fading | None:
        """How parts of an input are taken out where whole cells do not fill it; None: as usual."""
        apart = self.kernel == self.stride
        return Fading(step=self.stride) if apart and self.read(size) != size else None

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

    def covered(self, region: Region, size: tuple[int, ...], cells: tuple[int, ...] | None = None) -> Region:
        """Of a region that an input of this size shows, the part under its cells.

        cells  by axis, where an input is padded to whole ones; None: as many as fit
        """
        left, top, right, bottom = region
        down, across = (read / side for read, side in zip(self.read(size, cells), size, strict=True))
        return left, top, left + (right - left) * across, top + (bottom - top) * down

    def placed(self, item: Item, size: tuple[int, ...]) -> Item:
        """``item``, whose cells tile the whole of an input of this size, with cells that end where the last one ends.

        Its axes are rows and columns, and its view has a region.
        """
        cells = item.layout.grid
        assert cells is not None
        read = self.read(size, cells)
        if read == size:
            return item
        shares = tuple(each / side for each, side in zip(read, size, strict=True))
        axes = tuple(
            Axis(axis.name, axis.unit, _shrunk(axis.spans, share))
            for axis, share in zip(item.layout.axes, shares, strict=True)
        )
        view = replace(item.view, region=self.covered(item.view.region, size, cells), read=read)
        return replace(item, layout=replace(item.layout, axes=axes), view=view)


def _shrunk(spans: tuple[tuple[float, float], ...], factor: float) -> tuple[tuple[float, float], ...]:
    first = spans[0][0]
    return tuple((first + (start - first) * factor, first + (end - first) * factor) for start, end in spans)
