"""All checks of a model, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from m2ib.contract.model import Model
from m2ib.execution.context import ONE_AT_A_TIME, as_loaded
from m2ib.testing.encoder import ENCODER_CHECKS, check_encoder
from m2ib.testing.findings import Checked, LeftOut, Result, run
from m2ib.testing.whole import check_left_as_found, check_model, check_pairs, pair_check, pairs_of, state

_MODEL, _LEFT = "model", "left as found"


def check_all(
    model: Model,
    examples: Mapping[str, Sequence[Any]],
    tolerance: float,
    advance: Callable[[], None] = lambda: None,
) -> Checked:
    """The model as a whole, each encoder, every modality with another one, and that nothing is left changed.

    advance  called :func:`steps` times at most
    """
    with ONE_AT_A_TIME, as_loaded(model.device, model.dtype):
        first = run(_MODEL, _MODEL, partial(check_model, model, examples))
        advance()
        if first.failure:
            return Checked([first], _all_but(model, "'model' failed"))
        results: list[Result] = [first]
        left_out: list[LeftOut] = []
        found = state(model.module)
        for modality, encoder in model.encoders.items():
            checked = check_encoder(model, encoder, examples[modality], tolerance, advance)
            results += checked.results
            left_out += checked.left_out
        failed = next((result for result in results if result.failure), None)
        if failed is None:
            results += check_pairs(model, examples)
        else:
            left_out += _pairs(model, f"{failed.check!r} of {failed.modality} failed")
        results.append(run(_MODEL, _LEFT, partial(check_left_as_found, model.module, found)))
        return Checked(results, left_out)


def steps(model: Model) -> int:
    """How many there are, but for the pairs."""
    return 1 + len(model.encoders) * len(ENCODER_CHECKS)


def _all_but(model: Model, reason: str) -> list[LeftOut]:
    """Everything after the first check."""
    each = [LeftOut(modality, name, reason) for modality in model.modalities for name in ENCODER_CHECKS]
    return [*each, *_pairs(model, reason), LeftOut(_MODEL, _LEFT, reason)]


def _pairs(model: Model, reason: str) -> list[LeftOut]:
    return [LeftOut(modality, pair_check(other), reason) for modality, other in pairs_of(model)]
