"""A copy of a model is a model of its own, and what is stored of it comes back."""

from __future__ import annotations

import copy
import io
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import m2ib
from open_clip_models import SCALED, photo, save_and_load
from scene_model import save_scene_model
from spotter import spotter
from tiny_clip import END, START
from tiny_imagebind import save_tiny_imagebind
from xrays import save, vit_state

pytestmark = pytest.mark.usefixtures("one_thread")
IDS = torch.tensor([START, 3, 14, END])
MODELS: dict[str, Callable[[Path], m2ib.Model]] = {
    "photo": lambda folder: m2ib.load_model("photo", device="cpu", size=64),
    "open-clip": lambda folder: save_and_load(SCALED, folder / "model.pt").model,
    "cxr-repair": lambda folder: m2ib.load_model(
        "cxr-repair", checkpoint=save(vit_state(), folder / "vit.pt"), device="cpu"
    ),
    "imagebind": lambda folder: save_tiny_imagebind(folder / "weights.pth").model,
    "imagebind-tiny": lambda folder: save_scene_model(folder / "weights.safetensors").model,
    "adapted": lambda folder: spotter(),
}


def pickled(model: m2ib.Model) -> m2ib.Model:
    return pickle.loads(pickle.dumps(model))  # type: ignore[no-any-return]


def saved(model: m2ib.Model) -> m2ib.Model:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)  # type: ignore[no-any-return]


def image(model: m2ib.Model) -> torch.Tensor:
    raw = photo(112, 112)
    return model.embed("image", model.preprocess("image", [raw]))


@pytest.mark.parametrize("name", MODELS)
def test_a_copy_has_weights_of_its_own(name: str, tmp_path: Path) -> None:
    """Its encoders went on with the original's."""
    model = MODELS[name](tmp_path)
    before = image(model)
    made = pickled(model) if name == "photo" else copy.deepcopy(model)
    assert torch.equal(image(made), before)
    assert made.origin == model.origin
    with torch.no_grad():
        for weight in made.module.parameters():
            weight.mul_(0.5)
    assert torch.equal(image(model), before)
    assert not torch.allclose(image(made), before)


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled, saved])
@pytest.mark.parametrize("method", ["m2ib", "rise", "chefer"])
def test_a_copy_explains_as_the_original(clip64: m2ib.Model, copied: Any, method: str) -> None:
    pixels = torch.randn(3, 32, 32, dtype=torch.float64)

    def grids(model: m2ib.Model) -> list[np.ndarray]:
        return [each.grid for each in m2ib.explain(model, image=pixels, text=IDS, method=method)]

    for found, expected in zip(grids(copied(clip64)), grids(clip64), strict=True):
        assert np.array_equal(found, expected)


def test_a_shallow_copy_shares_the_module(clip64: m2ib.Model) -> None:
    assert copy.copy(clip64).module is clip64.module


def test_what_cannot_be_copied_is_refused_by_name() -> None:
    model = spotter()
    model.module.mixed.register_forward_hook(Locked())
    with pytest.raises(
        m2ib.InputError, match=r"^model '.*': cannot be copied .* '_thread.lock' .* load it a second"
    ):
        copy.deepcopy(model)


class Locked:
    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __call__(self, *args: Any) -> None: ...


def test_a_copy_made_in_inference_mode_has_gradients(clip64: m2ib.Model) -> None:
    with torch.inference_mode():
        made = copy.deepcopy(clip64)
    pixels = torch.randn(3, 32, 32, dtype=torch.float64)
    assert np.isfinite(m2ib.explain(made, image=pixels, text=IDS)["image"].grid).all()


def test_weights_that_never_have_gradients_are_refused(clip_folder: Path) -> None:
    model = m2ib.load_model("clip", checkpoint=clip_folder, device="cpu")
    with torch.inference_mode():
        for weight in list(model.module.parameters()):
            weight.data = weight.data.clone()
        module = copy.deepcopy(model.module)
    made = m2ib.adapt(
        module,
        {
            "image": m2ib.Encoder(
                embed=lambda x: module.get_image_features(x).pooler_output,
                layers="vision_model.encoder.layers",
            )
        },
    )
    pixels = torch.randn(3, 32, 32)
    with pytest.raises(
        m2ib.AdapterError, match=r"^image: the weights of .* were made under torch.inference_mode"
    ):
        m2ib.explain(made, ("image", pixels), ("image", pixels.flip(1)))
