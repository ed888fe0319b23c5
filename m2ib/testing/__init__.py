"""The conformance kit: does an adapter keep the contract? For first-party and third-party tests alike.

from m2ib.testing import check_adapter

def test_my_adapter():
    check_adapter("my-adapter", {"image": [photo, other], "text": ["a dog", "a longer text"]})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from m2ib.model import Model, load_model
from m2ib.testing.encoder import check_encoder
from m2ib.testing.findings import ConformanceError, Result, run
from m2ib.testing.whole import check_left_as_found, check_model, check_pairs, state

__all__ = ["ConformanceError", "Result", "check_adapter"]


def check_adapter(
    adapter: str | Model,
    examples: Mapping[str, Sequence[Any]],
    *,
    tolerance: float = 1e-4,
    **options: Any,
) -> list[Result]:
    """Check a loaded model, or the adapter called ``adapter``, against the contract.

    examples   raw inputs by modality, two different ones for each; for texts, of different lengths
    tolerance  relative error between two ways of computing the same embedding
    options    for ``load_model`` when a name is given (``device="cpu"`` unless told otherwise)

    Returns the results. Raises :class:`ConformanceError` telling what is broken and why.
    """
    model = adapter if isinstance(adapter, Model) else load_model(adapter, **{"device": "cpu", **options})
    results = [run("model", "model", partial(check_model, model, examples))]
    if not results[0].failure:
        found = state(model.module)
        for modality, encoder in model.encoders.items():
            results += check_encoder(model, encoder, examples[modality], tolerance)
        if not any(result.failure for result in results):
            results += check_pairs(model, examples)
        results.append(run("model", "left as found", partial(check_left_as_found, model.module, found)))
    failures = [str(result) for result in results if result.failure]
    if failures:
        raise ConformanceError(
            f"{model.origin.get('adapter', 'the adapter')} breaks the contract:\n" + "\n".join(failures)
        )
    return results
