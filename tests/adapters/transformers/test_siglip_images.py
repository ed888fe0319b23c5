"""What is said of raw images, for a model or one input: their page, and which value is white."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import m2ib


@pytest.mark.parametrize("kind", ["first", "naflex"])
def test_page_and_white_are_taken(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(kind)
    grey = np.random.default_rng(0).integers(0, 256, (2, 70, 60)).astype(np.uint8)
    deep = [Image.fromarray(page.astype(np.uint16) * 4) for page in grey]
    deep[0].save(tmp_path / "x.tif", save_all=True, append_images=deep[1:])
    said = {"page": 1, "maximum": 1020}
    model = m2ib.load_model("siglip", checkpoint=folder, device="cpu")
    loaded = m2ib.load_model("siglip", checkpoint=folder, device="cpu", image=said)
    expected = tensors(model.preprocess("image", [grey[1]]))
    for inputs in (
        model.preprocess("image", [{"image": tmp_path / "x.tif", **said}]),
        loaded.preprocess("image", [tmp_path / "x.tif"]),
    ):
        assert all(map(torch.equal, tensors(inputs), expected))
    with pytest.warns(m2ib.M2IBWarning):  # of two pages, and of ten bits
        assert len(model.item("image", tmp_path / "x.tif").origin["warnings"]) == 2
    with pytest.raises(m2ib.SettingError, match=r"^siglip: image is a dict of options, not int"):
        m2ib.load_model("siglip", checkpoint=folder, device="cpu", image=4095)


def tensors(inputs: Any) -> list[torch.Tensor]:
    return list(inputs.values()) if isinstance(inputs, dict) else [inputs]
