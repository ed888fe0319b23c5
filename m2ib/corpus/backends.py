"""Which backend is asked for."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from m2ib.contract.model import Model
from m2ib.corpus.engine import Backend, Here
from m2ib.errors import SettingError


def backend_for(workers: Any, ray: str | None, model: Model) -> Backend:
    """``workers`` actors on the Ray cluster at ``ray``, as many processes here, or for one this process.

    Raises :class:`SettingError`.
    """
    workers = check_workers(workers, ray)
    if ray is not None:
        from m2ib.corpus.ray_data import RayData

        return RayData(ray, workers, gpus=1 if model.device.type == "cuda" else 0)
    if workers > 1:
        from m2ib.corpus.processes import Processes

        return Processes(workers)
    return Here()


def check_workers(workers: Any, ray: str | None) -> int:
    """How many, before a model is loaded. Raises :class:`SettingError` for what is no number of them, and without Ray where it is asked for."""
    if ray is not None:
        from m2ib.corpus.ray_data import require_ray

        require_ray()
    return whole_number("workers", workers)


def whole_number(name: str, given: Any, least: int = 1) -> int:
    """Raises :class:`SettingError` for what is none, or below ``least``."""
    if isinstance(given, bool) or not isinstance(given, Integral) or int(given) < least:
        raise SettingError(f"{name}: {given!r:.60} is out of range; it must be a whole number >= {least}")
    return int(given)
