"""Models that many tests share; each is made once and never changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

if "PYTEST_XDIST_WORKER_COUNT" in os.environ:  # the processors are shared; told before torch is imported
    _threads = max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    os.environ.setdefault("OMP_NUM_THREADS", str(_threads))

import hypothesis
import pytest
import torch

import m2ib
from installed import plugins  # noqa: F401 - a fixture for all
from tiny_clip import save_tiny_clip

# A busy machine is not a fault of the code.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")


@pytest.fixture(autouse=True)
def _one_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For modules whose models are too small to be shared out among threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP as transformers saves it, without tokenizer."""
    return save_tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="session")
def clip64(clip_folder: Path) -> m2ib.Model:
    """The tiny CLIP in float64 on the CPU."""
    return m2ib.load_model("clip", checkpoint=clip_folder, device="cpu", dtype="float64")


@pytest.fixture(scope="session")
def photo64() -> m2ib.Model:
    """The embedded default in float64, at a small input size."""
    return m2ib.load_model("photo", device="cpu", dtype="float64", size=64)
