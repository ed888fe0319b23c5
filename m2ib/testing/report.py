"""An adapter's report: what passed and what failed, what is missing and what it would gain, and how long a step takes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

import torch

from m2ib.activations.reach import GoodLayers
from m2ib.api import good_layers
from m2ib.contract.model import Model
from m2ib.errors import AdapterError, M2IBWarning, PluginError, SettingError, one_line
from m2ib.loading import load_model
from m2ib.progress import progress
from m2ib.registry.discovery import Registered, default_registry
from m2ib.registry.foreign import plugin_code
from m2ib.registry.specs import AdapterSpec
from m2ib.testing.examples import Examples, check_given, find_examples
from m2ib.testing.missing import ADAPTER, MissingField, merged, missing_from_encoder, missing_from_spec
from m2ib.testing.results import CheckResults, Result, Skipped, run_check
from m2ib.testing.suite import run_checks, steps
from m2ib.testing.timings import COPIES, Timing, time_encoder

MISSING, LAYERS, TIMINGS = "what is missing", "good layers", "timings"


@dataclass(frozen=True)
class Report:
    """Of one adapter.

    about     what was checked: adapter, distribution, checkpoint, device, dtype, tolerance, versions; JSON-able
    sources   by modality, where its examples came from
    results   of the checks, in order
    skipped  what was not done, and why
    missing   what is not told; none of it breaks the contract
    layers    by modality, those at which evidence can be shown
    timings   by modality
    warnings  that were given on the way
    """

    about: Mapping[str, Any]
    results: Sequence[Result]
    sources: Mapping[str, str]
    skipped: Sequence[Skipped] = ()
    missing: Sequence[MissingField] = ()
    layers: Mapping[str, GoodLayers] = field(default_factory=dict)
    timings: Sequence[Timing] = ()
    warnings: Sequence[str] = ()

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not any(result.failure for result in self.results)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; times in milliseconds."""
        return {
            **self.about,
            "passed": self.passed,
            "examples": dict(self.sources),
            "checks": [
                {
                    "modality": result.modality,
                    "check": result.check,
                    "outcome": result.outcome,
                    **({"reason": result.failure} if result.failure else {}),
                }
                for result in self.results
            ],
            "left_out": [asdict(each) for each in self.skipped],
            "missing": [{**asdict(each), "modalities": list(each.modalities)} for each in self.missing],
            "layers": {
                modality: {"good": list(good), "to_try": list(good.to_try)}
                for modality, good in self.layers.items()
            },
            "timings": [
                {
                    name: round(value, 2) if isinstance(value, float) else value
                    for name, value in {**asdict(each), "ratio": each.ratio}.items()
                }
                for each in self.timings
            ],
            "warnings": list(self.warnings),
        }


def report_on(
    name: str,
    *,
    given: Mapping[str, Sequence[Any]] | None = None,
    tolerance: float = 1e-4,
    checkpoint: Any = None,
    device: str = "cpu",
    dtype: str = "float32",
    show_progress: bool = True,
    **options: Any,
) -> Report:
    """Load the adapter called ``name``, check it, and look at what it does not tell and how long it takes.

    given      examples by modality; for the others see :func:`m2ib.testing.examples.find_examples`
    tolerance  as for :func:`m2ib.testing.check_adapter`, the other arguments as for :func:`m2ib.load_model`

    Whatever an adapter's code raises becomes part of the report. Raises :class:`m2ib.M2IBError` for what is no fault of
    its: an unknown name, a missing package or checkpoint, examples that cannot be used.
    """
    if isinstance(tolerance, bool) or not 0 < tolerance < 1:
        raise SettingError(f"check: tolerance={tolerance!r} is out of range; it must be between 0 and 1")
    if str(device).startswith("meta"):
        raise SettingError("check: on the device 'meta' there are no values to check; use 'cpu' or 'cuda'")
    check_given(given or {})
    info = default_registry().adapters.find(name)
    about: dict[str, Any] = {
        "adapter": info.name,
        "distribution": info.origin,
        "checkpoint": None if checkpoint is None else str(checkpoint),
        "device": str(device),
        "dtype": str(dtype),
        "tolerance": float(tolerance),
        "threads": torch.get_num_threads(),
        "copies": COPIES,
        "m2ib": version("m2ib"),
        "torch": torch.__version__,
    }
    with warnings.catch_warnings(record=True) as said, progress("check", show=show_progress) as bar:
        warnings.simplefilter("always", M2IBWarning)
        model, loaded = _load(name, checkpoint=checkpoint, device=device, dtype=dtype, **options)
        if model is None:
            rest = ("all other checks", MISSING, LAYERS, TIMINGS)
            left = [Skipped("model", what, "'load' failed") for what in rest]
            return Report(about, [loaded], {}, left, warnings=_told(said))
        about["device"] = str(model.device)
        found = model.origin.get("checkpoint", checkpoint)
        about["checkpoint"] = None if found is None else str(found)
        bar.steps(steps(model))
        examples = find_examples(model, given or {})
        if isinstance(examples, Examples):
            checked = run_checks(model, examples.raws, tolerance, bar.advance)
            gains, layers, timings, left = _more(model, info, examples.raws, checked)
            sources = examples.sources
        else:
            checked, gains, layers, timings, sources = examples, [], {}, [], {}
            left = [Skipped("model", what, examples.skipped[0].reason) for what in (MISSING, LAYERS, TIMINGS)]
    for warning in said:
        if not issubclass(warning.category, M2IBWarning):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    results, left = [loaded, *checked.results], [*checked.skipped, *left]
    return Report(about, results, sources, left, gains, layers, timings, _told(said))


def _told(said: Sequence[warnings.WarningMessage]) -> tuple[str, ...]:
    """What was warned of, once each."""
    return tuple(dict.fromkeys(str(each.message) for each in said if issubclass(each.category, M2IBWarning)))


def _load(name: str, **how: Any) -> tuple[Model | None, Result]:
    """The model, and that loading it works. Raises :class:`M2IBError` for what is missing here, not in the adapter."""
    try:
        with plugin_code("load"):
            return load_model(name, **how), Result("model", "load")
    except AdapterError as error:
        if isinstance(error.__cause__, ImportError):
            raise
        return None, Result("model", "load", str(error))
    except PluginError as error:
        return None, Result("model", "load", f"raised {one_line(error.__cause__ or error, kind=True)}")


def _more(
    model: Model, info: Registered[AdapterSpec], raws: Mapping[str, Sequence[Any]], checked: CheckResults
) -> tuple[list[MissingField], dict[str, GoodLayers], list[Timing], list[Skipped]]:
    """What comes after the checks, of encoders without a failure."""
    gains: list[MissingField] = []
    layers: dict[str, GoodLayers] = {}
    timings: list[Timing] = []
    left: list[Skipped] = []
    first: dict[str, str] = {}
    for failure in checked.failures:
        first.setdefault(failure.modality, f"{failure.check!r} failed")
    unusable = "'model' failed" if checked.results[0].failure else None

    def attempt(modality: str, what: str, make: Callable[[], None]) -> None:
        reason = unusable or first.get(modality) or run_check(modality, what, make).failure
        if reason:
            left.append(Skipped(modality, what, reason))

    for modality in model.modalities:
        raw = next(iter(raws.get(modality, ())), None)
        attempt(modality, MISSING, lambda m=modality, r=raw: gains.extend(missing_from_encoder(model, m, r)))  # type: ignore[misc]
        attempt(modality, LAYERS, lambda m=modality, r=raw: layers.update({m: good_layers(model, m, r)}))  # type: ignore[misc]
        attempt(modality, TIMINGS, lambda m=modality, r=raw: timings.append(time_encoder(model, m, r)))  # type: ignore[misc]
    attempt(ADAPTER, MISSING, lambda: gains.extend(missing_from_spec(info, model, raws)))
    return merged(gains), layers, timings, left
