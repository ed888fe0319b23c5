"""The conformance kit: does an adapter keep the contract? For first-party and third-party tests alike.

::

    from m2ib.testing import check_adapter

    def test_my_adapter():
        check_adapter("my-adapter", {"image": [photo, other], "text": ["a dog", "a longer text"]})

``m2ib check my-adapter`` prints the same checks, what is missing and what it would gain, and how long a step takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from m2ib.contract.model import Model
from m2ib.loading import load_model
from m2ib.testing.examples import Examples, find_examples
from m2ib.testing.results import ConformanceError, Result
from m2ib.testing.suite import run_checks

__all__ = ["ConformanceError", "Result", "check_adapter"]


def check_adapter(
    adapter: str | Model,
    examples: Mapping[str, Sequence[Any]] | None = None,
    *,
    tolerance: float = 1e-4,
    **options: Any,
) -> list[Result]:
    """Check a loaded model, or the adapter called ``adapter``, against the contract.

    examples   raw inputs by modality, two different ones for each; for texts, of different lengths. None: each
               encoder's own (``Encoder.examples``), else those of two made-up scenes
    tolerance  relative error between two ways of computing the same embedding
    options    for ``load_model`` when a name is given (``device="cpu"`` unless told otherwise)

    Returns the results. Raises :class:`ConformanceError` telling what is broken and why, and :class:`SettingError`
    where no examples are given and none are found.
    """
    model = adapter if isinstance(adapter, Model) else load_model(adapter, **{"device": "cpu", **options})
    found = find_examples(model, {}) if examples is None else Examples(examples, {})
    checked = run_checks(model, found.raws, tolerance) if isinstance(found, Examples) else found
    if checked.failures:
        raise ConformanceError(
            f"{model.origin.get('adapter', 'the adapter')} breaks the contract:\n"
            + "\n".join(map(str, checked.failures))
        )
    return list(checked.results)
