"""Whatever a method gives is checked at one place: what is no map of the input, and an embedding without a direction, is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import m2ib
from m2ib.contract.curve import Curve
from m2ib.methods import Batch, Map, Method, PreparedBatch
from m2ib.pipeline import explain_batch, explain_side, prepare
from m2ib.registry.plan import Plan
from toy import EXAMPLES, toy_model

PAIR = {"image": EXAMPLES["image"][0], "text": "a dog"}
METHODS = ("m2ib", "gradcam", "saliency", "integrated-gradients", "rise", "kernelshap", "uniform")


def plan_of(make: Callable[[tuple[int, ...]], Any]) -> Plan:
    """A method whose map of a text is ``make(its shape)``."""

    def prepared(batch: Batch, settings: Any) -> PreparedBatch:
        def maps(targets: Tensor, advance: Callable[[], None]) -> list[Any]:
            shapes = batch.grids(0)
            return [make(shape) if batch.modality == "text" else Map(np.ones(shape)) for shape in shapes]

        return PreparedBatch(batch.embed(), maps)

    return Plan("mine", Method(prepared), (), {})


def made(make: Callable[[tuple[int, ...]], Any]) -> m2ib.Attribution:
    model, plan = toy_model(), plan_of(make)
    (found,) = explain_batch(
        model, [prepare(model, list(PAIR.items()), plan)], plan, lambda count: lambda: None
    )
    return found["text"]


def nan_in(shape: tuple[int, ...]) -> np.ndarray:
    values = np.ones(shape)
    values[1] = np.nan
    return values


CURVE = Curve((0.1, float("inf")), (0.2, 0.1), (0.3, 0.2))
WHO = "method 'mine': the map of text"
NAN = "; check the input, the settings and the method"
BAD: dict[str, tuple[Callable[[tuple[int, ...]], Any], type[Exception], str]] = {
    "nan": (lambda s: Map(nan_in(s)), m2ib.InputError, f"{WHO} is NaN or infinite in 1 of 4 places{NAN}"),
    "complex": (lambda s: Map(np.ones(s) * 1j), m2ib.AdapterError, f"{WHO} is complex; give real numbers"),
    "objects": (
        lambda s: Map(np.array([None] * s[0])),
        m2ib.AdapterError,
        f"{WHO} is of dtype object; give real numbers",
    ),
    "one number": (
        lambda s: Map(np.ones(())),
        m2ib.AdapterError,
        f"{WHO} has the shape (), the input's grid (4,); give a value for each cell",
    ),
    "another axis": (
        lambda s: Map(np.ones((*s, 1))),
        m2ib.AdapterError,
        f"{WHO} has the shape (4, 1), the input's grid (4,); give a value for each cell",
    ),
    "no cells": (
        lambda s: Map(np.ones(0)),
        m2ib.AdapterError,
        f"{WHO} has no cells, the input's grid (4,); give a value for each cell",
    ),
    "half-tokens": (
        lambda s: Map(np.ones(2 * s[0])),
        m2ib.AdapterError,
        f"{WHO} has the shape (8,), for 4 tokens; give a value for each",
    ),
    "capacity": (
        lambda s: Map(np.ones(s), capacity=nan_in(s)),
        m2ib.InputError,
        f"{WHO}: its capacity is NaN or infinite in 1 of 4 places{NAN}",
    ),
    "curve": (
        lambda s: Map(np.ones(s), curve=CURVE),
        m2ib.InputError,
        f"{WHO}: its curve's fit is NaN or infinite in 1 of 2 places{NAN}",
    ),
    "full": (
        lambda s: Map(np.ones(s), full=float("inf")),
        m2ib.InputError,
        f"{WHO}: its `full` is NaN or infinite in 1 of 1 places{NAN}",
    ),
    "no map": (
        lambda s: np.ones(s),
        m2ib.AdapterError,
        f"{WHO}: the method gives [array([1., 1., 1., 1.])], not a list of 1 Map",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_map_of_the_input_is_refused(name: str) -> None:
    make, kind, message = BAD[name]
    with pytest.raises(kind) as caught:
        made(make)
    assert str(caught.value) == message


def test_one_side_alone_and_a_contrast_are_checked_too() -> None:
    model, plan = toy_model(), plan_of(lambda shape: Map(nan_in(shape)))
    item = model.item("text", "a dog")
    with pytest.raises(m2ib.InputError, match=r"^method 'mine': the map of text is NaN"):
        explain_side(model, "text", [item], model.collate("text", [item]), torch.ones(1, 6), plan)
    calls: list[int] = []

    def later(shape: tuple[int, ...]) -> Map:
        calls.append(1)
        return Map(
            np.ones(shape) if len(calls) == 1 else nan_in(shape)
        )  # the second is of what speaks against

    plan = plan_of(later)
    image = m2ib.contrast(*EXAMPLES["image"])
    with pytest.raises(m2ib.InputError, match=r"^method 'mine': the map of text is NaN"):
        explain_batch(
            model, [prepare(model, [("image", image), ("text", "a dog")], plan)], plan, lambda _: lambda: None
        )


@pytest.mark.parametrize(
    "given",
    [
        lambda s: torch.arange(s[0], dtype=torch.bfloat16).requires_grad_(),
        lambda s: np.arange(s[0]),
        lambda s: list(range(s[0])),
        lambda s: np.arange(s[0], dtype=np.longdouble),
    ],
)
def test_numbers_of_any_kind_become_floats(given: Callable[[tuple[int, ...]], Any]) -> None:
    found = made(lambda shape: Map(given(shape)))
    assert found.grid.dtype in (np.float32, np.float64)
    assert found.grid.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("name", METHODS)
def test_weights_that_hold_nan_are_named_whatever_the_method(name: str) -> None:
    model = toy_model()
    weight, value = next(iter(model.module.named_parameters()))
    with torch.no_grad():
        value.fill_(float("nan"))
    with pytest.raises(m2ib.InputError) as caught:
        m2ib.explain(model, **PAIR, method=name, show_progress=False)
    assert str(caught.value) == (
        f"image: the embedding holds NaN or infinite values; so do 1 of the model's weights, first {weight}; load sound ones"
    )


def with_embedding(change: Callable[[Tensor], Tensor], **fields: Any) -> m2ib.Model:
    model = toy_model(
        text=lambda encoder: replace(encoder, embed=lambda inputs: change(encoder.embed(inputs)))
    )
    return replace(model, **fields)


NO_EMBEDDING: dict[str, tuple[Callable[[Tensor], Tensor], type[Exception], str]] = {
    "infinite": (
        lambda e: e / 0,
        m2ib.InputError,
        "text: the embedding holds NaN or infinite values; check the input",
    ),
    "zero": (
        lambda e: e * 0,
        m2ib.InputError,
        "text: the embedding is 0, so it is close to nothing and nothing can be explained; check the input and the "
        "model's weights",
    ),
    "complex": (
        lambda e: e * 1j,
        m2ib.AdapterError,
        "text: embed gives (1, 6) torch.complex64; it must be real numbers (N, D)",
    ),
    "flat": (
        lambda e: e[0],
        m2ib.AdapterError,
        "text: embed gives (6,) torch.float32; it must be real numbers (N, D)",
    ),
}


@pytest.mark.parametrize("name", NO_EMBEDDING)
def test_an_embedding_without_a_direction_is_refused_wherever_one_is_taken(name: str) -> None:
    change, kind, message = NO_EMBEDDING[name]
    model = with_embedding(change)
    image = PAIR["image"]
    ways: list[Callable[[], Any]] = [
        lambda: model.embed("text", model.preprocess("text", ["a dog"])),
        lambda: m2ib.explain(model, **PAIR, method="uniform"),
        lambda: m2ib.explain(model, image=image, text=m2ib.contrast("a dog", "a cat"), method="uniform"),
    ]
    for way in ways:
        with pytest.raises(kind, match=f"^{re.escape(message)}$"):
            way()


def test_only_halves_are_told_to_load_in_float32() -> None:
    for dtype, way in (
        (torch.float32, "check the input"),
        (torch.float16, "check the input, or load the model with dtype='float32'"),
    ):
        model = with_embedding(lambda e: e / 0, dtype=dtype, encoders={})
        with pytest.raises(m2ib.InputError, match=f"infinite values; {way}$"):
            model.sound("text", torch.full((1, 3), float("inf")))


@pytest.mark.parametrize("name", ["lr", "beta", "variance", "smooth"])
def test_numbers_that_float32_cannot_work_with_are_refused(name: str) -> None:
    """lr=1e300 ended in torch's own error."""
    bound = ">" if name in ("lr", "variance") else ">="
    for value in (1e300, 10**400):
        with pytest.raises(m2ib.SettingError) as caught:
            m2ib.explain(toy_model(), **PAIR, **{name: value})
        assert str(caught.value) == (
            f"{name} for image: {value!r:.40} is out of range; it must be {bound} 0 and at most 1e+30"
        )


def test_the_largest_settings_are_fitted_or_refused_in_one_line() -> None:
    for name in ("lr", "beta", "variance"):
        found = m2ib.explain(toy_model(), **PAIR, **{name: 1e30}, show_progress=False)
        assert all(np.isfinite(side.grid).all() for side in found)


def test_tensors_and_models_without_numbers_are_refused() -> None:
    model, empty = toy_model(), torch.empty(3, 8, 8, device="meta")
    with pytest.raises(
        m2ib.InputError, match=r"^image: the tensor is on the device 'meta' and holds no numbers; give"
    ):
        m2ib.explain(model, image=empty, text="a dog")
    with pytest.raises(m2ib.InputError, match=r"^model 'toy': inputs on the device 'meta' hold no numbers$"):
        model.embed("image", empty[None])
    unloaded = m2ib.load_model("imagebind-tiny", device="meta")
    for call in (m2ib.good_layers, lambda *pair: m2ib.explain(pair[0], pair[1:], ("text", "a cat"))):
        with pytest.raises(
            m2ib.InputError, match="the model is on the device 'meta' and has no weights; load it"
        ):
            call(unloaded, "image", PAIR["image"])
