"""Heat over one or several pictures, as one figure of a page: one set of knobs, one legend, one range of values.

``m2ib/page/heatmap.js`` paints what the JSON of the figure says; ``player.js`` plays the sound of one that has
a sound.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from m2ib.contract.attribution import deviation_of
from m2ib.renderers.formatting import flatness, rounded
from m2ib.renderers.interpolation import cell_centres
from m2ib.renderers.media import image_tag, jpeg_url
from m2ib.renderers.names import described, is_contrast
from m2ib.renderers.outlines import Outline, outlines_html, outlines_key

if TYPE_CHECKING:
    from m2ib.contract.attribution import Attribution

Region = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Part:
    """Where in a panel one map lies.

    map     its number: the place along the first axis of the grid; 0 for a grid of one map
    region  (left, top, right, bottom) that it covers, in the panel's own units
    y, x    centres of its rows and columns, in the same units; the outer cells reach to the border
    """

    map: int
    region: Region
    y: np.ndarray
    x: np.ndarray

    @classmethod
    def tiled(cls, shape: tuple[int, int], region: Region, number: int = 0) -> Part:
        """A map of (rows, cols) equal cells that fill the region."""
        left, top, right, bottom = region
        return cls(number, region, cell_centres(shape[0], top, bottom), cell_centres(shape[1], left, right))


@dataclass(frozen=True, eq=False)
class Ruler:
    """What a place along a side of a panel means: ``values`` in ``unit`` at ``places``, linear in between."""

    places: Sequence[float] | np.ndarray
    values: Sequence[float] | np.ndarray
    unit: str


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture with its heat.

    picture  an <img> or <svg>; heat lies over an image, and under the lines of a drawing (``lines``)
    width    and height: the units in which everything else is placed
    parts    the maps it shows; their mean where they overlap, "not seen by the model" where there is none
    shape    width over height as shown; None: that of the units
    x, y     what the pointer reads out besides the map
    values   read out as well: rows of numbers that tile the panel, None where there is none, in ``unit``
    padding  x from which on the model sees padding
    note     read out in front of everything
    xticks   (place, text) along the lower side; ``yticks`` along the left one
    caption  shown under it
    overlay  HTML over picture and heat, placed in per cent
    outlines  of regions, over everything
    maps     its own, in place of the grid: (maps, rows, cols) by what :func:`mapped` calls them, on a range of
             their own, read out with ``measure`` after the unit
    bars     (start, end, text) above it, each at least as wide as its text
    soft     what is shown in place of the grid as long as the figure is smooth, like ``maps``
    """

    picture: Markup
    width: float
    height: float
    parts: Sequence[Part]
    shape: float | None = None
    lines: bool = False
    x: Ruler | None = None
    y: Ruler | None = None
    values: list[list[float | None]] | None = None
    unit: str = ""
    padding: float | None = None
    note: str = ""
    xticks: Sequence[tuple[float, str]] = ()
    yticks: Sequence[tuple[float, str]] = ()
    caption: str = ""
    overlay: Markup = field(default_factory=Markup)
    outlines: Sequence[Outline] = ()
    maps: Mapping[str, np.ndarray] | None = None
    measure: str = ""
    bars: Sequence[tuple[float, float, str]] = ()
    soft: Mapping[str, np.ndarray] | None = None

    @property
    def ratio(self) -> float:
        """Width over height as shown."""
        return self.shape or self.width / self.height

    def data(self) -> dict[str, Any]:
        """For the script."""
        return {
            "width": self.width,
            "height": self.height,
            "shape": self.ratio,
            "parts": [
                {"map": part.map, "region": rounded(part.region), "y": rounded(part.y), "x": rounded(part.x)}
                for part in self.parts
            ],
            "x": _ruler_data(self.x),
            "y": _ruler_data(self.y),
            "values": self.values,
            "unit": self.unit,
            "padding": self.padding,
            "note": self.note,
            "maps": _listed(self.maps),
            "soft": _listed(self.soft),
            "measure": self.measure,
        }

    def html(self, label: str, *, heat: bool = True) -> Markup:
        """``label`` names it to those who do not see it; without ``heat`` it is the picture and its outlines."""
        stage = Markup(
            '<div class="stage{lines}" style="--shape:{shape:.4f}"{focus} role="group" aria-label="{label}">'
            "{picture}{canvas}{overlay}{outlines}{probe}</div>"
        ).format(
            lines=" lines" if self.lines else "",
            shape=self.ratio,
            label=label,
            picture=self.picture,
            overlay=self.overlay,
            outlines=outlines_html(self.outlines, self.width, self.height),
            focus=Markup(' tabindex="0"') if heat else "",
            canvas=Markup("<canvas></canvas>") if heat else "",
            probe=Markup('<output class="probe"></output>') if heat else "",
        )
        if self.xticks or self.yticks:
            stage = Markup('<div class="plot">{bars}{y}{stage}{x}</div>').format(
                bars=_bars(self.bars, self.width),
                y=_ticks("y", [(place / self.height, text) for place, text in self.yticks]),
                stage=stage,
                x=_ticks("x", [(place / self.width, text) for place, text in self.xticks]),
            )
        caption = Markup("<p>{}</p>").format(self.caption) if self.caption and heat else ""
        return Markup('<div class="panel">{}{}</div>').format(stage, caption)


def mapped(
    attribution: Attribution, change: Callable[[np.ndarray], np.ndarray] = lambda grid: grid
) -> dict[str, np.ndarray]:
    """What a figure can show, each changed, by the names that the page knows them by.

    for, against  the grid, and what is taken off it
    deviation     over the seeds, of what is no contrast
    z, usual      against the maps for other inputs, and the mean of those
    """
    grid, null = attribution.grid, attribution.null
    found = {"for": change(grid)}
    if attribution.against is not None:
        found["against"] = change(attribution.against)
    elif attribution.by_seed is not None:
        found["deviation"] = deviation_of(np.stack([change(each) for each in attribution.by_seed]))
    if null is not None:
        found |= {"z": change(null.scores(grid).astype(np.float32)), "usual": change(null.mean)}
    return found


def _choices(attribution: Attribution) -> Markup:
    """Which of the maps is shown, where there are several."""
    null, seeds = attribution.null, attribution.by_seed is not None
    if attribution.against is not None:
        contrast = is_contrast(attribution)
        both, other = ("both sides", "for the other") if contrast else ("for, less against", "against it")
        title, offered = "Evidence", {"both": both, "for": "for this one", "against": other}
    else:
        title, offered = (
            "Over the seeds" if null is None else "Map",
            {"for": "mean" if seeds else "this pair's"},
        )
        offered |= {"deviation": "standard deviation"} if seeds else {}
    if null is not None:
        others = f"{len(null.similarities)} others"
        offered |= {"z": f"z-scores against {others}", "usual": f"mean of {others}"}
    if len(offered) == 1:
        return Markup("")
    option = Markup('<option value="{}">{}</option>')
    options = Markup("").join(option.format(*each) for each in offered.items())
    return Markup('<label>{} <select class="which">{}</select></label>').format(title, options)


def hues(attribution: Attribution) -> str:
    """What the two hues of a signed map mean."""
    if is_contrast(attribution):
        return "orange: more for this one, blue: more for the other"
    return "orange: raises the similarity, blue: lowers it"


def _legends(attribution: Attribution) -> dict[str, str]:
    """Likewise for those that are signed among the maps."""
    found = {"z": "orange: more than for others, blue: less, in standard deviations, however little that is"}
    if not attribution.signed:
        return found
    own = ("for", "usual") if attribution.against is None else ("both",)
    return found | dict.fromkeys(own, hues(attribution))


def heat_script() -> str:
    """What every figure of :func:`heat_figure` needs."""
    page = files("m2ib.page")
    return "\n".join(page.joinpath(name).read_text(encoding="utf-8") for name in ("heatmap.js", "player.js"))


def heat_figure(
    attribution: Attribution,
    ident: str,
    panels: Sequence[Panel],
    *,
    kind: str,
    label: str,
    together: int = 1,
    under: Markup = Markup(""),  # noqa: B008 - immutable
    sound: Mapping[str, Any] | None = None,
) -> Markup:
    """The figure as HTML.

    kind   of figure: a class for the style sheet
    label  what the heat lies over, e.g. "heatmap over the image": names a panel to those who do not see it
    together  so many panels in a row are never parted
    under  HTML between panels and knobs
    sound  for ``player.js``
    """
    contrast, maps = attribution.against is not None, mapped(attribution)
    data = {
        "unit": attribution.unit,
        "full": attribution.full,
        "signed": attribution.signed and not contrast,
        "legends": _legends(attribution),
        "maps": _listed(maps),
        "panels": [panel.data() for panel in panels],
    }
    if sound is not None:
        data["sound"] = dict(sound)
    said = f"{label}: {described(attribution)}"
    shown = [
        panel.html(said if len(panels) == 1 else f"{said}; picture {n} of {len(panels)}")
        for n, panel in enumerate(panels, 1)
    ]
    if together > 1:
        groups = [shown[n : n + together] for n in range(0, len(shown), together)]
        shown = [Markup('<div class="group">{}</div>').format(Markup("").join(group)) for group in groups]
    return Markup(
        '<figure class="heat" id="{ident}"><div class="panels {kind}">{panels}</div>{key}{under}'
        '<figcaption><div class="knobs">'
        '<label>Show <select class="mode"><option value="heat">heat</option>'
        '<option value="spotlight">spotlight</option></select></label>{choice}'
        '<label>Opacity <input type="range" class="opacity" min="0" max="100" value="75"><output></output></label>'
        '<label>Threshold <input type="range" class="threshold" min="0" max="100" value="0"><output></output></label>'
        '<label><input type="checkbox" class="smooth" checked> smooth</label></div>'
        '<div class="legend"><span class="low"></span><span class="ramp"></span><span class="high"></span>'
        '</div><p class="hint reading"></p>{flat}</figcaption><script type="application/json">{data}</script></figure>'
    ).format(
        ident=ident,
        kind=kind,
        panels=Markup("").join(shown),
        key=outlines_key(
            [(each.name, each.main) for panel in panels for each in panel.outlines if each.at is None]
        ),
        under=under,
        choice=_choices(attribution),
        flat=note(flatness(attribution.grid, attribution.against)),
        data=Markup(json.dumps(data, allow_nan=False).replace("<", "\\u003c")),
    )


def picture_figure(panels: Sequence[Panel], *, kind: str, label: str, under: Markup | str = "") -> Markup:
    """The panels without heat and knobs, as HTML; see :func:`heat_figure`."""
    return Markup('<figure class="picture"><div class="panels {}">{}</div>{}</figure>').format(
        kind, Markup("").join(panel.html(label, heat=False) for panel in panels), under
    )


def note(text: str) -> Markup:
    """A line that must be read; nothing for an empty one."""
    return Markup('<p class="note">{}</p>').format(text) if text else Markup("")


def scrollable(table: str, label: str) -> Markup:
    """A table that scrolls within itself where it is wider than its place, by keys too; ``label`` says what is in it."""
    return Markup('<div class="scroll" role="region" tabindex="0" aria-label="{}">{}</div>').format(
        label, Markup(table)
    )


def sketch_tag(
    attribution: Attribution, pixels: np.ndarray, longest: int, *, stretched: bool = True
) -> Markup:
    """An attribution as a picture (height, width, 3) uint8 with its heat, for a card: of so many pixels at most along its longer side.

    stretched  whether its sides may be shown as long as there is room
    """
    share = min(1.0, longest / max(pixels.shape))
    size = tuple(max(1, round(side * share)) for side in pixels.shape[1::-1])
    shown = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
    tag = image_tag(jpeg_url(shown, 80), f"heatmap: {described(attribution)}", *size)
    return Markup('<div class="alone">{}</div>').format(tag) if stretched else tag


def per_cent(place: float, whole: float) -> str:
    """As CSS."""
    return f"{100 * place / whole:.3f}%"


def _ruler_data(ruler: Ruler | None) -> dict[str, Any] | None:
    if ruler is None:
        return None
    return {"places": rounded(ruler.places), "values": rounded(ruler.values), "unit": ruler.unit}


def _listed(maps: Mapping[str, np.ndarray] | None) -> dict[str, Any] | None:
    return None if maps is None else {side: values.tolist() for side, values in maps.items()}


def _bars(bars: Sequence[tuple[float, float, str]], whole: float) -> Markup:
    """In as few rows as they fit without touching; a bar is counted as a twentieth of the width at least."""
    if not bars:
        return Markup("")
    ends: list[float] = []  # of the last bar of each row
    shown = []
    for start, end, text in sorted(bars):
        left, right = min(start, (start + end) / 2 - whole / 40), max(end, (start + end) / 2 + whole / 40)
        row = next((n for n, last in enumerate(ends) if left >= last - 1e-6 * whole), len(ends))
        ends[row : row + 1] = [right]
        style = f"--row:{row};left:{per_cent((start + end) / 2, whole)};width:{per_cent(end - start, whole)}"
        shown.append(Markup('<span style="{}">{}</span>').format(style, text))
    return Markup('<div class="bars" style="--rows:{}">{}</div>').format(len(ends), Markup("").join(shown))


def _ticks(side: str, marks: Sequence[tuple[float, str]]) -> Markup:
    tick = Markup('<span style="--at:{}">{}</span>')
    ticks = Markup("").join(tick.format(per_cent(at, 1), text) for at, text in marks)
    return Markup('<div class="ticks {}">{}</div>').format(side, ticks)
