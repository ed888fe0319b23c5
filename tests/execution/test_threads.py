"""Any mix of calls from many threads gives what each gives alone."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import m2ib
from tiny_clip import END, START

pytestmark = pytest.mark.usefixtures("one_thread")
SECONDS = float(os.environ.get("M2IB_THREADS_SECONDS", "5"))  # a minute by hand


@pytest.fixture(scope="module")
def model(clip_folder: Path) -> m2ib.Model:
    made = m2ib.load_model("clip", checkpoint=clip_folder, device="cpu")
    made.module.train()  # as somebody who fine-tunes it has it
    return made


def test_eight_threads_mixing_all_calls_get_what_each_call_gives_alone(model: m2ib.Model) -> None:
    calls = all_calls(model)
    alone = {name: call() for name, call in calls.items()}
    until = time.monotonic() + SECONDS

    def work(seed: int) -> list[str]:
        draw, wrong = random.Random(seed), []
        while time.monotonic() < until:
            name = draw.choice(list(calls))
            found = calls[name]()
            if not all(map(torch.equal, found, alone[name])):
                wrong.append(name)
        return wrong

    with ThreadPoolExecutor(8) as pool:
        assert [wrong for wrong in pool.map(work, range(8)) if wrong] == []
    assert all(part.training for part in model.module.modules())
    assert all(weight.requires_grad for weight in model.module.parameters())
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in model.module.modules())


def all_calls(model: m2ib.Model) -> dict[str, Callable[[], list[Tensor]]]:
    draw = torch.Generator().manual_seed(0)
    pixels, ids = torch.randn(2, 3, 32, 32, generator=draw), torch.tensor([START, 3, 14, 15, END])
    raw = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    weight = model.module.vision_model.encoder.layers[0].self_attn.q_proj.weight

    def maps(**options: Any) -> list[Tensor]:
        found = m2ib.explain(model, image=pixels[0], text=ids, show_progress=False, **options)
        return [torch.from_numpy(side.grid) for side in found]

    def module() -> list[Tensor]:
        """As in a training step: of all of it, with gradients."""
        out = model.module(input_ids=ids[None], pixel_values=pixels).logits_per_image
        return [out.detach(), *torch.autograd.grad(out.sum(), weight)]

    return {
        "embed image": lambda: [model.embed("image", pixels)],
        "embed text": lambda: [model.embed("text", ids[None])],
        "preprocess": lambda: [model.preprocess("image", [raw])],
        "tower": lambda: [model.module.get_image_features(pixels).pooler_output.detach()],
        "module": module,
        "m2ib": lambda: maps(steps=3),
        "m2ib, general tail": lambda: maps(steps=3, fast=False),
        "chefer": lambda: maps(method="chefer"),
        "rise": lambda: maps(method="rise", masks=20),
        "layers": lambda: [torch.tensor(m2ib.good_layers(model, "text", ids))],
    }


class Slow(nn.Module):
    """A block that tells when it has begun, and goes on when it may; in training mode it gives another value."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go = threading.Event(), threading.Event()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        if threading.current_thread().name == "fit":
            self.begun.set()
            assert self.go.wait(10)
        return self.linear(x) * (2 if self.training else 1)


def slow_model() -> m2ib.Model:
    net = nn.Sequential(Slow(), nn.Linear(4, 4))
    layers = tuple(m2ib.Layer(block, str(n)) for n, block in enumerate(net))
    encoder = m2ib.Encoder(
        modality="dots",
        embed=lambda x: net(x).mean(1),
        describe=lambda x: m2ib.Item(x, m2ib.Layout((len(x),)), None),
        layers=layers,
    )
    return m2ib.Model(net.train(), {"dots": encoder}, torch.device("cpu"), torch.float32)


def test_a_call_of_the_module_waits_for_the_fit_and_finds_it_as_it_was() -> None:
    """It would see evaluation mode, frozen weights and a skipped block."""
    model = slow_model()
    net: Any = model.module
    x = torch.ones(1, 3, 4)
    alone = net(x)
    fit = threading.Thread(target=model.embed, args=("dots", x), name="fit")
    fit.start()
    assert net[0].begun.wait(10)
    assert not net.training
    found: list[Tensor] = []
    others = [
        threading.Thread(target=lambda: found.append(net(x))),
        threading.Thread(target=lambda: found.append(net[1](net[0](x)))),
    ]
    for other in others:
        other.start()
    time.sleep(0.05)
    assert found == []
    net[0].go.set()
    for thread in (fit, *others):
        thread.join(10)
    assert len(found) == 2
    for each in found:
        assert torch.equal(each, alone)
        assert each.requires_grad


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_process_forked_during_a_fit_can_use_the_model() -> None:
    """It would have the lock and nobody to give it back."""
    model = slow_model()
    net: Any = model.module
    x = torch.ones(1, 3, 4)
    expected = model.embed("dots", x)
    fit = threading.Thread(target=model.embed, args=("dots", x), name="fit")
    fit.start()
    assert net[0].begun.wait(10)
    threading.Timer(0.1, net[0].go.set).start()
    child = os.fork()
    if child == 0:
        try:
            good = torch.equal(model.embed("dots", x), expected) and net.training
            os._exit(0 if good else 1)
        except BaseException:
            os._exit(2)
    until = time.monotonic() + 20
    while (done := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < until:
        time.sleep(0.02)
    if done[0] == 0:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child waits for ever")
    assert os.waitstatus_to_exitcode(done[1]) == 0
    fit.join(10)


FORKING = """
import os, threading, time
import torch, m2ib
net = torch.nn.Linear(2, 2)
model = m2ib.Model(net, {}, torch.device("cpu"), torch.float32)
from m2ib_adapters.inputs.media import ignoring  # after the other lock: a fork takes them from the last to the first
begun = threading.Event()
def fit():
    with model.running():
        begun.set()
        time.sleep(.3)
        with ignoring(UserWarning):
            pass
threading.Thread(target=fit).start()
begun.wait()
child = os.fork()
if child == 0:
    with ignoring(UserWarning), model.running():
        os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_fork_and_a_fit_that_reads_inputs_do_not_wait_for_each_other() -> None:
    """The fork held the lock of reading and waited for the fit, which waited to read."""
    subprocess.run([sys.executable, "-c", FORKING], check=True, timeout=60)


LOADING = """
import sys, threading
import torch
from torch.utils.data import DataLoader, Dataset
torch.set_num_threads(1)
import m2ib
model = m2ib.load_model("imagebind-tiny", device="cpu")
image, over = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)), threading.Event()
expected = model.embed("image", image)[0]
def fit():
    while not over.is_set():
        m2ib.explain(model, image=image[0], text="a cat", steps=2, samples=2, show_progress=False)
class Embedded(Dataset):
    def __len__(self):
        return 8
    def __getitem__(self, number):
        return model.embed("image", image)[0]
fits = threading.Thread(target=fit)
fits.start()
for _ in range(3):
    rows = torch.cat(list(DataLoader(Embedded(), num_workers=2, batch_size=2, multiprocessing_context="fork")))
    assert torch.equal(rows, expected.expand_as(rows))
over.set()
fits.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_the_workers_of_a_data_loader_embed_while_another_thread_explains() -> None:
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOADING], timeout=120, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr[-2000:]
