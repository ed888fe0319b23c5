"""The straight line: preprocess, embed the other side once, run to layer l once, fit, attribute.

One pair walks it once; a batch walks it side by side.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from m2ib.attribution import Attribution
from m2ib.capture import Recording, frozen, record
from m2ib.contract import Item
from m2ib.errors import InputError, M2IBError, SettingError
from m2ib.explanation import Explanation
from m2ib.fit import Fit, fit_bottlenecks
from m2ib.model import Model
from m2ib.progress import progress
from m2ib.settings import FitSettings, PerModality, Readout, resolve

METHODS = ("m2ib",)


@dataclass(frozen=True)
class Contrast:
    """An input as seen against others: "why this one rather than those?". See :func:`contrast`."""

    this: Any
    others: tuple[Any, ...]


def contrast(this: Any, *others: Any) -> Contrast:
    """A target that is a difference: ``explain(model, image=x, text=contrast("a cat", "a dog"))``.

    The other side is explained against ``unit(e(this)) - mean(unit(e(others)))``. Its attribution's
    ``grid`` says what speaks for ``this``, its ``against`` what speaks for the others.
    This side's own attribution is that of ``this`` alone.
    """
    if not others:
        raise InputError("contrast: give at least one other input, as in contrast('a cat', 'a dog')")
    return Contrast(this, others)


@dataclass(frozen=True)
class _Side:
    """One of the two inputs of a pair: ready, with what it is contrasted to."""

    modality: str
    item: Item
    others: tuple[Item, ...] = ()


@dataclass(frozen=True)
class _Plan:
    """The settings of a call, before a modality is known."""

    given: Mapping[str, Any]
    truncate: bool
    fast: bool


class Options(TypedDict, total=False):
    """The keywords that :func:`explain` and :func:`explain_many` share."""

    method: str
    seed: int
    beta: PerModality[float]
    variance: PerModality[float]
    layer: PerModality[int]
    steps: PerModality[int]
    samples: PerModality[int]
    lr: PerModality[float]
    readout: Readout
    truncate: bool
    fast: bool


def explain(
    model: Model,
    *pair: tuple[str, Any],
    method: str = "m2ib",
    seed: int = 0,
    beta: PerModality[float] = None,
    variance: PerModality[float] = None,
    layer: PerModality[int] = None,
    steps: PerModality[int] = 10,
    samples: PerModality[int] = 10,
    lr: PerModality[float] = 1.0,
    readout: Readout = "last",
    truncate: bool = False,
    fast: bool = True,
    show_progress: bool = True,
    **inputs: Any,
) -> Explanation:
    """Explain why ``model`` puts two inputs close together: one attribution for each.

    pair      ``("image", x), ("text", y)``; or, when the modalities differ, ``image=x, text=y``.
              An input is raw (path, PIL image, array, string, ...), one preprocessed ``torch.Tensor``
              without batch axis, or a :func:`contrast` of such
    method    "m2ib" (Wang et al. 2023)
    beta, variance, layer, steps, samples, lr
              see :class:`m2ib.FitSettings`: a number, or a dict by modality; None: the adapter's default
    seed      of the noise; each side's generator starts from it
    readout   "last": capacity of the last forward pass; "final": of the final alpha
    truncate  cut an input that is longer than the model takes, instead of refusing it
    fast      use the encoder's own fast tail where there is one
    show_progress  a bar on a terminal, for what takes longer than a second

    Raises :class:`InputError` and :class:`SettingError`.
    """
    plan = _plan(
        method=method,
        seed=seed,
        beta=beta,
        variance=variance,
        layer=layer,
        steps=steps,
        samples=samples,
        lr=lr,
        readout=readout,
        truncate=truncate,
        fast=fast,
    )
    for name in inputs:
        if name not in model.modalities and len(pair) + len(inputs) > 2:  # a misspelt setting, then
            close = difflib.get_close_matches(name, Options.__annotations__, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else "."
            raise SettingError(
                f"explain: {name!r} is unknown{hint} The model takes {', '.join(model.modalities)}"
            )
    sides = _sides(model, _pair([*pair, *inputs.items()]), plan)
    with progress("explain", show=show_progress) as bar:
        (explanation,) = _explain_batch(model, [sides], plan, bar.steps)
    return explanation


def explain_many(
    model: Model,
    pairs: Iterable[Any],
    *,
    batch_size: int = 16,
    show_progress: bool = True,
    **options: Unpack[Options],
) -> Iterator[Explanation]:
    """Explain many pairs, ``batch_size`` at a time, in order and lazily; the results are those of ``explain``.

    pairs    an iterable of ``(("image", x), ("text", y))`` or of dicts ``{"image": x, "text": y}``
    options  the keywords of :func:`explain`, for all pairs

    A pair that cannot be used raises :class:`InputError` naming its position, after all pairs before it
    have been given out.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise SettingError(f"batch_size: {batch_size!r} is out of range; it must be a whole number >= 1")
    return _explain_stream(model, pairs, batch_size, _plan(**options), show_progress)


def _explain_stream(
    model: Model, pairs: Iterable[Any], batch_size: int, plan: _Plan, show_progress: bool
) -> Iterator[Explanation]:
    total = len(pairs) if isinstance(pairs, Sequence) else None
    numbered = enumerate(pairs)
    with progress("explain", total=total, show=show_progress) as bar:
        while chunk := list(itertools.islice(numbered, batch_size)):
            ready: list[tuple[_Side, _Side]] = []
            failure: M2IBError | None = None
            for number, pair in chunk:
                try:
                    ready.append(_sides(model, _pair(_items(pair)), plan))
                except M2IBError as error:
                    failure = _numbered(error, number)
                    break
            try:
                done: Iterable[Explanation] = _explain_batch(model, ready, plan, lambda total: lambda: None)
            except M2IBError:  # one of them: find out which, and give out those before it
                done = _one_by_one(model, ready, plan, [number for number, _ in chunk])
            for explanation in done:
                bar.advance()
                yield explanation
            if failure is not None:
                raise failure


def _one_by_one(
    model: Model, pairs: Sequence[tuple[_Side, _Side]], plan: _Plan, numbers: Sequence[int]
) -> Iterator[Explanation]:
    for number, pair in zip(numbers, pairs, strict=False):
        try:
            yield from _explain_batch(model, [pair], plan, lambda total: lambda: None)
        except M2IBError as error:
            raise _numbered(error, number) from error


def _numbered(error: M2IBError, number: int) -> M2IBError:
    numbered = type(error)(f"pair {number}: {error}")
    numbered.__cause__ = error
    return numbered


def _items(pair: Any) -> list[Any]:
    if isinstance(pair, Mapping):
        return list(pair.items())
    if isinstance(pair, (list, tuple)):
        return list(pair)
    raise InputError(
        f"explain: a pair is ((modality, raw), (modality, raw)) or a dict of two, not {pair!r:.80}"
    )


def _plan(*, method: str = "m2ib", truncate: bool = False, fast: bool = True, **given: Any) -> _Plan:
    if method not in METHODS:
        raise SettingError(f"method: {method!r} is unknown; there is {', '.join(map(repr, METHODS))}")
    return _Plan(given, truncate, fast)


def _pair(items: Sequence[Any]) -> list[tuple[str, Any]]:
    """The two (modality, raw) of a call."""
    for item in items:
        if not (isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)):
            raise InputError(f"explain: an input is a tuple (modality, raw), not {item!r:.80}")
    if len(items) != 2:
        names = ", ".join(modality for modality, _ in items) or "none"
        raise InputError(
            f"explain: takes two inputs, got {len(items)} ({names}); "
            "as in explain(model, ('image', x), ('text', y)) or explain(model, image=x, text=y)"
        )
    return list(items)


def _sides(model: Model, pair: list[tuple[str, Any]], plan: _Plan) -> tuple[_Side, _Side]:
    """Settings checked before anything is read, then both inputs made ready."""
    modalities = tuple(modality for modality, _ in pair)
    for modality in modalities:
        resolve(model.encoder(modality), modalities, plan.given)

    def side(modality: str, raw: Any) -> _Side:
        if isinstance(raw, Contrast):
            others = tuple(model.item(modality, other, truncate=plan.truncate) for other in raw.others)
            return _Side(modality, model.item(modality, raw.this, truncate=plan.truncate), others)
        return _Side(modality, model.item(modality, raw, truncate=plan.truncate))

    first, second = (side(modality, raw) for modality, raw in pair)
    if first.others and second.others:
        raise InputError("explain: one side of a pair can be a contrast, not both")
    return first, second


def _explain_batch(
    model: Model,
    pairs: Sequence[tuple[_Side, _Side]],
    plan: _Plan,
    steps: Callable[[int], Callable[[], None]],
) -> list[Explanation]:
    """Explain pairs together, in groups of equal modalities and shapes; results in order."""
    if model.device.type == "meta":
        raise InputError(
            "explain: the model is on the device 'meta' and has no weights; load it on a real one"
        )
    results: dict[int, Explanation] = {}
    groups: dict[Any, list[int]] = {}
    for number, pair in enumerate(pairs):
        groups.setdefault(tuple(_group_key(model, side) for side in pair), []).append(number)
    with frozen(model.module):
        for members in groups.values():
            group = _explain_group(model, [pairs[n] for n in members], plan, steps)
            results.update(zip(members, group, strict=True))
    return [results[number] for number in range(len(pairs))]


def _group_key(model: Model, side: _Side) -> Any:
    """What must agree for two inputs to run in one batch."""
    return side.modality, len(side.others) > 0, model.encoder(side.modality).batch_key(side.item.inputs)


def _explain_group(
    model: Model,
    pairs: Sequence[tuple[_Side, _Side]],
    plan: _Plan,
    steps: Callable[[int], Callable[[], None]],
) -> list[Explanation]:
    modalities = tuple(side.modality for side in pairs[0])
    settings = [resolve(model.encoder(modality), modalities, plan.given) for modality in modalities]
    columns = [[pair[0] for pair in pairs], [pair[1] for pair in pairs]]
    recordings = [
        record(
            model.encoder(modality), model.collate(modality, [side.item for side in column]), setting.layer
        )
        for modality, column, setting in zip(modalities, columns, settings, strict=True)
    ]
    targets = [
        _targets(model, column, recording) for column, recording in zip(columns, recordings, strict=True)
    ]
    advance = steps(sum(s.steps for s in settings))
    fits = [
        _fit_side(recordings[n], columns[n], columns[1 - n], targets[1 - n], settings[n], plan.fast, advance)
        for n in (0, 1)
    ]
    anchors = [
        targets[n] if columns[n][0].others else recordings[n].embedding.to(targets[n].dtype) for n in (0, 1)
    ]
    similarities = cosine_similarity(anchors[0], anchors[1].to(anchors[0].device), dim=-1).tolist()
    provenance = {"m2ib": version("m2ib"), "torch": torch.__version__, **model.origin}
    provenance |= {"device": str(model.device), "dtype": str(model.dtype).removeprefix("torch.")}
    explanations = []
    for number, pair in enumerate(pairs):
        first, second = (
            _attribution(model, pair[n], settings[n], *(fit[number] for fit in fits[n])) for n in (0, 1)
        )
        explanations.append(Explanation((first, second), similarities[number], provenance))
    return explanations


def _targets(model: Model, column: Sequence[_Side], recording: Recording) -> Tensor:
    """(N, D) what the other side is fitted to: embeddings, or differences of unit embeddings."""
    precision = torch.float64 if model.dtype == torch.float64 else torch.float32
    unit = normalize(recording.embedding.to(precision), dim=-1)  # (N, D)
    if not column[0].others:
        return unit
    rows = []
    for side, this in zip(column, unit, strict=True):
        with torch.no_grad():
            encoder = model.encoder(side.modality)
            others = [encoder.embed(model.collate(side.modality, [item])) for item in side.others]
        rest = normalize(torch.cat(others).to(precision), dim=-1).mean(0)  # (D,)
        difference = this - rest
        if difference.norm() < 1e-6:
            raise InputError(
                f"contrast: the {side.modality} inputs have the same embedding; there is nothing to tell apart"
            )
        rows.append(difference)
    return torch.stack(rows)


def _fit_side(
    recording: Recording,
    column: Sequence[_Side],
    other: Sequence[_Side],
    targets: Tensor,
    settings: FitSettings,
    fast: bool,
    advance: Callable[[], None],
) -> list[list[Fit]]:
    """The fits towards the target; and, if the other side is a contrast, those towards its opposite."""
    layouts = [side.item.layout for side in column]
    fits = [fit_bottlenecks(recording, layouts, targets, settings, fast=fast, advance=advance)]
    if other[0].others:
        fits.append(fit_bottlenecks(recording, layouts, -targets, settings, fast=fast))
    return fits


def _attribution(
    model: Model, side: _Side, settings: FitSettings, fit: Fit, opposite: Fit | None = None
) -> Attribution:
    layout = side.item.layout
    return Attribution(
        modality=side.modality,
        method="m2ib",
        grid=layout.to_grid(fit.capacity),
        capacity=fit.capacity,
        layout=layout,
        curve=fit.curve,
        settings=settings.to_dict(),
        view=side.item.view,
        renderer=model.encoder(side.modality).renderer,
        origin=_origin(side),
        against=None if opposite is None else layout.to_grid(opposite.capacity),
    )


def _origin(side: _Side) -> dict[str, Any]:
    """Where the input came from; for a contrast, what it is held against as well."""
    if not side.others:
        return dict(side.item.origin)
    return {**side.item.origin, "rather_than": [_label(item) for item in side.others]}


def _label(item: Item) -> str:
    """How to name an input in one line."""
    if item.layout.tokens:
        return str(item.view["text"])
    return str(item.origin.get("source", "input"))
