"""The benchmark's page: tables, gates and a few maps under their masks; stands alone, light and dark."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image

from m2ib.benchmark.localise import Example
from m2ib.benchmark.rows import METRICS
from m2ib.benchmark.tables import figure_text, outcome_text, tables, verdict
from m2ib.renderers.base import scale

if TYPE_CHECKING:
    from m2ib.benchmark.run import Benchmark

_ENLARGED = 2
_ASKED, _OTHER = (255, 255, 255), (90, 200, 250)
_WIDTH, _HEIGHT = 400, 90


def render_page(benchmark: Benchmark) -> str:
    """As HTML."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["figure"] = figure_text
    here = files("m2ib.benchmark")
    template = environment.from_string(here.joinpath("page.html.jinja").read_text(encoding="utf-8"))
    style = files("m2ib.page").joinpath("page.css").read_text(encoding="utf-8")
    return template.render(
        title=f"Scenes: {benchmark.settings.get('adapter', 'a model')}",
        style=Markup(style),
        tables=tables(benchmark),
        metrics=METRICS,
        verdict=verdict(benchmark),
        gates=[
            (outcome.gate.name, *outcome_text(outcome), outcome.verdict) for outcome in benchmark.outcomes
        ],
        settings=[(name, str(value)) for name, value in benchmark.settings.items()],
        examples=_examples(benchmark.examples),
    )


def _examples(examples: Sequence[Example]) -> list[dict[str, Any]]:
    """By scene and modality: what it is, its raw picture if it has one, and a drawing for each method."""
    groups: dict[tuple[str, int], list[Example]] = {}
    for example in examples:
        groups.setdefault((example.modality, example.question.scene.seed), []).append(example)
    found = []
    for (modality, _), members in groups.items():
        question = members[0].question
        raw = question.scene.inputs[modality]
        pictures = [("input", _picture(raw))] if _is_picture(raw, members[0].asked) else []
        pictures += [(member.method, _drawing(member)) for member in members]
        found.append(
            {"modality": modality, "kind": question.kind, "text": question.scene.text, "pictures": pictures}
        )
    return found


def _drawing(example: Example) -> Markup:
    if example.modality == "text":
        return _words(example)
    return _map(example) if example.values.ndim == 2 else _line(example)


def _is_picture(raw: Any, mask: np.ndarray) -> bool:
    return isinstance(raw, np.ndarray) and mask.ndim == 2 and raw.shape[:2] == mask.shape


def _picture(raw: np.ndarray) -> Markup:
    """(H, W, 3) uint8, or (H, W) of any numbers."""
    pixels = raw if raw.dtype == np.uint8 else (255 * scale(raw)).astype(np.uint8)
    return _png(pixels)


def _map(example: Example) -> Markup:
    """Heat with the outline of what was asked for in white, of the others in blue."""
    from matplotlib import colormaps

    pixels = (255 * colormaps["inferno"](scale(example.values))[..., :3]).astype(np.uint8)
    pixels[_outline(example.others)] = _OTHER
    pixels[_outline(example.asked)] = _ASKED
    return _png(pixels)


def _outline(mask: np.ndarray) -> np.ndarray:
    """The places of ``mask`` that have a neighbour outside it."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(mask & ~inner)


def _png(pixels: np.ndarray) -> Markup:
    large = pixels.repeat(_ENLARGED, 0).repeat(_ENLARGED, 1)
    buffer = io.BytesIO()
    Image.fromarray(large).save(buffer, "PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    return Markup('<img alt="" width="{}" height="{}" src="data:image/png;base64,{}">').format(
        large.shape[1], large.shape[0], data
    )


def _line(example: Example) -> Markup:
    """A map over one axis, the spans of the masks behind it."""
    values = scale(example.values)
    step = _WIDTH / len(values)
    points = " ".join(
        f"{(n + 0.5) * step:.1f},{_HEIGHT - 3 - value * (_HEIGHT - 6):.1f}" for n, value in enumerate(values)
    )
    spans = Markup("").join(
        Markup('<rect class="{}" x="{}" y="0" width="{}" height="{}"/>').format(
            name, f"{start * step:.1f}", f"{(end - start) * step:.1f}", _HEIGHT
        )
        for name, mask in (("other", example.others), ("asked", example.asked))
        for start, end in _runs(mask)
    )
    return Markup(
        '<svg class="line" viewBox="0 0 {} {}" role="img" aria-label="map over time">{}<polyline points="{}"/></svg>'
    ).format(_WIDTH, _HEIGHT, spans, points)


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """(start, end) of each run of True."""
    steps = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return [(int(start), int(end)) for start, end in zip(steps[::2], steps[1::2], strict=True)]


def _words(example: Example) -> Markup:
    """The caption, each word as dark as its value; the word asked for underlined."""
    text, spans = example.question.scene.text, example.question.scene.axes["text"][0].spans
    return Markup(" ").join(
        Markup('<span class="cell{}" style="--value:{:.3f}">{}</span>').format(
            " asked" if asked else "", value, text[int(start) : int(end)]
        )
        for (start, end), value, asked in zip(spans, scale(example.values), example.asked, strict=True)
    )
