"""The models that these tests share; each is made once and left as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

import m2ib
from xrays import resnet_state, save, vit_state


@pytest.fixture(scope="module", autouse=True)
def _alone(one_thread: None) -> None: ...


@pytest.fixture(scope="session")
def vit_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(vit_state(), tmp_path_factory.mktemp("cxr") / "vit.pt")


@pytest.fixture(scope="session")
def vit(vit_file: Path) -> m2ib.Model:
    return m2ib.load_model("cxr-repair", checkpoint=vit_file, device="cpu", dtype="float64")


@pytest.fixture(scope="session")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> m2ib.Model:
    file = save(resnet_state(), tmp_path_factory.mktemp("cxr") / "resnet.pt")
    return m2ib.load_model("cxr-repair", checkpoint=file, device="cpu", dtype="float64")
