"""All checks of a model, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from m2ib.contract.model import Model
from m2ib.execution.context import default_execution
from m2ib.promises import leaves_nothing
from m2ib.testing.encoder_checks import ENCODER_CHECKS, check_encoder
from m2ib.testing.model_checks import (
    check_left_as_found,
    check_model,
    check_pairs,
    pair_check,
    pairs_of,
    state,
)
from m2ib.testing.results import CheckResults, Result, Skipped, run_check

_MODEL, _LEFT = "model", "left as found"


@leaves_nothing
def run_checks(
    model: Model,
    examples: Mapping[str, Sequence[Any]],
    tolerance: float,
    advance: Callable[[], None] = lambda: None,
) -> CheckResults:
    """The model as a whole, each encoder, every modality with another one, and that nothing is left changed.

    advance  called :func:`steps` times at most
    """
    with default_execution(model.device, model.dtype):
        first = run_check(_MODEL, _MODEL, partial(check_model, model, examples))
    advance()
    if first.failure:
        reason = "'model' failed"
        left = [Skipped(modality, name, reason) for modality in model.modalities for name in ENCODER_CHECKS]
        return CheckResults([first], [*left, *_pairs(model, reason), Skipped(_MODEL, _LEFT, reason)])
    with model.alone():
        results: list[Result] = [first]
        skipped: list[Skipped] = []
        found = state(model.module)
        for modality, encoder in model.encoders.items():
            checked = check_encoder(model, encoder, examples[modality], tolerance, advance)
            results += checked.results
            skipped += checked.skipped
        failed = next((result for result in results if result.failure), None)
        if failed is None:
            results += check_pairs(model, examples)
        else:
            skipped += _pairs(model, f"{failed.check!r} of {failed.modality} failed")
        results.append(run_check(_MODEL, _LEFT, partial(check_left_as_found, model.module, found)))
        return CheckResults(results, skipped)


def steps(model: Model) -> int:
    """How many there are, but for the pairs."""
    return 1 + len(model.encoders) * len(ENCODER_CHECKS)


def _pairs(model: Model, reason: str) -> list[Skipped]:
    return [Skipped(modality, pair_check(other), reason) for modality, other in pairs_of(model)]
