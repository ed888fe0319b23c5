"""The state of a training in one file, written so that it is always whole."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from m2ib.errors import SettingError, StorageError

FORMAT = 1
PART = ".part"  # ends the name of what is being written


class Checkpoint:
    """A file that belongs to one training.

    path  of the file; its folder is made
    same  what decides the training's result, JSON-able: a file that was written with another is refused
    """

    def __init__(self, path: Path, same: Mapping[str, Any]) -> None:
        self.path = path
        self.same = {"format": FORMAT, **same}

    def read(self) -> dict[str, Any] | None:
        """What was written last; None if there is no file yet.

        Raises :class:`StorageError` for a file that cannot be read, :class:`SettingError` for another training's.
        """
        if not self.path.exists():
            return None
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            there = state["same"]
        except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise StorageError(
                f"checkpoint {str(self.path)!r} cannot be read ({reason:.120}); remove it to begin anew"
            ) from None
        for name, value in self.same.items():
            if there.get(name) != value:
                raise SettingError(
                    f"checkpoint {str(self.path)!r} is of another training: its {name} is {there.get(name)!r:.40}, not "
                    f"{value!r:.40}; remove it or name another file"
                )
        found: dict[str, Any] = state["state"]
        return found

    def write(self, state: Mapping[str, Any]) -> None:
        """Replace the file at once. Raises :class:`StorageError`."""
        beside = self.path.with_name(f"{self.path.name}{PART}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with beside.open("wb") as file:
                    torch.save({"same": self.same, "state": dict(state)}, file)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(beside, self.path)
            finally:
                beside.unlink(missing_ok=True)
        except (OSError, RuntimeError) as error:
            raise StorageError(f"checkpoint {str(self.path)!r} cannot be written: {error}") from error
