"""Checkpoints that are made once, and copies of them with something changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tiny_siglip import gemma_tokenizer, save_fixed, save_naflex, siglip_tokenizer

Edit = Callable[..., Path]


@pytest.fixture(scope="session")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return siglip_tokenizer(tmp_path_factory.mktemp("pieces"))


@pytest.fixture(scope="session")
def gemma() -> Any:
    return gemma_tokenizer()


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory, pieces: Any) -> Path:
    """SigLIP: 32 px images in patches of 8, bicubic; sentencepiece."""
    return save_fixed(tmp_path_factory.mktemp("first"), pieces, 3)


@pytest.fixture(scope="session")
def ragged(tmp_path_factory: pytest.TempPathFactory, pieces: Any) -> Path:
    """SigLIP whose patches of 8 do not fill its images of 36 px."""
    return save_fixed(tmp_path_factory.mktemp("ragged"), pieces, 3, image_size=36)


@pytest.fixture(scope="session")
def second(tmp_path_factory: pytest.TempPathFactory, gemma: Any) -> Path:
    """SigLIP 2 at a fixed resolution: 32 px images in patches of 8, bilinear; Gemma's tokenizer."""
    return save_fixed(tmp_path_factory.mktemp("second"), gemma, 2)


@pytest.fixture(scope="session")
def naflex(tmp_path_factory: pytest.TempPathFactory, gemma: Any) -> Path:
    """SigLIP 2 NaFlex: at most 20 patches of 8 pixels; Gemma's tokenizer."""
    return save_naflex(tmp_path_factory.mktemp("naflex"), gemma)


@pytest.fixture
def edited(tmp_path: Path) -> Edit:
    """edited(folder, "config.json", key=value, outer__inner=value): a copy of the folder, one of its JSON files changed."""

    def edit(folder: Path, name: str, **changes: Any) -> Path:
        copy = tmp_path / "edited"
        shutil.copytree(folder, copy)
        values = json.loads((copy / name).read_text())
        for key, value in changes.items():
            *path, last = key.split("__")
            inner = values
            for part in path:
                inner = inner[part]
            inner[last] = value
        (copy / name).write_text(json.dumps(values))
        return copy

    return edit
