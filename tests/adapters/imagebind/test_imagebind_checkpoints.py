"""The official key layout, and files that keep to it or do not."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import m2ib
import naive_imagebind as naive_model
from tiny_imagebind import TinyImageBind, released_shapes

SMALL = naive_model.SMALL


def load(**options: Any) -> m2ib.Model:
    return m2ib.load_model("imagebind", device="cpu", **options)


def test_keys_and_shapes_at_full_size_are_the_official_ones() -> None:
    model = m2ib.load_model("imagebind", checkpoint=None, device="meta")
    ours = {key: tuple(value.shape) for key, value in model.module.state_dict().items()}
    assert ours == released_shapes()
    assert len(ours) == 1311
    assert sum(value.numel() for value in model.module.state_dict().values()) == 1_200_786_990
    assert all(value.device.type == "meta" for value in model.module.state_dict().values())


def test_keys_and_shapes_of_small_ones_follow_the_sizes(small: TinyImageBind) -> None:
    ours = {key: tuple(value.shape) for key, value in small.model.module.state_dict().items()}
    assert ours == naive_model.shapes(SMALL)


@pytest.mark.parametrize("kind", ["pth", "old pth", "nested pth", "safetensors", "folder"])
def test_every_kind_of_file_gives_the_same_weights(small: TinyImageBind, kind: str, tmp_path: Path) -> None:
    path = tmp_path / ("model.safetensors" if kind in ("safetensors", "folder") else "weights.pth")
    if kind == "pth":
        torch.save(small.state, path)
    elif kind == "old pth":
        torch.save(small.state, path, _use_new_zipfile_serialization=False)
    elif kind == "nested pth":
        torch.save({"state_dict": small.state, "epoch": 3}, path)
    else:
        save_file(small.state, path)
    options: dict[str, Any] = {"architecture": SMALL}
    if kind == "folder":  # as the hub's mixin writes it
        (tmp_path / "config.json").write_text(json.dumps({**SMALL, "unknown": 1}), encoding="utf-8")
        options = {}
    model = load(checkpoint=tmp_path if kind == "folder" else path, dtype="float64", **options)
    for key, value in model.module.state_dict().items():
        assert torch.equal(value, small.state[key]), key
    path.unlink()  # the weights are not bound to the file
    assert torch.isfinite(model.embed("imu", torch.zeros(1, 6, 2000))).all()


def test_weights_come_in_the_dtype_that_is_asked_for(small: TinyImageBind) -> None:
    model = load(checkpoint=small.path, architecture=SMALL, dtype="bfloat16")
    assert {value.dtype for value in model.module.state_dict().values()} == {torch.bfloat16}
    x = torch.randn(3, 224, 224, generator=torch.Generator().manual_seed(0))
    full = small.model.embed("image", x[None])
    half = model.embed("image", x[None])
    assert half.dtype == torch.float32
    assert torch.cosine_similarity(full, half).item() > 0.99


def test_random_weights_are_seeded_and_warned_of() -> None:
    with pytest.warns(m2ib.M2IBWarning, match="without a checkpoint was loaded; its weights are random"):
        first, second = (load(architecture=SMALL) for _ in range(2))
    before = torch.random.get_rng_state()
    for (key, a), b in zip(
        first.module.state_dict().items(), second.module.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), key
    assert torch.equal(before, torch.random.get_rng_state())
    assert "license" not in first.origin  # they are nobody's


def without(state: dict[str, Tensor], *keys: str) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key not in keys}


CLS = "modality_preprocessors.imu.cls_token"
POS = "modality_preprocessors.imu.pos_embed"


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_wrong_keys_are_named(small: TinyImageBind, suffix: str, tmp_path: Path) -> None:
    state = without(small.state, CLS) | {POS: torch.zeros(1, 5, 16), "more": torch.zeros(2)}
    path = tmp_path / f"wrong.{suffix}"
    if suffix == "pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    with pytest.raises(m2ib.CheckpointError) as caught:
        load(checkpoint=path, architecture=SMALL)
    message = str(caught.value)
    assert message.startswith(
        f"imagebind: checkpoint '{path}' is not of this architecture: 3 keys differ, first "
    )
    assert f"{CLS} (missing)" in message
    assert f"{POS} ((1, 5, 16) instead of (1, 251, 16))" in message
    assert "more (extra)" in message
    assert message.endswith("name the sizes it was trained with (architecture={...}, options.architecture)")


def test_a_key_that_is_missing_is_no_matter_of_sizes(small: TinyImageBind, tmp_path: Path) -> None:
    torch.save(without(small.state, CLS), tmp_path / "less.pth")
    message = f"1 key differs: {CLS} \\(missing\\); the file is incomplete or was changed"
    with pytest.raises(m2ib.CheckpointError, match=message):
        load(checkpoint=tmp_path / "less.pth", architecture=SMALL)


def test_another_models_weights(tmp_path: Path) -> None:
    torch.save(
        {"visual.conv1.weight": torch.zeros(2), "ln_final.weight": torch.zeros(2)}, tmp_path / "clip.pth"
    )
    with pytest.raises(
        m2ib.CheckpointError, match=r"is not ImageBind's: .*a CLIP opens with the adapters 'clip'"
    ):
        load(checkpoint=tmp_path / "clip.pth", architecture=SMALL)


def test_wrappings_of_training_are_taken_off(small: TinyImageBind, tmp_path: Path) -> None:
    wrapped = {"model": {f"module.{key}": value for key, value in small.state.items()}}
    torch.save(wrapped, tmp_path / "ddp.pth")
    model = load(checkpoint=tmp_path / "ddp.pth", architecture=SMALL, dtype="float64")
    assert torch.equal(model.module.state_dict()[CLS], small.state[CLS])


def test_weights_are_floating_point(small: TinyImageBind, tmp_path: Path) -> None:
    torch.save({**small.state, CLS: small.state[CLS].long()}, tmp_path / "int.pth")
    with pytest.raises(m2ib.CheckpointError, match=r"cls_token \(torch.int64, not floating-point numbers\)"):
        load(checkpoint=tmp_path / "int.pth", architecture=SMALL)


def test_a_script_archive_is_not_opened(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its deprecation
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "script.pt")
    with pytest.raises(
        m2ib.CheckpointError, match="is a TorchScript archive, which holds code and is not opened"
    ):
        load(checkpoint=tmp_path / "script.pt", architecture=SMALL)


def test_sizes_beside_a_checkpoint(small: TinyImageBind, tmp_path: Path) -> None:
    torch.save(small.state, tmp_path / "weights.pth")
    config = tmp_path / "config.json"
    config.write_text(json.dumps(SMALL), encoding="utf-8")
    model = load(checkpoint=tmp_path / "weights.pth", architecture={"audio_drop_path": 0.3})
    assert model.origin["architecture"]["audio_drop_path"] == 0.3
    config.write_text(json.dumps({"kernel_size": 5, "model_type": "other"}), encoding="utf-8")
    load(checkpoint=tmp_path / "weights.pth", architecture=SMALL)  # another model's


def test_only_the_first_five_of_many_wrong_keys_are_named(small: TinyImageBind) -> None:
    with pytest.raises(m2ib.CheckpointError) as caught:
        load(checkpoint=small.path)  # the sizes of the published model
    assert str(caught.value).count(" instead of ") == 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04 not a zip", "cannot be loaded"),
        (None, "does not exist; give a local file"),
    ],
)
def test_files_that_are_none(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(m2ib.CheckpointError, match=message):
        load(checkpoint=path)


def test_a_pickle_that_could_run_code_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"a": Path("x")}, path)
    with pytest.raises(m2ib.CheckpointError, match="may run code and is not opened"):
        load(checkpoint=path)


def test_a_tensor_is_no_state_dict(tmp_path: Path) -> None:
    torch.save(torch.zeros(3), tmp_path / "one.pth")
    with pytest.raises(m2ib.CheckpointError, match="holds no state dict"):
        load(checkpoint=tmp_path / "one.pth")


def test_a_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(
        m2ib.CheckpointError, match=r"is a folder without model.safetensors or imagebind_huge.pth"
    ):
        load(checkpoint=tmp_path)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"vision_embed": 3}, "architecture has no size 'vision_embed'; did you mean 'vision_embed_dim'"),
        ({"imu_num_heads": 7}, "imu_num_heads=7 does not divide imu_embed_dim=512"),
        ({"text_num_blocks": 0}, "text_num_blocks=0 is not a whole number > 0"),
        ({"text_num_blocks": 1.5}, "text_num_blocks=1.5 is not a whole number > 0"),
        ({"video_frames": 4}, "video_frames=4 with kernel_size"),
        ({"kernel_size": (2, 14, 16)}, "is not \\(frames, side, side\\) of a square patch"),
        ({"kernel_size": 14}, "kernel_size=14 is not \\(frames, side, side\\)"),
        ({"audio_kernel_size": 200}, "audio_kernel_size=200 is larger than its input, 128 samples wide"),
        (
            {"audio_kernel_size": (16, 300)},
            "audio_kernel_size=300 is larger than its input, 204 samples wide",
        ),
        (
            {"audio_stride": (4, 5, 6)},
            r"audio_stride=\(4, 5, 6\) is neither a number nor a pair \(bands, frames\)",
        ),
        ({"audio_stride": (4, 0)}, "audio_stride=0 is not a whole number > 0"),
        ({"pixels": 12}, "kernel_size=14 is larger than its input, 12 samples wide"),
        ({"pixels": 15}, "depth_kernel_size=16 is larger than its input, 15 samples wide"),
        ({"imu_window": 7}, "imu_window=7 does not divide imu_samples=2000"),
        (
            {"context_length": 2},
            "context_length=2 holds no text: a start token, a word and an end token are 3",
        ),
        ({"vocabulary_size": 0}, "vocabulary_size=0 is not a whole number > 0"),
        ({"imu_drop_path": "x"}, "imu_drop_path='x' is not a number from 0 to 1"),
        ([1], "architecture is a dict of sizes, not list"),
    ],
)
def test_sizes_that_cannot_be_built(sizes: Any, message: str) -> None:
    with pytest.raises(m2ib.SettingError, match=message):
        m2ib.load_model("imagebind", architecture=sizes, device="meta")


OTHERS: dict[str, Any] = {
    "pixels": 112,
    "vocabulary_size": 50,
    "context_length": 9,
    "imu_samples": 60,
    "imu_window": 5,
    "audio_kernel_size": [12, 7],
    "audio_stride": [6, 7],
}
"""What the official constructor fixes, otherwise; as JSON has it."""


def test_what_the_official_constructor_fixes_may_be_otherwise(tmp_path: Path) -> None:
    sizes = SMALL | {**OTHERS, "audio_kernel_size": (12, 7), "audio_stride": (6, 7)}
    state = naive_model.random_state(sizes, seed=1)
    torch.save(state, tmp_path / "weights.pth")
    (tmp_path / "config.json").write_text(json.dumps({**SMALL, **OTHERS}), encoding="utf-8")
    model = load(checkpoint=tmp_path / "weights.pth", dtype="float64")
    assert {
        key: tuple(value.shape) for key, value in model.module.state_dict().items()
    } == naive_model.shapes(sizes)
    generator = torch.Generator().manual_seed(0)
    inputs = {
        "vision": torch.randn(2, 3, 112, 112, generator=generator, dtype=torch.float64),
        "audio": torch.randn(2, 1, 36, 56, generator=generator, dtype=torch.float64),
        "imu": torch.randn(2, 6, 60, generator=generator, dtype=torch.float64),
        "text": torch.tensor([[48, 3, 4, 49, 0, 0, 0, 0, 0], [48, 5, 6, 7, 8, 9, 2, 1, 49]]),
    }
    with torch.no_grad():
        out = model.module(inputs)
    for name, x in inputs.items():
        how = {"audio_stride": (6, 7), "window": 5, "pixels": 112, "heads": SMALL[f"{name}_num_heads"]}
        torch.testing.assert_close(out[name], naive_model.embed(state, name, x, **how), rtol=0, atol=1e-10)
    assert model.item("image", np.zeros((130, 120, 3), np.uint8)).inputs.shape == (3, 112, 112)
    assert model.item("audio", inputs["audio"][0]).layout.grid == (5, 8)
    assert model.encoder("audio").stride == (6, 7)
    assert model.item("video", torch.zeros(3, 2, 112, 112)).layout.grid == (2, 2)
    with pytest.raises(m2ib.InputError, match="outside the model's vocabulary of 50"):
        model.item("text", "a dog barks")


def test_sizes_may_be_numpys() -> None:
    model = m2ib.load_model("imagebind", architecture={"out_embed_dim": np.int64(64)}, device="meta")
    assert model.origin["architecture"] == {"out_embed_dim": 64}


@pytest.mark.parametrize("size", [0, 15, 224.0, True, -14])
def test_image_sizes_are_multiples_of_the_patch(size: Any) -> None:
    with pytest.raises(m2ib.SettingError, match="is not a multiple of the patch, 14 pixels"):
        m2ib.load_model("imagebind", image_size=size, device="meta")


def test_a_model_on_meta_explains_nothing() -> None:
    model = m2ib.load_model("imagebind", device="meta")
    with pytest.raises(m2ib.InputError, match="is on the device 'meta'"):
        m2ib.explain(model, text=torch.tensor([49406, 5, 49407]), imu=torch.zeros(6, 2000))
