"""Whatever the caller has switched in torch and numpy, each call gives what it gives in a fresh process, and leaves all as it was."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import m2ib
import xrays
from m2ib.scenes import scenes
from naive_imagebind import SMALL
from open_clip_models import VIT, module_of
from tiny_clip import END, START
from tiny_imagebind import save_tiny_imagebind

pytestmark = pytest.mark.usefixtures("one_thread")
SCENE = next(iter(scenes(range(1)))).inputs
INPUTS: dict[str, Any] = {
    **SCENE,
    "image": np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8),
    "text": "a cat",
}
IDS = torch.tensor([START, 3, 14, 15, END])


@pytest.fixture(scope="module")
def loaders(
    clip_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Callable[[], m2ib.Model]]:
    folder = tmp_path_factory.mktemp("models")
    torch.save(module_of(VIT).state_dict(), folder / "vit.pt")
    save_tiny_imagebind(folder / "imagebind.pth")
    xray = xrays.save(xrays.vit_state(), folder / "xray.pt", torch.float32)
    options: dict[str, dict[str, Any]] = {
        "photo": {"size": 64},
        "clip": {"checkpoint": clip_folder},
        "open-clip": {"architecture": VIT, "checkpoint": folder / "vit.pt"},
        "cxr-repair": {"checkpoint": xray},
        "imagebind": {"architecture": SMALL, "checkpoint": folder / "imagebind.pth"},
        "imagebind-tiny": {},
    }
    return {
        name: lambda name=name, given=given: m2ib.load_model(name, device="cpu", **given)  # type: ignore[misc]
        for name, given in options.items()
    }


def setting(
    change: Callable[[Any], Any], inside: Any, outside: Any
) -> Callable[[], AbstractContextManager[None]]:
    @contextmanager
    def switched() -> Iterator[None]:
        change(inside)
        try:
            yield
        finally:
            change(outside)

    return switched


SURROUNDINGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "float64": setting(torch.set_default_dtype, torch.float64, torch.float32),
    "bfloat16": setting(torch.set_default_dtype, torch.bfloat16, torch.float32),
    "on meta": lambda: torch.device("meta"),
    "default device": setting(torch.set_default_device, "meta", None),
    "deterministic": setting(torch.use_deterministic_algorithms, True, False),
    "numpy raises": lambda: np.errstate(all="raise"),
}


def switches() -> list[Any]:
    """What a call must leave as it is."""
    return [
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.overrides._get_current_function_mode_stack(),
        np.geterr(),
        torch.get_rng_state().tolist(),
        str(np.random.get_state()),  # noqa: NPY002 - the caller's
        random.getstate(),
    ]


def results(load: Callable[[], m2ib.Model]) -> dict[str, Any]:
    """Of all calls, with all kinds of input."""
    model, found = load(), dict[str, Any]()
    raws = {**INPUTS, "text": IDS} if model.origin["adapter"] == "clip" else INPUTS
    kinds = [kind for kind in model.modalities if kind in raws]
    for kind, other in zip(kinds, kinds[1:] + kinds[:1], strict=True):
        ready = model.preprocess(kind, [raws[kind]])
        found |= {
            f"{kind} {name}": value
            for name, value in (ready if isinstance(ready, dict) else {"": ready}).items()
        }
        found[f"{kind} embedding"] = model.embed(kind, ready)
        for options in ({"steps": 2, "samples": 2}, {"method": "gradcam"}, {"method": "rise", "masks": 4}):
            pair = (kind, raws[kind]), (other, raws[other])
            made = m2ib.explain(model, *pair, show_progress=False, **options)
            place = f"{kind} {options.get('method')}"
            found |= {f"{place} map": made[0].grid, f"{place} scores": made[0].scores, place: made.similarity}
    return found


def equal(first: Any, second: Any) -> bool:
    if isinstance(first, Tensor):
        return first.dtype == second.dtype and first.device == second.device and torch.equal(first, second)
    return np.asarray(first).dtype == np.asarray(second).dtype and np.array_equal(first, second)


@pytest.mark.filterwarnings("ignore::m2ib.M2IBWarning")
@pytest.mark.parametrize("name", ["photo", "clip", "open-clip", "cxr-repair", "imagebind", "imagebind-tiny"])
def test_no_surroundings_of_the_callers_change_a_result_or_are_changed(
    loaders: dict[str, Callable[[], m2ib.Model]], name: str
) -> None:
    expected, wrong = results(loaders[name]), list[str]()
    for what, surroundings in {"nothing": nullcontext, **SURROUNDINGS}.items():
        with surroundings():
            before = switches()
            found = results(loaders[name])
            assert switches() == before, what
        wrong += [f"{what}: {each}" for each in expected if not equal(found[each], expected[each])]
    assert wrong == []


def test_threads_with_another_default_dtype_do_not_disturb_each_other(clip64: m2ib.Model) -> None:
    """torch has one default dtype for all threads: who puts it back must not do so while another thread counts on it."""
    raw = INPUTS["image"]
    expected, found = clip64.preprocess("image", [raw]), list[Tensor]()
    torch.set_default_dtype(torch.bfloat16)
    try:
        threads = [
            Thread(target=lambda: found.extend(clip64.preprocess("image", [raw]) for _ in range(20)))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert torch.get_default_dtype() is torch.bfloat16
    finally:
        torch.set_default_dtype(torch.float32)
    assert len(found) == 160
    assert all(torch.equal(each, expected) for each in found)
