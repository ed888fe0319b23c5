"""Ctrl-C at any line of a call leaves the model, torch and Python as they were, and the next call gives what it always gives."""

from __future__ import annotations

import contextlib
import random
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import m2ib
import m2ib_adapters
from m2ib import notices
from m2ib.evaluation.weights import learning, preserved, redraw
from m2ib.execution import context, products
from m2ib.promises import leaves_nothing
from tiny_clip import END, START
from toy import EXAMPLES, prepare_image, toy_model

pytestmark = pytest.mark.usefixtures("one_thread")
OWN = tuple(str(Path(package.__file__).parent) for package in (m2ib, m2ib_adapters))
IDS = torch.tensor([START, 3, 14, 15, END])
CHANGING = ("contextlib.py", "promises.py", "context.py", "capture.py", "attention.py", "notices.py")
Place = tuple[str, int, int]
"""A file, a line of it, and the how-manieth time that it runs."""


@dataclass
class Lines:
    """Watches which lines of m2ib, and of Python's context managers, run in a call; interrupts it at one of them."""

    at: Place | None = None
    seen: dict[tuple[str, int], int] = field(default_factory=dict)
    hit: bool = False

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        file, caller = frame.f_code.co_filename, frame.f_back
        if file == contextlib.__file__ and caller is not None:  # of m2ib's own contexts
            file = caller.f_code.co_filename
        return self.line if file.startswith(OWN) else None

    def line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            where = frame.f_code.co_filename, frame.f_lineno
            self.seen[where] = count = self.seen.get(where, 0) + 1
            if (*where, count) == self.at:
                self.hit = True
                raise KeyboardInterrupt
        return self.line

    def watch(self, call: Callable[[], Any]) -> Any:
        before = sys.gettrace()
        sys.settrace(self)
        try:
            return call()
        finally:
            sys.settrace(before)

    def places(self) -> Iterator[Place]:
        """The first time of each line; of those that put something in place, or take it away, the last time too."""
        for (file, line), count in self.seen.items():
            yield file, line, 1
            if count > 1 and file.endswith(CHANGING):
                yield file, line, count


def world(module: nn.Module) -> dict[str, Any]:
    """All that a call could leave behind; a tensor by its numbers."""
    found: dict[str, Any] = {
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.is_autocast_cache_enabled()),
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "function modes": torch._C._len_torch_function_stack(),
        "dispatch modes": torch._C._len_torch_dispatch_stack(),
        "attention": (torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.math_sdp_enabled()),
        "torch's numbers": torch.get_rng_state().numpy().tobytes(),
        "numpy's numbers": str(np.random.get_state()),  # noqa: NPY002
        "python's numbers": random.getstate(),
        "numpy's errors": np.geterr(),
        "filters": list(warnings.filters),
        "kept warnings": notices._kept.get(),
        "guarded": set(context._guarded),
        "weights laid out": products._steady.kept is not None,
    }
    for name, part in module.named_modules():
        tables = [value for key, value in vars(part).items() if "hooks" in key and hasattr(value, "keys")]
        found[f"hooks of {name}"] = [list(table) for table in tables]
        found[f"own things of {name}"] = sorted(part.__dict__)
        found[f"mode of {name}"] = part.training
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        found[f"weights {name}"] = value.detach().numpy().tobytes(), value.requires_grad, value.grad
    config = getattr(module, "config", None)
    if config is not None:
        found["by sdpa"] = [part._attn_implementation for part in (config.vision_config, config.text_config)]
    return found


def lock_is_free() -> bool:
    """For another thread."""
    found: list[bool] = []

    def take() -> None:
        found.append(context._LOCK.acquire(timeout=2))
        if found[0]:
            context._LOCK.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return found[0]


def faults_of(
    call: Callable[[], list[Tensor]], module: nn.Module, choose: Callable[[list[Place]], list[Place]]
) -> list[str]:
    """What is wrong after an interrupt, and where it came."""
    call()  # what is made once is made
    expected, lines = call(), Lines()
    lines.watch(call)
    before, faults = world(module), list[str]()
    for place in choose(sorted(lines.places())):
        watched = Lines(place)
        try:
            watched.watch(call)
        except KeyboardInterrupt as error:
            interrupt = error  # a traceback that somebody keeps, as an interactive session does
        else:
            assert not watched.hit, f"{place}: the interrupt was lost"
            continue
        where = f"{Path(place[0]).name}:{place[1]} ({place[2]})"
        now = world(module)
        faults += [f"{where}: {what}" for what in now if now[what] != before[what]]
        if not lock_is_free():
            return [*faults, f"{where}: the lock is held"]
        try:
            same = all(map(torch.equal, call(), expected))
        except Exception:
            same = False
        if not same:
            faults.append(f"{where}: another result")
        del interrupt
    return faults


def every(places: list[Place]) -> list[Place]:
    return places


def some(places: list[Place]) -> list[Place]:
    return random.Random(0).sample(places, min(len(places), 40))


CHOICES = [
    pytest.param(some, id="some"),
    pytest.param(every, id="every", marks=pytest.mark.slow),
]


@pytest.fixture
def model(clip_folder: Path) -> m2ib.Model:
    made = m2ib.load_model("clip", checkpoint=clip_folder, device="cpu")
    made.module.train()  # as somebody who fine-tunes it has it
    made.module.set_attn_implementation("eager")
    return made


CALLS: dict[str, dict[str, Any]] = {
    "m2ib": {"steps": 2, "samples": 2},
    "m2ib, general tail": {"steps": 2, "samples": 2, "fast": False},
    "gradcam": {"method": "gradcam"},
    "chefer": {"method": "chefer"},
    "legrad": {"method": "legrad"},
    "rise": {"method": "rise", "masks": 8},
    "integrated-gradients": {"method": "integrated-gradients", "steps": 2},
}


@pytest.mark.parametrize("choose", CHOICES)
@pytest.mark.parametrize("name", CALLS)
def test_an_interrupted_explanation_leaves_nothing_behind(
    model: m2ib.Model, name: str, choose: Callable[[list[Place]], list[Place]]
) -> None:
    draw = np.random.default_rng(0)
    raw: Any = draw.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    if name != "m2ib":  # how pictures are read is the same for all
        raw = torch.from_numpy(draw.standard_normal((3, 32, 32), dtype=np.float32))

    def call() -> list[Tensor]:
        found = m2ib.explain(model, image=raw, text=IDS, show_progress=False, **CALLS[name])
        return [torch.from_numpy(side.grid) for side in found]

    assert faults_of(call, model.module, choose) == []


def adapted(module: Any, folder: Path) -> list[Tensor]:
    image = m2ib.Encoder(embed=module.embed_image, prepare=lambda raw: prepare_image(raw).inputs)
    model = m2ib.adapt(module, {"image": image}, examples={"image": EXAMPLES["image"][0]})
    return [torch.tensor(model.encoder("image").default_layer), *embedded(module, folder)]


def embedded(module: Any, folder: Path) -> list[Tensor]:
    model = replace(toy_model(), module=module)
    return [model.embed("image", model.preprocess("image", EXAMPLES["image"]))]


@leaves_nothing
def redrawn(module: Any, folder: Path) -> list[Tensor]:
    """As checks do that change weights for a while."""
    weights = list(module.parameters())
    with THE_TOY.alone(), preserved(weights), learning(weights):
        redraw(weights, torch.Generator().manual_seed(0))
        return [weights[0].detach().clone()]


def loaded(module: Any, folder: Path) -> list[Tensor]:
    """In another default dtype."""
    torch.set_default_dtype(torch.float64)
    try:
        net = m2ib.load_model("imagebind-tiny", device="cpu").module
    finally:
        torch.set_default_dtype(torch.float32)
    return [next(net.parameters()).detach()]


THE_TOY = toy_model()


@pytest.mark.parametrize("choose", CHOICES)
@pytest.mark.parametrize("call", [adapted, embedded, redrawn, loaded])
def test_other_interrupted_calls_leave_nothing_behind(
    tmp_path: Path,
    call: Callable[[Any, Path], list[Tensor]],
    choose: Callable[[list[Place]], list[Place]],
) -> None:
    module = THE_TOY.module.train().requires_grad_(True)
    assert faults_of(lambda: call(module, tmp_path), module, choose) == []
