"""Outlines over a map, alike on every page and in every figure: solid for what was asked for, else dashed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from m2ib.contract.regions import Region
from m2ib.renderers.fonts import readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOUR = "#3fe6ff"  # no heat has it

AlongAxis = Callable[[np.ndarray], np.ndarray]
"""Places along an axis, from the raw input's units to those of a panel."""


@dataclass(frozen=True, eq=False)
class Outline:
    """What is drawn around something.

    name   of what is inside; may be empty
    rings  closed, (corners, 2) each: x from the left and y from the top, in the units of a panel
    main   solid; otherwise dashed
    at     of one that a map has a value for: (x, y) in its middle, where ``name`` says it; a thin line then, and no entry in the key
    """

    name: str
    rings: tuple[np.ndarray, ...]
    main: bool = True
    at: tuple[float, float] | None = None

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) of all rings."""
        corners = np.concatenate(self.rings)
        (left, top), (right, bottom) = corners.min(0).tolist(), corners.max(0).tolist()
        return left, top, right, bottom

    def roomy(self, width: float) -> bool:
        """Whether a panel of this width has room for the name of what has a value."""
        left, _, right, _ = self.edges
        return right - left > 0.08 * width

    def crowded(self, width: float, height: float) -> tuple[bool, bool]:
        """Whether a panel of this size leaves no room for the name above it, and little to the right of its left edge."""
        left, top, right, _ = self.edges
        return top < 0.08 * height, left + right > width


def outlines_of(regions: Sequence[Region], y: AlongAxis, x: AlongAxis) -> list[Outline]:
    """The regions (first axis down, second across) as they are drawn; what is not in the panel is left out."""
    drawn = []
    for region in regions:
        placed = [np.stack([x(ring[:, 1]), y(ring[:, 0])], 1) for ring in region.rings()]
        seen = tuple(ring for ring in placed if np.ptp(ring, 0).min() > 0)
        if seen:
            drawn.append(Outline(region.name, seen, region.main))
    return drawn


def outlines_html(outlines: Sequence[Outline], width: float, height: float) -> Markup:
    """Over a panel of this size; its lines as thick as they are, however large the panel is shown."""
    if not outlines:
        return Markup("")
    paths = Markup("").join(
        Markup(
            '<g class="region{kind}" data-name="{name}"><path class="under" d="{d}"/><path class="edge" d="{d}"/></g>'
        ).format(
            kind=" unit" if outline.at else " main" if outline.main else "",
            name=outline.name,
            d=_path(outline.rings),
        )
        for outline in sorted(outlines, key=lambda outline: outline.main)
    )
    tags = Markup("").join(_tag(outline, width, height) for outline in outlines if outline.name)
    return Markup(
        '<svg class="regions" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">{}</svg>{}'
    ).format(f"{width:.6g}", f"{height:.6g}", paths, tags)


def outlines_key(names: Sequence[tuple[str, bool]]) -> Markup:
    """(name, main) of what is outlined, each once; nothing for a single line without a name."""
    named = dict(name for name in names if name[0])
    if not named:
        return Markup("")
    several = len(set(named.values())) > 1
    return Markup('<p class="hint outlined">outlined: {}</p>').format(
        Markup(" ").join(
            Markup('<span><i class="sample{}"></i> {}{}</span>').format(
                " main" if main else "", name, " (asked for)" if main and several else ""
            )
            for name, main in sorted(named.items(), key=lambda item: not item[1])
        )
    )


def draw_outlines(
    axes: Axes,
    outlines: Sequence[Outline],
    size: tuple[float, float],
    *,
    offset: tuple[float, float] = (0.0, 0.0),
) -> None:
    """On matplotlib axes whose units are those of a panel of ``size`` (width, height), moved by ``offset``."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path
    from matplotlib.patheffects import withStroke

    for outline in sorted(outlines, key=lambda outline: outline.main):
        path = Path.make_compound_path(
            *(Path(np.concatenate([ring, ring[:1]]) + offset, closed=True) for ring in outline.rings)
        )
        if outline.at is not None:
            axes.add_patch(PathPatch(path, fill=False, edgecolor="black", linewidth=1.6, alpha=0.6))
            axes.add_patch(PathPatch(path, fill=False, edgecolor="white", linewidth=0.7))
            if outline.roomy(size[0]):
                _write_inside(axes, outline, size[0], offset)
            continue
        # Under the dashes a dark line that has no gaps.
        axes.add_patch(PathPatch(path, fill=False, edgecolor="black", linewidth=3 if outline.main else 2.2))
        line = {"linewidth": 1.6} if outline.main else {"linewidth": 1.1, "linestyle": (0, (4, 2.5))}
        axes.add_patch(PathPatch(path, fill=False, edgecolor=COLOUR, **line))
        left, top, right, _ = outline.edges
        inside, end = outline.crowded(*size)
        [(name, families)] = readable([outline.name])
        text = axes.annotate(
            name,
            ((right if end else left) + offset[0], top + offset[1]),
            (-2 if end else 2, -2 if inside else 2),
            textcoords="offset points",
            ha="right" if end else "left",
            va="top" if inside else "bottom",
            color="white",
            fontsize=8,
            fontfamily=families,
            parse_math=False,
        )
        text.set_path_effects([withStroke(linewidth=3, foreground="black")])


def _write_inside(axes: Axes, outline: Outline, width: float, offset: tuple[float, float]) -> None:
    """Its name in its middle, and near an end of the panel before it."""
    from matplotlib.patheffects import withStroke

    assert outline.at is not None
    [(name, families)] = readable([outline.name])
    text = axes.text(
        outline.at[0] + offset[0],
        outline.at[1] + offset[1],
        name,
        ha="left" if outline.at[0] < 0.1 * width else "right" if outline.at[0] > 0.9 * width else "center",
        va="center",
        color="white",
        fontsize=6.5,
        fontfamily=families,
        parse_math=False,
        clip_on=True,
    )
    text.set_path_effects([withStroke(linewidth=2, foreground="black")])


def _path(rings: Sequence[np.ndarray]) -> str:
    return "".join("M" + "L".join(f"{x:.6g},{y:.6g}" for x, y in ring.tolist()) + "Z" for ring in rings)


def _tag(outline: Outline, width: float, height: float) -> Markup:
    """Its name, where there is room."""
    if outline.at is not None:
        if not outline.roomy(width):
            return Markup("")
        x, y = (100 * place / whole for place, whole in zip(outline.at, (width, height), strict=True))
        return Markup('<span class="tag unit" style="--x:{:.3f}%;top:{:.3f}%">{}</span>').format(
            x, y, outline.name
        )
    left, top, right, _ = outline.edges
    inside, end = outline.crowded(width, height)
    across = f"right:{100 * (1 - right / width):.3f}%" if end else f"left:{100 * left / width:.3f}%"
    return Markup('<span class="tag{inside}{main}" style="{across};top:{top}">{name}</span>').format(
        inside=" inside" if inside else "",
        main=" main" if outline.main else "",
        across=across,
        top=f"{100 * top / height:.3f}%",
        name=outline.name,
    )
