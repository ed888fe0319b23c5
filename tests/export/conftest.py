"""Results of a small run, as it stands and with the sounds' and texts' rows."""

from __future__ import annotations

import pytest

import m2ib
from many_pairs import run


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> m2ib.results.ResultTable:
    """Files' views are not kept, arrays' are."""
    return run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def tiny() -> m2ib.Model:
    return m2ib.load_model("imagebind-tiny", device="cpu")
