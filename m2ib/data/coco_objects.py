"""What COCO says is on one image: masks and boxes of its objects, by category."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2ib.data.boxes import scaled
from m2ib.data.cells import box_of, existing, text_in
from m2ib.data.media import upright_size
from m2ib.data.rle import mask_of
from m2ib.errors import InputError

if TYPE_CHECKING:
    from m2ib.contract.regions import Box, Region

_LARGEST = 2**48  # pixels; numbers of more digits are no sizes


@dataclass(frozen=True)
class Objects:
    """What is on one image, shared by its pairs.

    annotations  by category
    """

    image: Mapping[str, Any]
    folder: Path
    annotations: Mapping[str, Sequence[Mapping[str, Any]]]

    @cached_property
    def path(self) -> Path:
        said = self.image.get("file_name") or "/".join(str(self.image.get("coco_url") or "").split("/")[-2:])
        name = Path(text_in(said, "file_name"))
        return existing((self.folder / name, self.folder / name.name), "image")

    @cached_property
    def drawn(self) -> tuple[int, int] | None:
        """(width, height) of the image that objects were drawn on; None: not said."""
        size = self.image.get("width"), self.image.get("height")
        if size == (None, None):
            return None
        if not all(isinstance(side, int) and 0 < side < _LARGEST for side in size):
            raise InputError(
                f"its image's width and height are {size[0]!r:.40} and {size[1]!r:.40}, not whole numbers above 0"
            )
        return size  # type: ignore[return-value]

    @cached_property
    def sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(width, height) that objects were drawn on, and of the image at hand."""
        wide, high = seen = upright_size(self.path)
        width, height = drawn = self.drawn or seen
        if abs(wide / width * height - high) > 1 and abs(high / height * width - wide) > 1:
            raise InputError(
                f"its image has {wide}x{high} pixels, and its annotations were drawn on {width}x{height}: it was cropped or turned"
            )
        return drawn, seen

    @cached_property
    def regions(self) -> dict[str, Region]:
        """By category."""
        from m2ib.contract.layout import even_axis
        from m2ib.contract.regions import Region

        (width, height), (wide, high) = self.sizes
        axes = even_axis("row", "px", height, 0, high), even_axis("column", "px", width, 0, wide)
        masks = {
            name: mask_of(map(segmentation_of, some), (height, width))
            for name, some in self.annotations.items()
        }
        return {name: Region(name, mask, axes) for name, mask in masks.items()}

    def boxes(self, names: Sequence[str]) -> tuple[Box, ...]:
        """Of the objects of some categories, in pixels of the image at hand; those without an area are left out."""
        (width, height), (wide, high) = self.sizes
        found = []
        for name in names:
            for box in (each.get("bbox") for each in self.annotations[name]):
                if box is not None and not _is_box(box):
                    raise InputError(f"its bbox is no [x, y, w, h] but {box!r:.60}")
                if box is not None and min(box[2:]) != 0:
                    found.append(scaled(box_of(box, name), wide / width, high / height))
        return tuple(found)

    def share(self, name: str) -> float:
        """Of the image, that the objects of a category cover. Raises :class:`InputError` where its size is not said."""
        if self.drawn is None:
            raise InputError("its image has no width and height, which least= needs")
        return sum(map(self._area, self.annotations[name])) / (self.drawn[0] * self.drawn[1])

    def _area(self, each: Mapping[str, Any]) -> float:
        area = each.get("area")
        if isinstance(area, (int, float)) and 0 <= area < _LARGEST:
            return float(area)
        width, height = self.sizes[0]
        return float(mask_of([segmentation_of(each)], (height, width)).sum())


def segmentation_of(each: Mapping[str, Any]) -> Any:
    """Of one annotation; without one, its box as a polygon. Raises :class:`InputError`."""
    found = each.get("segmentation")
    if found:
        return found
    box: Any = each.get("bbox")
    if not _is_box(box):
        raise InputError(f"annotation {each.get('id')!r:.40} has neither a segmentation nor a bbox")
    x, y, width, height = box
    return [[x, y, x, y + height, x + width, y + height, x + width, y]]


def _is_box(box: Any) -> bool:
    return isinstance(box, list) and len(box) == 4 and all(isinstance(side, (int, float)) for side in box)
