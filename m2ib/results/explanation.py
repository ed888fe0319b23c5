"""Two attributions of a pair, and what one does with them: look, save, load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2ib.contract.abilities import Outlining
from m2ib.contract.attribution import Attribution
from m2ib.contract.layout import Axis
from m2ib.contract.pair import AttributionPair
from m2ib.contract.plotting import png_of
from m2ib.contract.regions import regions_of
from m2ib.data.boxes import boxes_of
from m2ib.errors import InputError
from m2ib.page.explanation import notebook_html, write_page
from m2ib.page.figure import draw
from m2ib.paths import local_path
from m2ib.renderers import ImageView
from m2ib.renderers.looks import Scale
from m2ib.renderers.names import file_name
from m2ib.results.reading import read
from m2ib.results.storage import save

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Explanation(AttributionPair):
    """Why a model puts two inputs close together (or not).

    attributions  one for each input, in the order given
    similarity    cosine of the two embeddings, or the model's own :class:`m2ib.Similarity`; for an ensemble, of the mean, and for a contrast, of the difference, with the other side
    provenance    versions, adapter, checkpoint, device, dtype; which reference inputs, if any; JSON-able
    interactions  which unit of one input acts together with which of the other; None where that was not asked for
    """

    def with_boxes(self, boxes: Any, at: int | str = "image") -> Explanation:
        """The same explanation with hand-drawn boxes over its image, in place of those it has.

        boxes  in pixels of the raw image: :class:`Box` or (x, y, width, height[, label]), several in a
               sequence; or a file that :func:`m2ib.read_boxes` reads, for the boxes of this very image
        at     which input: its modality, or its position

        Raises :class:`InputError`. Warns of boxes that reach out of the image.
        """
        place = self[at]
        view = place.view
        if not isinstance(view, ImageView):
            raise InputError(f"boxes: an input of modality {place.modality!r} has no image to draw them on")
        height, width = view.pixels.shape[:2]
        size = round(width / view.scale[0]), round(height / view.scale[1])  # of the raw image
        name = place.origin["source"] if file_name(place) else None
        return self._changed(place, view.with_boxes(boxes_of(boxes, name, size)))

    def with_regions(
        self, masks: Mapping[str, Any], axes: Sequence[Axis], *, at: int | str, highlight: str | None = None
    ) -> Explanation:
        """The same explanation with known regions outlined over one of its inputs, in place of those it has.

        masks      by name, bool arrays with one value for each cell of ``axes``
        axes       where the cells lie in the raw input: rows and columns in px of an image or a field, frequency
                   in Hz and time in s of a sound, trace (counted from 0) and time in s of motion, word in
                   characters of a text. Those of ``m2ib.scenes`` are such
        at         which input: its modality, or its position
        highlight  the name of the region that was asked for: drawn solid, the others dashed. None: all solid

        Raises :class:`InputError`.
        """
        place = self[at]
        if not isinstance(place.renderer, Outlining):
            raise InputError(
                f"regions: the renderer {place.renderer.name!r} of {place.modality!r} cannot outline them"
            )
        regions = regions_of(masks, axes, highlight)
        return self._changed(place, place.renderer.outlined(place.view, regions, place.modality))

    def _changed(self, place: Attribution, view: Any) -> Explanation:
        """With another view of one input."""
        first, second = (replace(place, view=view) if each is place else each for each in self.attributions)
        return replace(self, attributions=(first, second))

    def save(self, folder: str | Path, *, force: bool = False) -> Path:
        """Write numbers (safetensors), a JSON manifest and what is shown; :func:`load_explanation` reads it.

        Raises :class:`StorageError` if the folder holds something already (unless ``force``) or cannot be
        written.
        """
        return save(self, local_path(folder), force=force)

    def to_html(self, path: str | Path, *, title: str | None = None) -> Path:
        """Write one self-contained page: maps to look at, the fit's curve, settings and provenance."""
        return write_page([self], path, title=title)

    def figure(self, *, links: int = 6, cmap: str | None = None, scale: Scale = "own") -> Figure:
        """A matplotlib figure with both attributions side by side, for notebooks and papers.

        links  where there are interactions, so many of the strongest are drawn as lines between the two, without those beside
               a stronger one; 0 for none
        cmap   a colour map by matplotlib's name, of which a signed map has 0 in the middle; None: the page's colours
        scale  "own": from each map's least value to its greatest, as on the page. "shared": one scale for all maps of a kind of
               input and a unit. A number: heat is full there

        A notebook shows it without ``%matplotlib inline``; ``.savefig("cat.pdf")`` keeps text as text. Raises :class:`SettingError`.
        """
        return draw(self, links, cmap, scale)

    def _repr_html_(self) -> str:
        return notebook_html(self, self._sides())

    def _repr_png_(self) -> bytes:
        return png_of(self.figure())

    def __repr__(self) -> str:
        return f"Explanation(similarity={self.similarity:.4f}, {self.attributions[0]!r}, {self.attributions[1]!r})"


def load_explanation(folder: str | Path) -> Explanation:
    """Read what :meth:`Explanation.save` wrote; every number comes back as it was.

    Raises :class:`StorageError` if the folder holds no explanation, or a damaged one.
    """
    return Explanation(*read(local_path(folder)))
