"""One model for all tests of this folder."""

from __future__ import annotations

import pytest

from scene_model import SceneModel, save_scene_model


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> SceneModel:
    return save_scene_model(tmp_path_factory.mktemp("tiny") / "weights.safetensors")
