"""The inputs that an adapter is checked with: those given, else the encoder's own, else made-up scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from m2ib.contract.encoder import Encoder
from m2ib.contract.inputs import Inputs, Item
from m2ib.contract.layout import Layout
from m2ib.contract.model import Model
from m2ib.errors import InputError, SettingError
from m2ib.scenes import scenes
from m2ib.testing.context import CheckContext
from m2ib.testing.results import CheckResults, Result, Skipped, require, run_check

GIVEN, OWN, SCENES = "given", "the encoder's own", "made-up scenes"
_SEEDS = (7, 10)  # of the scenes, each with one object


@dataclass(frozen=True)
class Examples:
    """Raw inputs by modality, and where they come from: ``GIVEN``, ``OWN`` or ``SCENES``."""

    raws: Mapping[str, Sequence[Any]]
    sources: Mapping[str, str]


def find_examples(model: Model, given: Mapping[str, Sequence[Any]]) -> Examples | CheckResults:
    """Two or more different raw inputs for each modality; for one that is not ``given``, the encoder's own, else scenes'.

    Gives what was found wrong where an encoder's own examples cannot be had. Raises :class:`SettingError` where there
    are none or too few, and :class:`InputError` for one given that the model does not take.
    """
    strangers = [modality for modality in given if modality not in model.encoders]
    if strangers:
        raise SettingError(
            f"check: examples for {strangers[0]!r}, which is no modality of {_name(model)}; it takes "
            f"{', '.join(model.modalities)}"
        )
    raws: dict[str, Sequence[Any]] = {}
    sources: dict[str, str] = {}
    results: list[Result] = []
    for modality, encoder in model.encoders.items():
        own: list[Any] = []
        if modality in given:
            raws[modality], sources[modality] = _given(model, modality, given[modality]), GIVEN
        elif encoder.examples is not None:
            results.append(run_check(modality, "examples", partial(_take, encoder, own)))
            raws[modality], sources[modality] = own, OWN
        else:
            raws[modality], sources[modality] = _drawn(model, modality), SCENES
    failed = [result for result in results if result.failure]
    if failed:
        reason = f"{failed[0].modality} has no examples"
        return CheckResults(failed, [Skipped("model", "all other checks", reason)])
    return Examples(raws, sources)


def check_examples(context: CheckContext) -> None:
    """The encoder's own examples can be made ready, and show what examples must."""
    context.declared("examples")
    raws = _own(context.encoder)
    check_differ([context.model.item(context.encoder.modality, raw) for raw in raws])


def check_differ(items: Sequence[Item]) -> None:
    """Examples that differ, so that there is something to find."""
    first, second = (_tensors(item.inputs) for item in items[:2])
    require(
        first.keys() != second.keys() or any(not torch.equal(first[key], second[key]) for key in first),
        "examples 0 and 1 have the same inputs: give two that differ, or prepare does not use the raw input",
    )
    same = _same_length(items)
    require(
        same is None,
        f"all examples have {same} positions: give some of different lengths, or padding stays unchecked",
    )


def way_out(modality: str) -> str:
    """How to give examples."""
    return (
        f"give two that differ: --{modality} FIRST --{modality} SECOND "
        f"(examples={{{modality!r}: [first, second]}})"
    )


def _take(encoder: Encoder, into: list[Any]) -> None:
    into += _own(encoder)


def _own(encoder: Encoder) -> Sequence[Any]:
    """Of an encoder that has some. Raises :class:`CheckFailed`."""
    assert encoder.examples is not None
    raws = encoder.examples()
    require(_is_list(raws), f"examples gives a {type(raws).__name__}; it must be a list of raw inputs")
    require(len(raws) >= 2, f"examples gives {len(raws)} raw inputs; two different ones are needed")
    return raws


def check_given(given: Mapping[str, Sequence[Any]]) -> None:
    """Examples by modality, before a model is loaded. Raises :class:`SettingError` for fewer than two different ones of one."""
    for modality, raws in given.items():
        count = len(raws) if _is_list(raws) else 1
        if count < 2:
            raise SettingError(
                f"check: {count or 'no'} example for {modality!r}, and two are needed; {way_out(modality)}"
            )
        if isinstance(raws[0], str) and raws[0] == raws[1]:
            raise SettingError(
                f"check: the examples for {modality!r} are {raws[0]!r:.60} twice; {way_out(modality)}"
            )


def _given(model: Model, modality: str, raws: Sequence[Any]) -> Sequence[Any]:
    items = _prepared(model, modality, raws)
    same = _same_length(items)
    if same is not None:
        raise SettingError(
            f"check: all {len(raws)} examples for {modality!r} have {same} positions; give some of different lengths, "
            "or padding stays unchecked"
        )
    return raws


def _drawn(model: Model, modality: str) -> Sequence[Any]:
    """Of two scenes. Raises :class:`SettingError` for what they do not have, or the model does not take."""
    made = scenes(_SEEDS, count=1)
    if modality not in made[0].inputs:
        raise SettingError(
            f"check: no examples for {modality!r}: {_name(model)} brings none (Encoder.examples), and made-up scenes have "
            f"{', '.join(made[0].inputs)} alone; {way_out(modality)}"
        )
    raws = [scene.inputs[modality] for scene in made]
    if modality == "text":  # of different lengths, and short enough for any model
        first, second = made
        raws = [
            f"a {first.colours[0]} {first.kinds[0]}",
            f"a {second.sizes[0]} {second.colours[0]} {second.kinds[0]}",
        ]
    try:
        _prepared(model, modality, raws)
    except InputError as error:
        raise SettingError(
            f"check: {_name(model)} does not take the {modality} of made-up scenes ({error}); {way_out(modality)}"
        ) from error
    return raws


def _prepared(model: Model, modality: str, raws: Sequence[Any]) -> list[Item]:
    """Ready inputs. Raises :class:`InputError` for one that the model refuses; whatever else goes wrong is for the checks."""
    try:
        return [model.item(modality, raw) for raw in raws]
    except InputError:
        raise
    except Exception:
        return []


def _same_length(items: Sequence[Item]) -> int | None:
    """The number of positions that all of them have; None where they differ, or are all read."""
    layouts = [getattr(item, "layout", None) for item in items]
    reads = {layout.read for layout in layouts if isinstance(layout, Layout)}
    return reads.pop() if len(reads) == 1 else None


def _is_list(raws: object) -> bool:
    return isinstance(raws, Sequence) and not isinstance(raws, (str, bytes))


def _name(model: Model) -> str:
    return f"the adapter {model.origin.get('adapter', '')!r}"


def _tensors(inputs: Inputs) -> dict[str, Tensor]:
    return inputs if isinstance(inputs, dict) else {"": inputs}
