"""Words shaded by their value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup, escape

from m2ib.contract.regions import Region, check_axes
from m2ib.renderers.base import scale
from m2ib.renderers.formatting import flatness, format_number
from m2ib.renderers.outlines import outlines_key
from m2ib.renderers.panels import note
from m2ib.renderers.view_storage import restore_regions, store_regions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from m2ib.contract.attribution import Attribution


class TextRenderer:
    """A grid (tokens,) over the view ``{"text": str}``, with ``"regions"`` where there are any."""

    name = "text"
    script = ""

    def scores(self, grid: np.ndarray, attribution: Attribution) -> np.ndarray:
        """(tokens,): min-max over the tokens that are not special; special tokens get 0."""
        content = np.array([not token.special for token in attribution.layout.tokens], dtype=bool)
        scores = np.zeros(grid.shape, np.float32)
        if content.any():
            scores[content] = scale(grid[content])
        return scores

    def fragment(self, attribution: Attribution, ident: str) -> str:
        words = attribution.words
        unit = f" {attribution.unit}" if attribution.unit else ""
        shown = _spread([value for _, value in words])
        spans = Markup(" ").join(
            Markup(
                '<span class="word{known}" tabindex="0" style="--value:{value:.3f}">{word}<span class="number">{number}</span></span>'
            ).format(
                known=_known_class(known),
                value=shade,
                word=word,
                number=", ".join([f"{format_number(value)}{unit}", *(region.name for region in known)]),
            )
            for (word, value), shade, known in zip(words, shown, _known(attribution), strict=True)
        )
        rows = Markup("").join(
            Markup('<tr{mark}><td>{token}</td><td class="figure">{number}</td></tr>').format(
                mark=Markup(' class="special"') if token.special else "",
                token=token.text,
                number=format_number(value),
            )
            for token, value in zip(attribution.layout.tokens, attribution.grid, strict=True)
        )
        return Markup(
            '<figure class="words" id="{ident}"><p class="sentence">{spans}</p>{key}{legend}{notes}'
            "<details><summary>Tokens, special ones included</summary>"
            "<table><thead><tr><th>token</th><th>{unit}</th></tr></thead><tbody>{rows}</tbody></table></details></figure>"
        ).format(
            ident=escape(ident),
            spans=spans,
            key=outlines_key([(region.name, region.main) for region in _regions(attribution)]),
            legend=_legend(words, unit),
            unit=attribution.unit or "value",
            notes=_notes(attribution),
            rows=rows,
        )

    def outlined(self, view: Mapping[str, Any], regions: Sequence[Region], modality: str) -> dict[str, Any]:
        return {**view, "regions": check_axes(regions, (("word", "characters"),), modality)}

    def picture(self, attribution: Attribution, ident: str) -> Markup:
        span = Markup('<span class="word{}">{}</span>')
        words = zip(attribution.words, _known(attribution), strict=True)
        spans = Markup(" ").join(span.format(_known_class(known), word) for (word, _), known in words)
        return Markup('<figure class="picture words"><p class="sentence">{}</p></figure>').format(spans)

    def draw(self, attribution: Attribution, axes: Axes) -> None:
        words = attribution.words
        places = np.arange(len(words))
        values = [value for _, value in words]
        bars = axes.barh(places, values, color=[_shade(value) for value in _spread(values)])
        axes.set_yticks(places, [word for word, _ in words], parse_math=False)
        for bar, label, known in zip(bars, axes.get_yticklabels(), _known(attribution), strict=True):
            if known:
                main = any(region.main for region in known)
                bar.set(edgecolor=_EDGE, linewidth=1.8, linestyle="solid" if main else "dashed")
                label.set(color=_EDGE, fontweight="bold" if main else "normal")
        axes.invert_yaxis()
        axes.set_xlabel(f"{attribution.unit or attribution.method} per word")
        axes.spines[["top", "right"]].set_visible(False)

    def store(self, view: Mapping[str, Any], folder: Path, stem: str) -> Mapping[str, Any]:
        regions = view.get("regions", ())
        return {**view, "regions": store_regions(regions, folder, stem)} if regions else dict(view)

    def restore(self, stored: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
        if "regions" not in stored:
            return dict(stored)
        return {**stored, "regions": restore_regions(stored["regions"], folder)}


_EDGE = "#00707f"  # on white paper


def _regions(attribution: Attribution) -> tuple[Region, ...]:
    found: tuple[Region, ...] = attribution.view.get("regions", ())
    return found


def _known(attribution: Attribution) -> list[list[Region]]:
    """For each word the regions that it is in."""
    if not _regions(attribution):
        return [[] for _ in attribution.words]
    text, end = attribution.view["text"], 0
    found = []
    for word, _ in attribution.words:
        start = text.index(word, end)
        end = start + len(word)
        found.append([region for region in _regions(attribution) if region.touches(start, end)])
    return found


def _known_class(known: Sequence[Region]) -> str:
    if not known:
        return ""
    return " known main" if any(region.main for region in known) else " known"


def _legend(words: list[tuple[str, float]], unit: str) -> Markup:
    if not words:
        return Markup("")
    ends = [format_number(pick(value for _, value in words)) for pick in (min, max)]
    legend = Markup(
        '<div class="legend"><span>{0}{2}</span><span class="ramp"></span><span>{1}{2}</span></div>'
    )
    return legend.format(*ends, unit)


def _notes(attribution: Attribution) -> Markup:
    """What the shades do not show."""
    flat = note(flatness(np.array([value for _, value in attribution.words])))
    special = np.array([token.special for token in attribution.layout.tokens], dtype=bool)
    share = attribution.grid[special].sum() / (attribution.grid.sum() or 1.0)
    if attribution.unit != "nats" or share <= 0.5:
        return flat
    return flat + note(f"{100 * share:.0f} % of the nats lie on special tokens, which are not shaded")


def _spread(values: list[float]) -> list[float]:
    return [float(v) for v in scale(np.array(values))] if values else []


def _shade(value: float) -> tuple[float, ...]:
    import matplotlib

    return tuple(map(float, matplotlib.colormaps["cividis_r"](0.15 + 0.8 * value)))
