"""Which checkpoints of transformers are refused, in one line; and what goes for some families only."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

import m2ib
from tiny_families import FAMILIES, save_family
from tiny_siglip import save_seeded

Saved = dict[str, Path]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    names = ("metaclip_2", "align", "chinese_clip", "xclip", "pe_audio", "vit+bert", "aimv2")
    return {name: save_family(name, tmp_path_factory.mktemp(name)) for name in names}


def load(folder: Any, **options: Any) -> Any:
    return m2ib.load_model("transformers", checkpoint=folder, device="cpu", **options)


def refused(folder: Any, **options: Any) -> str:
    with pytest.raises(m2ib.CheckpointError) as caught:
        load(folder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"transformers: checkpoint {str(folder)!r} ")


def photo(rows: int = 40, columns: int = 50) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (rows, columns, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["clap", "pe_audio_video", "bert"])
def test_a_family_that_is_not_opened(tmp_path: Path, kind: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    said = refused(tmp_path)
    assert said.startswith(f"is a '{kind}' model, not 'clip' or 'metaclip_2' or ")
    assert said.endswith(
        "use an adapter made for it" + (": 'clap', of the package m2ib-clap" if kind == "clap" else "")
    )


def test_a_family_that_transformers_has_not(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "LanguageBindVideo"}))
    assert refused(tmp_path).startswith("cannot be loaded: ")
    assert "`LanguageBindVideo`" in refused(tmp_path)


def test_a_pair_whose_text_tower_is_not_known(tmp_path: Path) -> None:
    from transformers import ElectraConfig, VisionTextDualEncoderConfig, VisionTextDualEncoderModel, ViTConfig

    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
    }
    config = VisionTextDualEncoderConfig.from_vision_text_configs(
        ViTConfig(**sizes, image_size=16, patch_size=8), ElectraConfig(**sizes, vocab_size=20)
    )
    folder = save_seeded(VisionTextDualEncoderModel(config), tmp_path, *FAMILIES["vit+bert"]()[1:])
    with pytest.raises(
        m2ib.CheckpointError, match=r"^transformers: its text tower is a 'electra', and how that is read"
    ):
        load(folder, processor=FAMILIES["vit+bert"]()[2].__class__(size={"height": 16, "width": 16}))


def test_a_tower_without_its_head(saved: Saved, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved["aimv2"], tmp_path / "copy"))
    told = json.loads((folder / "config.json").read_text())
    told["vision_config"]["use_head"] = False
    (folder / "config.json").write_text(json.dumps(told))
    assert refused(folder).startswith("has no pooling head (use_head is false in its config.json)")


def test_without_an_image_processor_its_familys_values_are_told(saved: Saved, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved["metaclip_2"], tmp_path / "copy"))
    (folder / "preprocessor_config.json").unlink()
    with pytest.warns(
        m2ib.M2IBWarning, match="comes without processor=, so pixels are prepared with OpenAI's values"
    ):
        model = load(folder)
    assert model.item("image", photo()).origin["mean"] == pytest.approx([0.48145466, 0.4578275, 0.40821073])
    pair = Path(shutil.copytree(saved["vit+bert"], tmp_path / "pair"))
    (pair / "preprocessor_config.json").unlink()
    assert refused(pair) == "cannot be loaded: it comes without an image processor; give processor="


def test_positions_are_interpolated_where_there_are_such(saved: Saved) -> None:
    model, plain = load(saved["metaclip_2"], image_size=48), load(saved["metaclip_2"])
    pixels = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = plain.module.get_image_features(pixel_values=pixels, interpolate_pos_encoding=True)
    torch.testing.assert_close(
        model.embed("image", pixels), normalize(wanted.pooler_output, dim=-1), rtol=1e-4, atol=1e-5
    )
    assert model.item("image", photo()).layout.grid == (6, 6)
    with pytest.raises(
        m2ib.SettingError, match="image_size is for towers whose positions can be interpolated"
    ):
        load(saved["align"], image_size=48)
    with pytest.raises(m2ib.SettingError, match="max_patches is 9, and this checkpoint takes images of"):
        load(saved["align"], max_patches=9)


def test_padding_within_a_text(saved: Saved) -> None:
    model = load(saved["chinese_clip"])
    ids = model.item("text", "a small dog").inputs
    padded = torch.cat([ids, ids.new_zeros(3)])
    assert torch.equal(model.item("text", padded).inputs, ids)
    padded[2] = 0
    with pytest.raises(
        m2ib.InputError, match=r"there is padding \(token id 0\) at place 2, before the text's end"
    ):
        model.item("text", padded)
    with pytest.raises(m2ib.InputError, match=r"more than the model's 24; shorten it"):
        model.item("text", "a dog " * 30)


@pytest.mark.parametrize("crop", [None, 40, 56])
def test_where_a_processor_with_steps_of_its_own_crops(
    saved: Saved, tmp_path: Path, crop: int | None
) -> None:
    """EfficientNet's, of 48 pixels a side: cut, or padded, about the centre."""
    from transformers import AutoImageProcessor

    folder = Path(shutil.copytree(saved["align"], tmp_path / "copy"))
    told = json.loads((folder / "preprocessor_config.json").read_text())
    if crop is not None:
        told |= {"do_center_crop": True, "crop_size": {"height": crop, "width": crop}}
    (folder / "preprocessor_config.json").write_text(json.dumps(told))
    item = load(folder).item("image", photo(96, 144))
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    wanted = processor(photo(96, 144), return_tensors="pt")["pixel_values"][0]
    torch.testing.assert_close(item.inputs, wanted.float())
    cut = (48 - (crop or 48)) / 2
    assert item.view.region == pytest.approx((3 * cut, 2 * cut, 144 - 3 * cut, 96 - 2 * cut))
    assert item.origin["mean"] == pytest.approx([0.5] * 3, abs=1e-3)  # pixels / 127.5 - 1


def test_frames_of_a_film(saved: Saved) -> None:
    model = load(saved["xclip"])
    frames = np.stack([np.full((60, 90, 3), value, np.uint8) for value in range(0, 210, 30)])
    item = model.item("video", (frames, 2.0))
    assert item.origin["chosen"] == [0, 3, 6]
    assert item.layout.axes[0].spans == ((0, 0.5), (1.5, 2.0), (3.0, 3.5))
    assert item.layout.grid == (3, 4, 4)
    assert item.view.frames.shape == (3, 1, 60, 90, 3)
    rows, columns = item.layout.axes[1:]
    assert (columns.spans[0][0], columns.spans[-1][1]) == pytest.approx(item.view.parts[0][1][::2])
    assert rows.spans[0][0] > 0  # 36 pixels of which the centre's 32 are seen
    described = model.item("video", item.inputs)
    assert described.layout.axes[0].unit == "clips"
    np.testing.assert_allclose(described.view.frames[1], 90, atol=1)
    with pytest.raises(
        m2ib.InputError, match=r"has the shape \(3, 3, 32, 32\) and a floating-point type, not"
    ):
        model.item("video", item.inputs[:2])


def test_a_change_in_one_frame_stays_at_its_positions(saved: Saved) -> None:
    """As they enter the first block."""
    model = load(saved["xclip"])
    films = np.random.default_rng(0).integers(0, 256, (3, 36, 36, 3), dtype=np.uint8)
    changed = films.copy()
    changed[1, 12:16, 20:24] = 255 - changed[1, 12:16, 20:24]
    layer = model.encoder("video").layer(-1)
    seen: list[torch.Tensor] = []
    handle = layer.module.register_forward_pre_hook(lambda _, args: seen.append(layer.read(args[0])))
    for film in (films, changed):
        model.embed("video", model.preprocess("video", [(film, 1.0)]))
    handle.remove()
    moved = (seen[0] - seen[1]).abs().sum(-1)[0]
    grid = model.item("video", (films, 1.0)).layout.to_grid(moved.double().numpy())
    assert np.argwhere(grid > 0).tolist() == [[1, 1, 2]]


def test_a_sound_and_its_tokens(saved: Saved, tmp_path: Path) -> None:
    """1,600 samples a second, 8 of them a token, 250 tokens at most."""
    model = load(saved["pe_audio"])
    stereo = np.random.default_rng(0).standard_normal((2, 100)).astype(np.float32) * 0.1
    item = model.item("audio", (stereo, 1600))
    assert item.inputs.shape == (1, 104)
    np.testing.assert_allclose(item.inputs[0, :100], stereo.mean(0), atol=1e-7)
    np.testing.assert_allclose(
        item.inputs[0, 100:], item.inputs[0, 95:99].flip(0)
    )  # what comes before, mirrored
    assert item.layout.grid == (13,)
    assert item.layout.axes[0].spans[-1] == pytest.approx((0.06, 0.065))
    assert item.view.samples.shape == (1, 100)
    assert model.item("audio", item.inputs).layout == item.layout
    assert model.item("audio", (stereo, 800)).inputs.shape == (1, 200)
    long = np.zeros(3200, np.float32)
    with pytest.raises(
        m2ib.InputError, match=r"lasts 2 s, more than the 1.25 s that this model takes; cut it, or pass"
    ):
        model.item("audio", (long, 1600))
    assert model.item("audio", (long, 1600), truncate=True).inputs.shape == (1, 2000)
    with pytest.raises(
        m2ib.InputError, match=r"has the shape \(1, samples\), a multiple of 8 up to 2000, and a floating"
    ):
        model.item("audio", item.inputs[:, :100])
    folder = Path(shutil.copytree(saved["pe_audio"], tmp_path / "copy"))
    (folder / "preprocessor_config.json").unlink()
    said = "comes without a feature extractor that has a sampling_rate and the hop_length 8; give processor="
    assert refused(folder) == said


def test_a_change_in_a_sound_moves_what_is_around_its_token(saved: Saved) -> None:
    """The codec looks to both sides alike."""
    model = load(saved["pe_audio"])
    wave = np.random.default_rng(1).standard_normal(1600).astype(np.float32) * 0.1
    changed = wave.copy()
    changed[808:816] += 0.5  # token 101 of 200
    seen: list[torch.Tensor] = []
    part = model.module.audio_encoder.embedder.data_proj
    handle = part.register_forward_hook(lambda *given: seen.append(given[-1]))
    for each in (wave, changed):
        model.embed("audio", model.preprocess("audio", [(each, 1600)]))
    handle.remove()
    moved = (seen[0] - seen[1]).abs().sum(-1)[0].nonzero().flatten()
    assert len(seen[0][0]) == model.item("audio", (wave, 1600)).layout.grid[0] == 200
    assert abs(float(moved.min() + moved.max()) / 2 - 101) <= 1
