"""One small ImageBind for all tests of this folder."""

from __future__ import annotations

import pytest

from tiny_imagebind import TinyImageBind, save_tiny_imagebind


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> TinyImageBind:
    return save_tiny_imagebind(tmp_path_factory.mktemp("imagebind") / "small.pth")
