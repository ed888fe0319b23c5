"""Where the weights of the model that ships come from, and what is said where they cannot be had."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import m2ib
from m2ib_adapters.imagebind_tiny import adapter
from m2ib_adapters.inputs.media import sha256
from scene_model import SceneModel, example

CLS = "modality_preprocessors.imu.cls_token"


def load(**options: object) -> m2ib.Model:
    return m2ib.load_model("imagebind-tiny", device="cpu", **options)  # type: ignore[arg-type]


@pytest.fixture
def half(tiny: SceneModel, tmp_path: Path) -> Path:
    """The weights as they are packaged: fp16 safetensors with the official keys."""
    save_file({key: value.half() for key, value in tiny.state.items()}, tmp_path / "half.safetensors")
    return tmp_path / "half.safetensors"


def test_a_file_of_half_precision_is_read(tiny: SceneModel, half: Path) -> None:
    model = load(checkpoint=half)
    for key, value in model.module.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, tiny.state[key].half().float()), key
    x = example("image", 1)
    close = torch.cosine_similarity(model.embed("image", x[None]), tiny.model.embed("image", x[None]))
    assert close.item() > 0.999
    assert model.origin["checkpoint"] == str(half)
    assert model.origin["sha256"] == sha256(half)
    assert model.origin["architecture"] == "imagebind-tiny"
    assert "license" not in model.origin


def test_the_packaged_file_is_the_default(half: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "WEIGHTS", half)
    origin = load().origin
    assert origin["checkpoint"] == "packaged"
    assert origin["sha256"] == sha256(half)
    assert origin["license"] == "imagebind-tiny's weights: MIT"
    assert origin["training"] == "trained on m2ib.scenes"


def test_packaged_weights_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "WEIGHTS", tmp_path / "weights.safetensors")
    message = (
        r"imagebind-tiny: the packaged weights are missing \(.*weights.safetensors\); run "
        "`python -m m2ib_adapters.imagebind_tiny.train` to make them"
    )
    with pytest.raises(m2ib.CheckpointError, match=message):
        load()


def test_a_file_that_does_not_exist(tmp_path: Path) -> None:
    message = (
        "imagebind-tiny: checkpoint 'nowhere.safetensors' is not a file; give one that "
        "`python -m m2ib_adapters.imagebind_tiny.train` wrote, 'random', or nothing for the packaged weights"
    )
    with pytest.raises(m2ib.CheckpointError) as caught:
        load(checkpoint="nowhere.safetensors")
    assert str(caught.value) == message
    with pytest.raises(m2ib.CheckpointError, match="is not a file; give one"):
        load(checkpoint=tmp_path)


def test_random_weights_are_seeded_and_warned_of() -> None:
    message = "imagebind-tiny: checkpoint='random' was loaded; its weights are random"
    with pytest.warns(m2ib.M2IBWarning, match=message) as warned:
        first, second = (load(checkpoint="random") for _ in range(2))
    assert [each.filename for each in warned] == [__file__] * 2
    for (key, a), b in zip(
        first.module.state_dict().items(), second.module.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), key
    assert first.origin["checkpoint"] == "random"


def test_on_meta_nothing_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "WEIGHTS", tmp_path / "weights.safetensors")
    model = m2ib.load_model("imagebind-tiny", device="meta")
    assert {value.device.type for value in model.module.state_dict().values()} == {"meta"}
    assert model.origin["checkpoint"] is None


def test_weights_of_other_sizes(tiny: SceneModel, tmp_path: Path) -> None:
    save_file(tiny.state | {CLS: torch.zeros(1, 1, 7)}, tmp_path / "wide.safetensors")
    message = (
        rf"imagebind-tiny: checkpoint '.*wide.safetensors' is not of this architecture: 1 key differs: {CLS} "
        r"\(\(1, 1, 7\) instead of \(1, 1, \d+\)\); imagebind-tiny has sizes of its own; weights of other "
        r"sizes open with the adapter 'imagebind' and architecture=\{...\}$"
    )
    with pytest.raises(m2ib.CheckpointError, match=message):
        load(checkpoint=tmp_path / "wide.safetensors")


def test_weights_that_are_incomplete(tiny: SceneModel, tmp_path: Path) -> None:
    state = {key: value for key, value in tiny.state.items() if key != CLS}
    save_file(state, tmp_path / "less.safetensors")
    message = rf"imagebind-tiny: .* 1 key differs: {CLS} \(missing\); the file is incomplete or was changed"
    with pytest.raises(m2ib.CheckpointError, match=message):
        load(checkpoint=tmp_path / "less.safetensors")


def test_a_file_that_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "cut.safetensors").write_bytes(b"0123456789")
    with pytest.raises(m2ib.CheckpointError, match=r"imagebind-tiny: .* is not a safetensors file"):
        load(checkpoint=tmp_path / "cut.safetensors")


def test_neither_open_clip_nor_torchaudio_is_needed_without_sound() -> None:
    code = """
import sys, warnings
warnings.simplefilter("ignore")
for name in ("open_clip", "torchaudio", "soundfile", "transformers", "timm"):
    sys.modules[name] = None  # an import of it raises
import m2ib
model = m2ib.load_model("imagebind-tiny", checkpoint="random", device="cpu")
model.embed("text", model.preprocess("text", ["a photo of a bell"]))
"""
    subprocess.run([sys.executable, "-c", code], check=True)
