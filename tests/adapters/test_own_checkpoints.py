"""Checkpoints as training code writes them are opened as their weights alone are; what cannot be is told by what is in it."""

from __future__ import annotations

import json
import shutil
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import m2ib
from open_clip_models import CPU, VIT, photo
from tiny_clip import END, START, save_tiny_clip

IDS = torch.tensor([START, 5, 60, END])


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import open_clip

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "plain.pt"
    torch.save(open_clip.CLIP(**VIT).state_dict(), path)
    return path


def trained(state: dict[str, Any]) -> dict[str, Any]:
    """What is beside weights in a training checkpoint: a real optimizer's state, options, NumPy's numbers."""
    net = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return {
        "epoch": 3,
        "optimizer": optimizer.state_dict(),
        "args": Namespace(lr=0.1, out="a"),
        "best": np.float64(0.5),
        **state,
    }


@pytest.mark.parametrize(
    "prefix", ["", "module.", "_orig_mod.", "model.", "module.model.", "clip.", "_orig_mod.module."]
)
@pytest.mark.parametrize("nest", ["", "state_dict", "model_state_dict", "model"])
def test_an_open_clip_as_training_code_writes_it(plain: Path, tmp_path: Path, prefix: str, nest: str) -> None:
    state = {prefix + key: value for key, value in torch.load(plain).items()}
    path = tmp_path / "trained.pt"
    torch.save(trained({nest: state}) if nest else state, path)
    found, wanted = (
        m2ib.load_model("open-clip", architecture=VIT, checkpoint=file, **CPU).module.state_dict()
        for file in (path, plain)
    )
    assert all(torch.equal(found[key], value) for key, value in wanted.items())


def test_a_losss_own_weights_are_left_out_and_named(plain: Path, tmp_path: Path) -> None:
    state = {f"model.{key}": value for key, value in torch.load(plain).items()}
    torch.save({"state_dict": {**state, "loss.margin": torch.ones(1)}}, tmp_path / "lightning.ckpt")
    with pytest.warns(m2ib.M2IBWarning, match="weights beside the model's, which are left out: loss.margin"):
        m2ib.load_model("open-clip", architecture=VIT, checkpoint=tmp_path / "lightning.ckpt", **CPU)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"optimizer": {"state": {}}, "epoch": 3}, "holds no state dict .*; its names are optimizer, epoch, which look like an optimizer's"),
        ({"vision_model.a": torch.ones(1)}, "its names are vision_model.a, which look like transformers' CLIPModel"),
        ({"a.lora_A.weight": torch.ones(1)}, "look like PEFT's, which belong to a base model"),
        ({"state_dict": {"w": torch.ones(1)}}, "its names are w$"),
    ],
)  # fmt: skip
def test_what_was_found_is_said(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    torch.save(content, tmp_path / "file.pt")
    with pytest.raises(m2ib.CheckpointError, match=message):
        m2ib.load_model("open-clip", architecture=VIT, checkpoint=tmp_path / "file.pt", **CPU)


def test_code_is_never_run(tmp_path: Path) -> None:
    class Code:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"state_dict": {"w": torch.ones(1)}, "args": Code()}, tmp_path / "file.pt")
    with pytest.raises(m2ib.CheckpointError, match="may run code and is not opened"):
        m2ib.load_model("open-clip", architecture=VIT, checkpoint=tmp_path / "file.pt", **CPU)
    assert not (tmp_path / "ran").exists()


def test_positions_are_interpolated_to_another_size(tmp_path: Path) -> None:
    import open_clip
    from open_clip.model import resize_pos_embed

    square = {**VIT, "vision_cfg": {**VIT["vision_cfg"], "image_size": 32}}
    state = open_clip.CLIP(**square).state_dict()
    torch.save(state, tmp_path / "square.pt")
    model = m2ib.load_model(
        "open-clip", architecture=square, checkpoint=tmp_path / "square.pt", image_size=64, **CPU
    )
    wanted = dict(state)
    resize_pos_embed(wanted, model.module)
    assert wanted["visual.positional_embedding"].shape != state["visual.positional_embedding"].shape
    assert torch.equal(
        model.module.visual.positional_embedding,
        wanted["visual.positional_embedding"].double().to(model.dtype),
    )
    assert model.item("image", photo()).inputs.shape == (3, 64, 64)
    assert model.origin["image_size"] == 64
    larger = {**VIT, "vision_cfg": {**VIT["vision_cfg"], "image_size": 64}}
    with pytest.raises(
        m2ib.CheckpointError, match="positions for images of another size are interpolated with image_size="
    ):
        m2ib.load_model("open-clip", architecture=larger, checkpoint=tmp_path / "square.pt", **CPU)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("clip"), blocks=3)


@pytest.mark.parametrize("prefix", ["model.", "_orig_mod.", "module.model.", "clip."])
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_clips_folder_with_changed_names(folder: Path, tmp_path: Path, prefix: str, name: str) -> None:
    from safetensors.torch import load_file

    state = {prefix + key: value.clone() for key, value in load_file(folder / "model.safetensors").items()}
    shutil.copy(folder / "config.json", tmp_path)
    if name.endswith("bin"):
        torch.save(state, tmp_path / name)
    else:
        save_file(state, tmp_path / name, {"format": "pt"})
    found, wanted = (m2ib.load_model("clip", checkpoint=place, device="cpu") for place in (tmp_path, folder))
    weights = found.module.state_dict()
    assert all(torch.equal(weights[key], value) for key, value in wanted.module.state_dict().items())


@pytest.mark.parametrize("prefix", ["", "module.model."])
@pytest.mark.parametrize("name", ["a.safetensors", "b.pt", "c.ckpt"])
def test_a_clips_weights_alone(folder: Path, tmp_path: Path, prefix: str, name: str) -> None:
    """They are another model's than those beside the config.json."""
    from transformers import CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    config = tmp_path / "described"
    shutil.copytree(folder, config)
    CLIPImageProcessorPil(size=40, crop_size=32, image_mean=0.3).save_pretrained(config)
    torch.manual_seed(5)
    net = CLIPModel(CLIPModel.from_pretrained(folder).config)
    state = {prefix + key: value for key, value in net.state_dict().items()}
    file = tmp_path / name
    if name.endswith("safetensors"):
        save_file(state, file)
    else:
        torch.save(trained({"state_dict": state}) if name.endswith("ckpt") else state, file)
    model = m2ib.load_model("clip", checkpoint=file, config=config, device="cpu")
    weights = model.module.state_dict()
    assert all(torch.equal(weights[key], value) for key, value in net.state_dict().items())
    assert model.item("image", photo()).origin["mean"] == pytest.approx([0.3] * 3)
    assert (model.origin["checkpoint"], model.origin["config"]) == (str(file), str(config))


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {}, "is a file, which does not say what model its weights are of; say it too with config='openai/"),
        ({"visual_projection.weight": None}, {"config": ""}, "lacks or misshapes 1 weights that the config.json of '.*' describes, first visual_projection.weight;"),
        ({"visual_projection.weight": torch.ones(3, 3)}, {"config": ""}, "lacks or misshapes 1 weights .* first visual_projection.weight;"),
        ({"text_model.encoder.layers.3.mlp.fc1.bias": torch.ones(3)}, {"config": ""}, "holds 1 weights that the config.json of .* does not describe, first text_model.encoder.layers.3"),
    ],
)  # fmt: skip
def test_weights_of_another_clip(
    folder: Path, tmp_path: Path, change: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    from safetensors.torch import load_file

    state = load_file(folder / "model.safetensors") | change
    torch.save({key: value for key, value in state.items() if value is not None}, tmp_path / "weights.pt")
    options = dict.fromkeys(options, folder)
    with pytest.raises(m2ib.CheckpointError, match=message):
        m2ib.load_model("clip", checkpoint=tmp_path / "weights.pt", device="cpu", **options)


def test_config_is_of_a_file_of_weights(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    with pytest.raises(m2ib.SettingError, match="config is for a checkpoint that is a file of weights, and"):
        m2ib.load_model("clip", checkpoint=folder, config=folder, device="cpu")
    state = load_file(folder / "model.safetensors")
    torch.save(state | {"classifier.weight": torch.ones(3)}, tmp_path / "weights.pt")
    with pytest.warns(m2ib.M2IBWarning, match="beside the model's, which are left out: classifier.weight"):
        m2ib.load_model("clip", checkpoint=tmp_path / "weights.pt", config=folder, device="cpu")


def test_a_folder_whose_config_describes_less_than_its_weights(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "cut")
    config = json.loads((tmp_path / "cut" / "config.json").read_text())
    config["vision_config"]["num_hidden_layers"] -= 1
    (tmp_path / "cut" / "config.json").write_text(json.dumps(config))
    with pytest.warns(
        m2ib.M2IBWarning, match="weights that its config.json does not describe, .* first vision_model"
    ):
        m2ib.load_model("clip", checkpoint=tmp_path / "cut", device="cpu")


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing", "ignore:.*without processor=")
def test_a_peft_folder_is_merged_into_its_base(folder: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    from transformers import CLIPModel

    changed = peft.get_peft_model(
        CLIPModel.from_pretrained(folder), peft.LoraConfig(r=2, target_modules=["q_proj", "fc1"])
    )
    for name, parameter in changed.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.3)
    changed.save_pretrained(tmp_path)
    model = m2ib.load_model("clip", checkpoint=tmp_path, device="cpu")
    wanted = m2ib.load_model("clip", checkpoint=changed)
    torch.testing.assert_close(model.embed("text", IDS[None]), wanted.embed("text", IDS[None]))
    base = m2ib.load_model("clip", checkpoint=folder, device="cpu")
    assert (model.embed("text", IDS[None]) - base.embed("text", IDS[None])).abs().max() > 1e-3
    assert model.origin["base"] == str(folder)


def test_a_peft_folder_without_a_base(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    with pytest.raises(m2ib.CheckpointError, match="is PEFT's folder, whose adapter_config"):
        m2ib.load_model("clip", checkpoint=tmp_path, device="cpu")


def test_a_clips_positions_are_interpolated(folder: Path, tmp_path: Path) -> None:
    """As transformers does it call by call; patches of 8 pixels, 32 pixels at first."""
    from transformers import CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    shutil.copytree(folder, tmp_path / "clip")
    CLIPImageProcessorPil(size=40, crop_size=32).save_pretrained(tmp_path / "clip")
    model = m2ib.load_model("clip", checkpoint=tmp_path / "clip", device="cpu", image_size=52)
    item = model.item("image", photo(130, 130))
    assert item.layout.grid == (6, 6)
    assert item.view.region == (12, 12, 108, 108)  # of 65 pixels 6 are cut, of 52 are 48 read
    net = CLIPModel.from_pretrained(folder)
    with torch.no_grad():
        features = net.get_image_features(item.inputs[None], interpolate_pos_encoding=True).pooler_output
    wanted = nn.functional.normalize(features, dim=-1)
    torch.testing.assert_close(model.embed("image", item.inputs[None]), wanted, rtol=1e-4, atol=1e-5)
    assert model.origin["positions"] == "interpolated"
    with pytest.raises(m2ib.SettingError, match="image_size is a whole number > 0, not 'big'"):
        m2ib.load_model("clip", checkpoint=folder, device="cpu", image_size="big")
