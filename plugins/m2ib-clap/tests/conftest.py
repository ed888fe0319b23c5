"""One folder and one loaded model of each kind for all tests; nothing changes them."""

from pathlib import Path

import pytest

import m2ib
from clap_checkpoint import save_clap

KINDS = ("unfused", "fused")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint without fusion and one with it, by name."""
    return {kind: save_clap(tmp_path_factory.mktemp(kind), fused=kind == "fused") for kind in KINDS}


@pytest.fixture(scope="session")
def models(folders: dict[str, Path]) -> dict[str, m2ib.Model]:
    """They, loaded."""
    return {kind: m2ib.load_model("clap", checkpoint=folders[kind], device="cpu") for kind in KINDS}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(folders: dict[str, Path], kind: str) -> Path:
    return folders[kind]


@pytest.fixture
def model(models: dict[str, m2ib.Model], kind: str) -> m2ib.Model:
    return models[kind]
