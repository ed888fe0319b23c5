"""Words shaded by their value."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup, escape

from m2ib.renderers.base import scale
from m2ib.renderers.panels import note
from m2ib.renderers.place import figures, flatness

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from m2ib.attribution import Attribution


class TextRenderer:
    """A grid (tokens,) over the view ``{"text": str}``."""

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
        shown = _spread([value for _, value in words])
        spans = Markup(" ").join(
            Markup(
                '<span class="word" tabindex="0" style="--value:{value:.3f}">{word}<span class="number">{nats}</span></span>'
            ).format(value=value, word=word, nats=f"{figures(nats)} nats")
            for (word, nats), value in zip(words, shown, strict=True)
        )
        rows = Markup("").join(
            Markup('<tr{mark}><td>{token}</td><td class="figure">{nats}</td></tr>').format(
                mark=Markup(' class="special"') if token.special else "",
                token=token.text,
                nats=figures(value),
            )
            for token, value in zip(attribution.layout.tokens, attribution.grid, strict=True)
        )
        return Markup(
            '<figure class="words" id="{ident}"><p class="sentence">{spans}</p>{legend}{notes}'
            "<details><summary>Tokens, special ones included</summary>"
            "<table><thead><tr><th>token</th><th>nats</th></tr></thead><tbody>{rows}</tbody></table></details></figure>"
        ).format(
            ident=escape(ident), spans=spans, legend=_legend(words), notes=_notes(attribution), rows=rows
        )

    def draw(self, attribution: Attribution, axes: Axes) -> None:
        words = attribution.words
        places = np.arange(len(words))
        values = [value for _, value in words]
        axes.barh(places, values, color=[_shade(value) for value in _spread(values)])
        axes.set_yticks(places, [word for word, _ in words], parse_math=False)
        axes.invert_yaxis()
        axes.set_xlabel("nats per word")
        axes.spines[["top", "right"]].set_visible(False)

    def store(self, view: Mapping[str, Any], folder: Path, stem: str) -> Mapping[str, Any]:
        return dict(view)

    def restore(self, stored: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
        return dict(stored)


def _legend(words: list[tuple[str, float]]) -> Markup:
    if not words:
        return Markup("")
    values = [value for _, value in words]
    return Markup(
        '<div class="legend"><span>{} nats</span><span class="ramp"></span><span>{} nats</span></div>'
    ).format(figures(min(values)), figures(max(values)))


def _notes(attribution: Attribution) -> Markup:
    """What the shades do not show."""
    flat = note(flatness(np.array([value for _, value in attribution.words])))
    special = np.array([token.special for token in attribution.layout.tokens], dtype=bool)
    share = attribution.grid[special].sum() / (attribution.grid.sum() or 1.0)
    if share <= 0.5:
        return flat
    return flat + note(f"{100 * share:.0f} % of the nats lie on special tokens, which are not shaded")


def _spread(values: list[float]) -> list[float]:
    return [float(v) for v in scale(np.array(values))] if values else []


def _shade(value: float) -> tuple[float, float, float, float]:
    import matplotlib

    red, green, blue, alpha = matplotlib.colormaps["cividis_r"](0.15 + 0.8 * value)
    return float(red), float(green), float(blue), float(alpha)
