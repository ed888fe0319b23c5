"""Which processes a model was used in."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import m2ib


def noted(model: m2ib.Model, modality: str, folder: Path) -> m2ib.Model:
    """The same, which leaves a file for each process that makes a raw input of this kind ready."""
    folder.mkdir()
    encoder = model.encoder(modality)
    watched = replace(encoder, prepare=partial(_prepare, encoder.prepare, folder))
    return replace(model, encoders={**model.encoders, modality: watched})


def others(folder: Path) -> set[int]:
    """Those besides this one."""
    return {int(each.name) for each in folder.iterdir()} - {os.getpid()}


def _prepare(prepare: Any, folder: Path, raw: Any, **more: Any) -> m2ib.Item:
    (folder / f"{os.getpid()}").touch()
    return prepare(raw, **more)  # type: ignore[no-any-return]
