"""Sizes, embeddings and maps of the model that ships, with random weights; scenes as its inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import m2ib
import naive
import naive_imagebind as naive_model
from m2ib.scenes import Scene, scenes
from m2ib_adapters.imagebind_tiny.architecture import ARCHITECTURE, SECONDS, preparations
from scene_model import MODALITIES, SIZES, SceneModel, branch, example, naive_input, naive_sizes

SIDE = SIZES["pixels"] // SIZES["kernel_size"][1]
GRIDS = {
    "image": (SIDE, SIDE),
    "audio": (
        1,
        *(
            (size - kernel) // stride + 1
            for size, kernel, stride in zip(
                (SIZES["audio_num_mel_bins"], SIZES["audio_target_len"]),
                naive_model.pair(SIZES["audio_kernel_size"]),
                naive_model.pair(SIZES["audio_stride"]),
                strict=True,
            )
        ),
    ),
    "depth": (SIZES["pixels"] // SIZES["depth_kernel_size"],) * 2,
    "thermal": (SIZES["pixels"] // SIZES["thermal_kernel_size"],) * 2,
    "imu": (SIZES["imu_samples"] // SIZES["imu_window"],),
}


@pytest.fixture(scope="module")
def pair() -> list[Scene]:
    return scenes([5, 6], count=2)


def test_it_is_small_enough_to_ship(tiny: SceneModel) -> None:
    count = sum(parameter.numel() for parameter in tiny.model.module.parameters())
    assert 1_000_000 < count <= 4_000_000
    tensors = tiny.model.module.state_dict().values()
    assert sum(2 * tensor.numel() for tensor in tensors) <= 8_000_000  # bytes of fp16


def test_keys_and_shapes_are_those_of_imagebind(tiny: SceneModel) -> None:
    ours = {key: tuple(value.shape) for key, value in tiny.model.module.state_dict().items()}
    assert ours == naive_model.shapes(SIZES)
    assert type(tiny.model.module).__name__ == "ImageBind"


def test_modalities(tiny: SceneModel) -> None:
    assert tiny.model.modalities == MODALITIES


@pytest.mark.parametrize("modality", MODALITIES)
def test_embeddings_are_those_of_the_naive_model(tiny: SceneModel, modality: str) -> None:
    raws = [example(modality, seed) for seed in (1, 2)]
    inputs = tiny.model.preprocess(modality, raws)
    ours = tiny.model.encoder(modality).embed(inputs)  # scaled
    rows = [
        naive_model.embed(tiny.state, branch(modality), naive_input(modality, raw), **naive_sizes(modality))[
            0
        ]
        for raw in raws
    ]
    assert ours.shape == (2, SIZES["out_embed_dim"])
    torch.testing.assert_close(ours, torch.stack(rows), rtol=0, atol=1e-10)
    assert (rows[0] - rows[1]).abs().max() > 1e-2


@pytest.mark.parametrize("modality", MODALITIES)
def test_maps_are_those_of_the_textbook(tiny: SceneModel, modality: str) -> None:
    other = "text" if modality != "text" else "image"
    x, y = example(modality, 1), example(other, 2)
    settings: dict[str, Any] = {"beta": 0.1, "variance": 1.0, "steps": 2, "samples": 2}
    explanation = m2ib.explain(tiny.model, (modality, x), (other, y), layer=0, **settings)
    target = naive_model.embed(tiny.state, branch(other), naive_input(other, y), **naive_sizes(other))
    if modality == "text":
        settings["read"] = len(x)
    probe = nn.Identity()

    def embed() -> torch.Tensor:
        how = {**naive_sizes(modality), "through": (0, probe)}
        return naive_model.embed(tiny.state, branch(modality), naive_input(modality, x), **how)

    expected = naive.capacity(embed, probe, target, **settings)
    np.testing.assert_allclose(explanation[modality].capacity, expected.numpy(), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("modality", MODALITIES)
def test_scenes_pass_without_a_warning_and_have_the_models_grid(
    tiny: SceneModel, pair: list[Scene], modality: str
) -> None:
    item = tiny.model.item(modality, pair[0].inputs[modality])
    assert "warnings" not in item.origin
    inputs = tiny.model.preprocess(modality, [scene.inputs[modality] for scene in pair])
    assert torch.isfinite(tiny.model.embed(modality, inputs)).all()
    if modality == "text":
        words = [token.text for token in item.layout.tokens if not token.special]
        assert words == pair[0].text.split()
        assert item.layout.grid == (len(words) + 2,)
    else:
        assert item.layout.grid == GRIDS[modality]
        assert tuple(len(axis.spans) for axis in item.layout.axes) == GRIDS[modality]


def test_what_lies_where(tiny: SceneModel, pair: list[Scene]) -> None:
    def ends(modality: str, axis: str) -> tuple[float, float]:
        layout = tiny.model.item(modality, pair[0].inputs[modality]).layout
        spans = next(each.spans for each in layout.axes if each.name == axis)
        return spans[0][0], spans[-1][1]

    for modality in ("image", "depth", "thermal"):
        assert ends(modality, "row") == ends(modality, "column") == (0, SIZES["pixels"])
    assert ends("imu", "time") == (0, SECONDS)
    assert ends("audio", "clip") == (0, SECONDS)
    low, high = ends("audio", "frequency")
    assert low == pytest.approx(20, abs=0.1)
    assert high == pytest.approx(8000, abs=0.1)


def test_training_and_adapter_prepare_alike(tiny: SceneModel, pair: list[Scene]) -> None:
    ready = preparations()
    assert ready.video is None
    for modality in ("image", "audio", "depth", "thermal", "imu"):
        ours = tiny.model.item(modality, pair[0].inputs[modality]).inputs
        theirs = getattr(ready, modality).prepare(pair[0].inputs[modality]).inputs
        torch.testing.assert_close(theirs, ours, rtol=0, atol=0)


def test_inputs_are_standardized(pair: list[Scene]) -> None:
    many = scenes(range(20))
    ready = preparations()
    for modality in ("image", "audio", "depth", "thermal"):
        inputs = torch.stack(
            [getattr(ready, modality).prepare(each.inputs[modality]).inputs for each in many]
        )
        assert abs(float(inputs.mean())) < 0.5, modality
        assert 0.5 < float(inputs.std()) < 1.5, modality


def test_the_users_options_reach_the_preparations(pair: list[Scene]) -> None:
    walk = np.repeat(pair[0].imu[0], 2, axis=1)  # (6, 400) at 200 a second
    model = m2ib.load_model("imagebind-tiny", checkpoint="random", device="meta", imu={"rate": 200})
    assert model.item("imu", walk).origin["rate"] == 200
    with pytest.raises(m2ib.SettingError, match=r"imagebind-tiny: depth is a dict of options, not str"):
        m2ib.load_model("imagebind-tiny", device="meta", depth="kinect-v2")
    with pytest.raises(m2ib.SettingError, match="audio: no option 'clip'; there are clips"):
        m2ib.load_model("imagebind-tiny", device="meta", audio={"clip": 2})


@pytest.mark.parametrize("modality", MODALITIES)
def test_reference_inputs_are_scenes_and_always_the_same(tiny: SceneModel, modality: str) -> None:
    reference = tiny.model.encoder(modality).reference
    assert reference is not None
    first, again = reference(), reference()
    assert len(first) == 64
    for one, other in zip(first[:3], again, strict=False):
        inputs = tiny.model.preprocess(modality, [one]), tiny.model.preprocess(modality, [other])
        torch.testing.assert_close(*inputs, rtol=0, atol=0)


def test_steps_between_cells(tiny: SceneModel) -> None:
    stride = {modality: encoder.stride for modality, encoder in tiny.model.encoders.items()}
    assert stride == {
        "image": SIZES["kernel_size"][1:],
        "text": None,
        "audio": naive_model.pair(SIZES["audio_stride"]),
        "depth": (SIZES["depth_kernel_size"],) * 2,
        "thermal": (SIZES["thermal_kernel_size"],) * 2,
        "imu": (SIZES["imu_window"],),
    }


def test_sizes_are_said_once(tiny: SceneModel) -> None:
    architecture: Any = tiny.model.module.architecture  # type: ignore[union-attr]
    assert {name: getattr(architecture, name) for name in ARCHITECTURE} == ARCHITECTURE
