"""The models that the open-clip adapter's tests share; each is made once and left as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from open_clip_models import (
    COCA,
    RESNET,
    SCALED,
    VIT,
    Loaded,
    bert_config,
    save_and_load,
    sequence_first,
    siglip_config,
)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shared models' files lie; tests write elsewhere."""
    return tmp_path_factory.mktemp("open-clip")


@pytest.fixture(scope="module", autouse=True)
def _alone(one_thread: None) -> None: ...


@pytest.fixture(scope="session")
def loaded(folder: Path) -> Callable[[str], Loaded]:
    """Each model once."""
    configs: dict[str, Callable[[], dict[str, Any]]] = {
        "vit": lambda: VIT,
        "scaled": lambda: SCALED,
        "resnet": lambda: RESNET,
        "coca": lambda: COCA,
        "bert": lambda: bert_config(folder / "bert"),
        "siglip": lambda: siglip_config(folder / "siglip"),
    }
    done: dict[str, Loaded] = {}

    def get(name: str) -> Loaded:
        if name not in done:
            done[name] = (
                replace(get("vit"), model=sequence_first(get("vit")))
                if name == "sequence-first"
                else save_and_load(configs[name](), folder / f"{name}.pt")
            )
        return done[name]

    return get
