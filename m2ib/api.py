"""What a user calls: ``explain``, ``sweep``, their targets and ``good_layers``. The work itself is in ``pipeline.py``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeAlias, TypedDict, TypeVar, Unpack, overload

from torch import Tensor

from m2ib.activations.reach import GoodLayers, reaching_layers
from m2ib.contract.inputs import Item
from m2ib.contract.model import Model
from m2ib.contract.targets import Contrast, Embedding, Ensemble, members_of
from m2ib.errors import InputError, SettingError, did_you_mean
from m2ib.methods.bottleneck.settings import Granularity, Noise, Readout, ShiftCounts
from m2ib.pipeline import PreparedInputs, explain_batch, prepare
from m2ib.progress import progress
from m2ib.promises import leaves_nothing, promise
from m2ib.registry.calls import SHARED, calls_of, settings_of
from m2ib.registry.discovery import check_model, default_registry
from m2ib.registry.plan import Plan, plan_of
from m2ib.registry.sweeps import swept_of, value_name
from m2ib.results.comparison import Comparison
from m2ib.results.explanation import Explanation

METHOD = "m2ib:m2ib"  # in full, for another distribution may have one of that name
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
PerModality: TypeAlias = T | Mapping[str, T] | None
"""A value, or a dict of values by modality; what is left out comes from the preset or the encoder's defaults."""


def contrast(this: Any, *others: Any) -> Contrast:
    """A target that is a difference: ``explain(model, image=x, text=contrast("a cat", "a dog"))``.

    The other side is explained against ``unit(e(this)) - mean(unit(e(others)))``. Its attribution's
    ``grid`` says what speaks for ``this``, its ``against`` what speaks for the others.
    This side's own attribution is that of ``this`` alone. Each may be an :func:`ensemble`.
    """
    if not others:
        raise InputError("contrast: give at least one other input, as in contrast('a cat', 'a dog')")
    return Contrast(this, others)


def ensemble(*inputs: Any) -> Ensemble:
    """Several inputs as one target: ``explain(model, image=x, text=ensemble("a cat", "a photo of a cat"))``.

    The other side is explained against the mean of their unit embeddings, as zero-shot classifiers are made of prompts.
    This side's own attribution is that of the first one alone, whose origin names them all.

    inputs  of one modality; or one list of them

    Raises :class:`InputError`.
    """
    given = tuple(inputs[0]) if len(inputs) == 1 and isinstance(inputs[0], list) else inputs
    if not given:
        raise InputError("ensemble: give inputs, as in ensemble('a cat', 'a photo of a cat')")
    return Ensemble(members_of(Ensemble(given)))


def embedding(vector: Any) -> Embedding:
    """A vector in place of an input: ``explain(model, image=x, text=embedding(weights[3]))``.

    The other side is explained against it: a classifier's row, the mean of a class, the output of another program. This
    side's own attribution has no cells.

    vector  (D,) or (1, D) numbers, of any length but 0, in the space of the model's embeddings; its length counts where the
            model's :class:`m2ib.Similarity` is not of directions alone

    Raises :class:`InputError`; so does :func:`explain` where the model's embeddings have another size.
    """
    return Embedding.of(vector)


@leaves_nothing
def good_layers(model: Model, modality: str, raw: Any) -> GoodLayers:
    """The layers, from -1 on, at which a bottleneck can show evidence: the embedding depends on their positions.

    A tuple of whole numbers; its ``to_try`` has them in an order to search in (:class:`GoodLayers`).

    raw  any input of the modality; one forward and one backward pass are made with it

    Left out is, for instance, the last block of an encoder that is read at a class or end token. Raises
    :class:`InputError`.
    """
    check_model(model, "good_layers")
    item = model.item(modality, raw)
    with model.running():
        return GoodLayers(_good(model, modality, item), model.encoder(modality).default_layer)


def _good(model: Model, modality: str, item: Item) -> tuple[int, ...]:
    return reaching_layers(model.encoder(modality), model.collate(modality, [item]), item.layout)


class Options(TypedDict, total=False):
    """The keywords that :func:`explain` and :func:`explain_many` share.

    method    "m2ib" (Wang et al. 2023), or any other of :func:`m2ib.list_methods`: "gradcam", "rise", "chefer", ...
    seed      of the noise; each side's generator starts from it
    seeds     so many seeds, this one and those that follow: ``grid`` is the mean of their maps, ``by_seed`` has each, and
              ``deviation`` tells how far they differ
    beta, variance, layer, steps, samples, lr, readout, granularity, standardize, shifts, smooth, noise
              see :class:`m2ib.FitSettings`: a value, or a dict by modality; None: the preset's, else the
              adapter's default (``layer``, ``beta``, ``variance``), else 10 steps of 10 samples, a learning
              rate of 1 and the paper's method
    preset    "sharp": maps of finer cells, in fewer samples; what is given stands over it. Other methods may have
              presets of their own
    units     segments of an input that stand for one each, by modality, or for each of the two inputs in a sequence: values
              are told for them (:attr:`m2ib.Attribution.units`), and methods that hide parts of an input hide each as one. A
              rule (:func:`superpixels`, :func:`onsets`, :func:`words`), labels or masks by name at the raw input's own size,
              a file of either, phrases of a text: see :func:`m2ib.superpixels` and the documentation
    target    what a map explains, a value or a dict by modality: "similarity" to the other input; "centred", that less the mean
              similarity to usual inputs of the other kind (those of ``reference``); a function ``f(embeddings, other)`` of unit
              embeddings (N, D) and (N, D) that gives (N,), differentiable; or a :func:`contrast` or :func:`ensemble` that
              begins with one of the two inputs. None: the adapter's default, "similarity" for most
    null      the same map against so many others than the pair's partner, those of ``reference``: see :class:`m2ib.Null`
    signed    also what speaks against: of most methods the map for the opposite target, in ``against``; of those whose
              values have a sign, the values below 0
    interactions  also which unit of one input acts together with which of the other: True, the name of a way ("second-order",
              "by-word", "banzhaf", "maxsim"), or a dict of that ``method`` and its settings; see :class:`m2ib.Interactions`
    reference what is usual, for ``standardize``, ``target="centred"`` and ``null``: raw inputs by modality,
              {"image": [first, second, ...]}; None: the adapter's
    settings  of another method, by name: {"masks": 512} for "rise"; each a value, or a dict by modality. They may as
              well be given as keywords: ``masks=512``
    truncate  cut an input that is longer than the model takes, instead of refusing it
    fast      use the encoder's own fast tail where there is one
    """

    method: str
    seed: int
    seeds: int
    beta: PerModality[float]
    variance: PerModality[float]
    layer: PerModality[int]
    steps: PerModality[int]
    samples: PerModality[int]
    lr: PerModality[float]
    readout: PerModality[Readout]
    granularity: PerModality[Granularity]
    standardize: PerModality[bool]
    shifts: PerModality[ShiftCounts]
    smooth: PerModality[float]
    noise: PerModality[Noise]
    preset: PerModality[str]
    target: PerModality[str | Callable[[Tensor, Tensor], Tensor]] | Contrast | Ensemble
    null: int
    signed: bool
    interactions: bool | str | Mapping[str, Any] | None
    units: Mapping[str, Any] | Sequence[Any] | None
    reference: Mapping[str, Sequence[Any]] | None
    settings: Mapping[str, Any] | None
    truncate: bool
    fast: bool


def shows_options(function: F) -> F:
    """With the keywords of :class:`Options` in its signature, for ``help`` and whatever completes at run time."""
    shown = inspect.signature(function)
    first = [each for each in shown.parameters.values() if each.kind is not each.VAR_KEYWORD]
    last = [
        each.replace(name="inputs") for each in shown.parameters.values() if each.name.startswith("inputs")
    ]
    defaults = {each.name: each.default for each in fields(Plan)} | {"method": "m2ib", "seed": 0}
    options = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=defaults.get(name), annotation=kind.__forward_arg__
        )
        for name, kind in Options.__annotations__.items()
    ]
    function.__signature__ = shown.replace(parameters=[*first, *options, *last])  # type: ignore[attr-defined]
    return function


@overload
def explain(
    model: Model,
    *pair: tuple[str, Any],
    method: list[str] | tuple[str, ...],
    show_progress: bool = True,
    **inputs_and_options: Any,
) -> Comparison: ...
@overload
def explain(
    model: Model, *pair: tuple[str, Any], show_progress: bool = True, **options: Unpack[Options]
) -> Explanation: ...
@overload
def explain(
    model: Model, *pair: tuple[str, Any], show_progress: bool = True, **inputs_and_options: Any
) -> Explanation: ...
@shows_options
@leaves_nothing
def explain(
    model: Model, *pair: tuple[str, Any], show_progress: bool = True, **inputs_and_options: Any
) -> Explanation | Comparison:
    """Explain why ``model`` puts two inputs close together: one attribution for each.

    pair      ``("image", x), ("text", y)``; or, when the modalities differ, ``image=x, text=y``.
              An input is raw (path, PIL image, array, string, ...), one preprocessed ``torch.Tensor``
              without batch axis, or a :func:`contrast` or :func:`ensemble` of such; one of the two may be an
              :func:`embedding`. A batch of one is taken as the one
    show_progress  a bar on a terminal, elsewhere a line on standard error now and then, for what takes long

    The method, the seed, the settings and the other keywords are those of :class:`m2ib.Options`. Of a list of methods, as in
    ``method=["m2ib", "gradcam"]``, each takes the settings that it has, and a :class:`Comparison` comes back.

    Raises :class:`InputError` and :class:`SettingError`.
    """
    check_model(model, "explain")
    items, options = _taken_apart("explain", model, pair, inputs_and_options)
    if not _several(options.get("method")):
        return _explained("explain", model, items, [plan_for(**options)], show_progress)[0]
    plans = [plan_for(**each) for each in calls_of(options).values()]
    return Comparison(_explained("explain", model, items, plans, show_progress))


@shows_options
@leaves_nothing
def sweep(
    model: Model, *pair: tuple[str, Any], show_progress: bool = True, **inputs_and_options: Any
) -> Comparison:
    """Explain a pair once for each value of one setting: ``sweep(model, image=x, text=y, layer=[0, 3, 6, 9])``.

    The setting is the one that is given as a list, or by modality as lists of one length, ``layer={"image": [3, 9], "text": [1, 5]}``; a
    value that is itself a list is written as a tuple. Where none is, it is ``layer``: six at most of each side's :func:`good_layers`,
    from the first to the last.

    pair, show_progress and all keywords are those of :func:`explain`, for one method.

    Raises :class:`InputError` and :class:`SettingError`.
    """
    check_model(model, "sweep")
    items, options = _taken_apart("sweep", model, pair, inputs_and_options)
    method = options.get("method", METHOD)
    if _several(method):
        raise SettingError(
            f"sweep: takes one method, not {method!r:.60}; give its name, and sweep once for each of them"
        )
    info, made = default_registry().methods.find(method), dict[Any, Item]()
    names = info.spec.setting_names
    settings = settings_of(
        {each: options.pop(each, None) for each in (*names, "seed")}, options.pop("settings", None)
    )
    found = swept_of(settings, (*names, "seed"))
    if found is None:
        if "layer" not in names or "layer" in settings:
            raise SettingError(
                f"sweep: no setting is a list; give one of {', '.join((*names, 'seed'))} several values, as in {names[0]}=[...]"
            )
        sides = prepare(model, items, plan_for(**options, settings=settings), made)
        found = "layer", swept_of({"layer": _spread_layers(model, sides)}, ["layer"])[1]  # type: ignore[index]
    name, values = found
    plans = [plan_for(**options, settings={**settings, name: value}) for value in values]
    explanations = _explained("sweep", model, items, plans, show_progress, made)
    return Comparison(explanations, [value_name(name, value) for value in values], name)


_MOST_LAYERS = 6  # that a sweep takes by itself


def _spread_layers(model: Model, sides: PreparedInputs) -> dict[str, list[int]]:
    """As many good layers for each modality, evenly spread over all that it has."""
    with model.running():
        good = {
            side.modality: _good(model, side.modality, side.item) for side in sides if side.vector is None
        }
    count = min(_MOST_LAYERS, *map(len, good.values()))
    steps = [n / max(1, count - 1) for n in range(count)]
    return {
        modality: [layers[round(step * (len(layers) - 1))] for step in steps]
        for modality, layers in good.items()
    }


def _several(method: Any) -> bool:
    return isinstance(method, (list, tuple))


def _taken_apart(
    who: str, model: Model, pair: Sequence[Any], given: dict[str, Any]
) -> tuple[list[tuple[str, Any]], dict[str, Any]]:
    """The two inputs of a call, and its options."""
    options = {name: given.pop(name) for name in Options.__annotations__ if name in given}
    method, methods = options.get("method", METHOD), default_registry().methods
    asked = method if _several(method) else [method]
    known = [*dict.fromkeys(name for each in asked for name in methods.find(each).spec.setting_names)]
    options |= {name: given.pop(name) for name in known if name in given and name not in model.modalities}
    for name in given:
        if name not in model.modalities and len(pair) + len(given) > 2:  # a misspelt setting, then
            hint = did_you_mean(name, [*Options.__annotations__, *known])
            raise SettingError(
                f"{who}: {name!r} is unknown{hint} The model takes {', '.join(model.modalities)}"
            )
    return pair_of([*pair, *given.items()], who), options


def _explained(
    who: str,
    model: Model,
    pair: list[tuple[str, Any]],
    plans: Sequence[Plan],
    show_progress: bool,
    made: dict[Any, Item] | None = None,
) -> list[Explanation]:
    """One pair by each plan, its inputs made ready once."""
    made = {} if made is None else made
    ready = [prepare(model, pair, plan, made) for plan in plans]
    with progress(who, show=show_progress) as bar:
        promise(bar.close)
        return [
            explain_batch(model, [sides], plan, bar.steps)[0]
            for sides, plan in zip(ready, plans, strict=True)
        ]


def plan_for(*, method: str = METHOD, settings: Any = None, **given: Any) -> Plan:
    """Of the keywords of :class:`m2ib.Options`."""
    shared = {name: given.pop(name) for name in SHARED if name in given}
    return plan_of(method, settings_of(given, settings), **shared)


def pair_of(items: Sequence[Any], who: str = "explain") -> list[tuple[str, Any]]:
    """The two (modality, raw) of a call."""
    for item in items:
        if not (isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)):
            raise InputError(f"{who}: an input is a tuple (modality, raw), not {item!r:.80}")
    if len(items) != 2:
        names = ", ".join(modality for modality, _ in items) or "none"
        raise InputError(
            f"{who}: takes two inputs, got {len(items)} ({names}); "
            f"as in {who}(model, ('image', x), ('text', y)) or {who}(model, image=x, text=y)"
        )
    return list(items)
