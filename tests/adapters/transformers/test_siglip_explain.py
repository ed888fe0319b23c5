"""Maps in float64 are those of the method written down sample by sample; other methods and the command line run."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import m2ib

KINDS = ("first", "second", "naflex")
TEXT = "a small dog"
METHODS = (
    "gradcam",
    "saliency",
    "integrated-gradients",
    "kernelshap",
    "rise",
    "chefer",
    "grad-eclip",
    "legrad",
)


def load(folder: Any, **options: Any) -> Any:
    return m2ib.load_model("siglip", checkpoint=folder, device="cpu", **options)


def photo() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (40, 90, 3), dtype=np.uint8)


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


def capacity(
    embed: Callable[[], Tensor],
    block: nn.Module,
    target: Tensor,
    *,
    beta: float,
    variance: float,
    steps: int,
    samples: int,
    read: int | None,
) -> Tensor:
    """(positions,) nats of one input, with the whole encoder run for every sample."""
    seen: list[Tensor] = []
    handle = block.register_forward_hook(lambda module, args, output: seen.append(output))
    with torch.no_grad():
        embed()
    handle.remove()
    a, rest = seen[0][:, :read], seen[0][:, read:] if read else seen[0][:, :0]  # (1, T, C), (1, padding, C)
    sigma = math.sqrt(variance)
    alpha = torch.full_like(a, 5.0)
    first, second = torch.zeros_like(a), torch.zeros_like(a)
    torch.manual_seed(3)
    for step in range(1, steps + 1):
        noise = torch.empty(samples, *a.shape[1:], dtype=a.dtype).normal_()
        alpha = alpha.detach().requires_grad_()
        lam = 1 / (1 + torch.exp(-alpha))
        cosines = []
        for eps in noise:
            z = torch.cat([lam * a + sigma * (1 - lam) * eps, rest], 1)
            handle = block.register_forward_hook(lambda module, args, output, z=z: z)
            out = embed()
            handle.remove()
            cosines.append((out * target).sum() / (out.norm() * target.norm()))
        spread = (sigma * (1 - lam)) ** 2
        kl = 0.5 * (spread + (lam * a) ** 2 - 1 - torch.log(spread))
        (grad,) = torch.autograd.grad(beta * kl.mean() - torch.stack(cosines).mean(), alpha)
        first, second = 0.9 * first + 0.1 * grad, 0.999 * second + 0.001 * grad**2
        alpha = alpha.detach() - (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
    return kl.detach().sum(-1)[0]


def reference(folder: Path, layer: dict[str, int], **settings: Any) -> dict[str, np.ndarray]:
    """The two maps from transformers alone."""
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    module = AutoModel.from_pretrained(folder, dtype=torch.float64).eval()
    flexible = module.config.model_type == "siglip2"
    processor = AutoImageProcessor.from_pretrained(folder, **({} if flexible else {"backend": "pil"}))
    images = dict(processor(images=Image.fromarray(photo()), return_tensors="pt"))
    ids = AutoTokenizer.from_pretrained(folder)(
        [TEXT], padding="max_length", max_length=40, return_tensors="pt"
    )
    images["pixel_values"] = images["pixel_values"].double()
    rows, columns = images["spatial_shapes"][0].tolist() if flexible else (4, 4)

    def image() -> Any:
        return module.get_image_features(**images).pooler_output

    def text() -> Any:
        return module.get_text_features(input_ids=ids["input_ids"]).pooler_output

    with torch.no_grad():
        targets = {"image": text(), "text": image()}
    blocks: dict[str, Any] = {"image": module.vision_model, "text": module.text_model}
    read = {"image": rows * columns if flexible else None, "text": None}
    if flexible:
        assert rows * columns < images["pixel_values"].shape[1]
    found = {
        name: capacity(
            embed, blocks[name].encoder.layers[layer[name]], targets[name], read=read[name], **settings
        )
        for name, embed in (("image", image), ("text", text))
    }
    return {"image": found["image"].reshape(rows, columns).numpy(), "text": found["text"].numpy()}


@pytest.mark.parametrize(
    ("image", "text", "beta", "variance"), [(0, 0, 0.1, 1.0), (1, 1, 0.02, 0.5), (2, 1, 0.1, 1.0)]
)
def test_maps_are_those_of_the_method(
    folder: Path, image: int, text: int, beta: float, variance: float
) -> None:
    """The last block of three is one for images alone: of a text it is read at one position."""
    layer = {"image": image, "text": text}
    settings: dict[str, Any] = {"beta": beta, "variance": variance, "steps": 5, "samples": 3}
    wanted = reference(folder, layer, **settings)
    model = load(folder, dtype="float64")
    explanation = m2ib.explain(model, image=photo(), text=TEXT, seed=3, layer=layer, **settings)
    for modality in ("image", "text"):
        grid = explanation[modality].grid
        assert grid.shape == wanted[modality].shape
        assert grid.std() > 0.1
        np.testing.assert_allclose(grid, wanted[modality], rtol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_other_methods(folder: Path, method: str) -> None:
    """Some keep what speaks for the other side alone, and with random weights that may be nothing: then another text."""
    model = load(folder)
    said = {"image": False, "text": False}
    for text in (TEXT, "two cats", "a yellow bus in the street"):
        explanation = m2ib.explain(model, image=photo(), text=text, method=method)
        assert explanation["image"].grid.shape == model.item("image", photo()).layout.grid
        assert explanation["text"].grid.shape == (40,)
        for attribution in explanation:
            assert np.isfinite(attribution.grid).all()
            said[attribution.modality] |= bool(attribution.grid.std() > 0)
        if all(said.values()):
            return
    raise AssertionError(f"{method} says nothing of {said}")


def test_on_the_command_line(naflex: Path, tmp_path: Path) -> None:
    Image.fromarray(photo()).save(tmp_path / "photo.png")
    done = subprocess.run(
        [
            sys.executable, "-m", "m2ib", "explain", "--model", "siglip", f"checkpoint={naflex}", "options.max_patches=12",
            "--image", str(tmp_path / "photo.png"), "--text", TEXT, "--out", str(tmp_path / "report"), "device=cpu",
        ],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert Path(done.stdout.strip().splitlines()[-1]).stat().st_size > 0
    loaded = m2ib.load_explanation(next((tmp_path / "report").rglob("manifest.json")).parent)
    assert loaded["image"].grid.size <= 12
