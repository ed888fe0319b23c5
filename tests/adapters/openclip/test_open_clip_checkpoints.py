"""Architectures and checkpoints: what loads, and what is said of what does not."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import m2ib
from open_clip_models import CPU, QUIET, RESNET, VIT, Loaded, module_of, photo, save_and_load


def test_files_of_all_kinds_load_alike(loaded: Callable[[str], Loaded], tmp_path: Path) -> None:
    from safetensors.torch import save_file

    vit = loaded("vit")
    state = module_of(VIT).state_dict()
    save_file(state, tmp_path / "weights.safetensors")
    training = {
        "epoch": 3,
        "name": "x",
        "state_dict": {f"module.{key}": value for key, value in state.items()},
    }
    torch.save(training, tmp_path / "epoch_3.pt")
    openai = {**state, "input_resolution": torch.tensor(32), "context_length": torch.tensor(12)}
    torch.save({key: value.half() for key, value in openai.items()}, tmp_path / "openai.bin")
    (tmp_path / "config.json").write_text(json.dumps(VIT), encoding="utf-8")
    expected = vit.model.embed("text", vit.model.preprocess("text", ["a dog"]))
    for name in ("weights.safetensors", "epoch_3.pt", "openai.bin"):
        model = m2ib.load_model(
            "open-clip", architecture=tmp_path / "config.json", checkpoint=str(tmp_path / name), **CPU
        )
        got = model.embed("text", model.preprocess("text", ["a dog"]))
        assert torch.allclose(got, expected, atol=1e-3 if "openai" in name else 1e-7)
        assert len(model.origin["sha256"]) == 64
        assert model.origin["architecture"] == str(tmp_path / "config.json")
        assert model.origin["checkpoint"] == str(tmp_path / name)
        json.dumps(model.origin)


def test_a_flat_files_weights_fit_a_separate_text_tower(loaded: Callable[[str], Loaded]) -> None:
    vit = loaded("vit")
    model = m2ib.load_model(
        "open-clip", architecture={**VIT, "custom_text": True}, checkpoint=vit.file, **CPU
    )
    settings = {"layer": 1, "steps": 2, "samples": 2, **QUIET}
    here = m2ib.explain(model, image=photo(), text="a dog", **settings)
    assert np.array_equal(
        here["text"].grid, m2ib.explain(vit.model, image=photo(), text="a dog", **settings)["text"].grid
    )


def test_a_folder_brings_its_own_weights_and_tokenizer(
    folder: Path, loaded: Callable[[str], Loaded], tmp_path: Path
) -> None:
    case = loaded("bert")
    config = json.loads(json.dumps(case.config))
    config["text_cfg"] |= {"hf_tokenizer_name": "not/used", "hf_model_name": "."}
    home = shutil.copytree(folder / "bert", tmp_path / "bert")
    (home / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": {"resize_mode": "longest"}}), encoding="utf-8"
    )
    torch.save(module_of(case.config).state_dict(), home / "open_clip_pytorch_model.bin")
    for name in (home, f"local-dir:{home}"):
        model = m2ib.load_model("open-clip", architecture=name, **CPU)
        assert model.item("image", photo()).origin["fit"] == "pad"
        assert torch.equal(
            model.embed("text", model.preprocess("text", ["the cats"])),
            case.model.embed("text", case.model.preprocess("text", ["the cats"])),
        )


def test_architectures_that_are_not_there(tmp_path: Path) -> None:
    def load(architecture: Any, **options: Any) -> m2ib.Model:
        return m2ib.load_model("open-clip", architecture=architecture, **options, **CPU)

    with pytest.raises(
        m2ib.SettingError, match=r"architecture is missing; give a name as in architecture='ViT-B-32'"
    ):
        m2ib.load_model("open-clip")
    with pytest.raises(m2ib.SettingError, match=r"'vit-b32' is unknown \(did you mean ViT-B-32"):
        load("vit-b32")
    with pytest.raises(
        m2ib.SettingError, match=r"given as a dict is not an open_clip model config: it lacks text_cfg"
    ):
        load({key: value for key, value in VIT.items() if key != "text_cfg"})
    with pytest.raises(m2ib.SettingError, match=r"is a folder without open_clip_config\.json"):
        load(tmp_path)
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")
    with pytest.raises(m2ib.SettingError, match=r"cannot be read as JSON"):
        load(tmp_path / "bad.json")
    with pytest.raises(m2ib.SettingError, match=r"cannot be built by CLIP: .*'colour'"):
        load({**VIT, "vision_cfg": {**VIT["vision_cfg"], "colour": 1}})
    with pytest.raises(m2ib.SettingError, match=r"a name, a file or a dict, not int"):
        load(3)
    with pytest.raises(m2ib.SettingError, match=r"quick_gelu is True, False or None, not 1"):
        load(VIT, quick_gelu=1)
    with pytest.raises(m2ib.CheckpointError, match=r"pool_type 'none'"):
        save_and_load({**VIT, "text_cfg": {**VIT["text_cfg"], "pool_type": "none"}}, tmp_path / "none.pt")
    wrong = {"timm_model_name": "test_vit3", "timm_pool": "map", "timm_proj": "linear", "image_size": 96}
    with pytest.raises(m2ib.CheckpointError, match=r"built for 160x160 pixels, .* image_size 96x96"):
        save_and_load({**VIT, "vision_cfg": wrong}, tmp_path / "size.pt")


def test_checkpoints_that_cannot_be_used(loaded: Callable[[str], Loaded], tmp_path: Path) -> None:
    vit = loaded("vit")

    def load(checkpoint: Any, architecture: Any = VIT) -> m2ib.Model:
        return m2ib.load_model("open-clip", architecture=architecture, checkpoint=checkpoint, **CPU)

    with pytest.raises(
        m2ib.CheckpointError, match=r"checkpoint is missing; .* the tags of ViT-B-32 are openai, laion"
    ):
        load(None, "ViT-B-32")
    with pytest.raises(
        m2ib.CheckpointError, match=r"'laion5b' is neither a file nor .* of ViT-B-32 are openai, laion"
    ):
        load("laion5b", "ViT-B-32")
    with pytest.raises(
        m2ib.CheckpointError, match=r"nowhere.pt' is neither a file nor a pretrained tag; given as a dict"
    ):
        load(tmp_path / "nowhere.pt")
    with pytest.raises(m2ib.CheckpointError, match=r"is a folder; name a file in it"):
        load(tmp_path)
    (tmp_path / "junk.pt").write_bytes(b"this is no archive" * 9)
    with pytest.raises(m2ib.CheckpointError, match=r"junk\.pt' is damaged, or holds more than tensors"):
        load(tmp_path / "junk.pt")
    (tmp_path / "junk.safetensors").write_bytes(b"\xff" * 90)
    with pytest.raises(m2ib.CheckpointError, match=r"junk.safetensors' is not a safetensors file"):
        load(tmp_path / "junk.safetensors")
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    with pytest.raises(m2ib.CheckpointError, match=r"tensor.pt' holds no state dict"):
        load(tmp_path / "tensor.pt")
    wider = {**VIT, "text_cfg": {**VIT["text_cfg"], "layers": 2}, "embed_dim": 8}
    with pytest.raises(m2ib.CheckpointError) as caught:
        load(vit.file, wider)
    assert "vit.pt' is not of the architecture given as a dict: 14 keys differ, first" in str(caught.value)
    assert "text_projection ((32, 16) instead of (32, 8))" in str(caught.value)
    assert "transformer.resblocks.2.ln_1.weight (extra)" in str(caught.value)
    assert str(caught.value).count("(extra)") == 3  # five keys are named
    with pytest.raises(m2ib.CheckpointError, match=r"visual\.bn1\.weight \(missing\)"):
        load(vit.file, RESNET)
    resized = {**VIT, "vision_cfg": {**VIT["vision_cfg"], "image_size": 64}}
    with pytest.raises(
        m2ib.CheckpointError, match=r"visual\.positional_embedding \(\(13, 32\) instead of \(65, 32\)\)"
    ):
        load(vit.file, resized)


class Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, ("raise SystemExit('code of the file was run')",)


def test_a_file_that_holds_code_is_not_run(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.zeros(1)}, "args": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(
        m2ib.CheckpointError, match=r"which may run code and is not opened; save the weights alone"
    ):
        m2ib.load_model("open-clip", architecture=VIT, checkpoint=tmp_path / "evil.pt", **CPU)
    (tmp_path / "evil.bin").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(m2ib.CheckpointError, match=r"may run code and is not opened"):
        m2ib.load_model("open-clip", architecture=VIT, checkpoint=tmp_path / "evil.bin", **CPU)


def test_random_weights_are_seeded_and_warned_of() -> None:
    state = torch.random.get_rng_state()
    models = []
    for _ in range(2):
        with pytest.warns(m2ib.M2IBWarning, match=r"loaded without a checkpoint; its weights are random"):
            models.append(m2ib.load_model("open-clip", architecture=VIT, **CPU))
    first, second = (model.module.state_dict() for model in models)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert models[0].origin["checkpoint"] is None


def test_the_activation_follows_the_tag() -> None:
    """open_clip's entry for OpenAI's weights says quick GELU; the name alone does not."""
    from m2ib_adapters.openclip.architectures import choose, resolve

    source = resolve("ViT-B-32")
    assert choose(source, "openai").tag["quick_gelu"] is True
    assert "quick_gelu" not in choose(source, "laion2b_s34b_b79k").tag
    assert choose(source, "LAION2B-s34b-b79k").name == "laion2b_s34b_b79k"
    assert not source.config.get("quick_gelu")
    assert resolve("ViT-B-32-quickgelu").config["quick_gelu"] is True


def test_a_file_of_openai_weights_can_ask_for_its_activation(loaded: Callable[[str], Loaded]) -> None:
    vit = loaded("vit")
    model = m2ib.load_model("open-clip", architecture=VIT, checkpoint=vit.file, quick_gelu=True, **CPU)
    assert type(model.module.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"
    assert type(vit.model.module.transformer.resblocks[0].mlp.gelu).__name__ == "GELU"
    assert model.origin["quick_gelu"] is True
