"""Which checkpoints of transformers are refused, in one line; and what goes for some families only."""

from __future__ import annotations

import json
import shutil
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize
from transformers import AutoTokenizer

import m2ib
from tiny_families import FAMILIES, save_family
from tiny_siglip import save_seeded

Saved = dict[str, Path]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    names = (
        "metaclip_2",
        "align",
        "chinese_clip",
        "xclip",
        "pe_audio",
        "pe_video",
        "pe_audio_video",
        "vit+bert",
        "aimv2",
    )
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


@pytest.mark.parametrize("kind", ["clap", "bert"])
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
    for name in ("align", "pe_audio", "pe_audio_video"):
        with pytest.raises(
            m2ib.SettingError, match="image_size is for towers whose positions can be interpolated"
        ):
            load(saved[name], image_size=48)
    with pytest.raises(m2ib.SettingError, match="max_patches is 9, and this checkpoint takes images of"):
        load(saved["align"], max_patches=9)


def test_padding_that_is_no_id_of_the_tower_s(saved: Saved) -> None:
    tokenizer = AutoTokenizer.from_pretrained(saved["metaclip_2"])
    tokenizer.add_tokens(["more", "and", "yet", "others"])
    tokenizer.add_special_tokens({"pad_token": "[beyond]"})
    model = load(saved["metaclip_2"], tokenizer=tokenizer)
    assert tokenizer.pad_token_id >= model.module.config.text_config.vocab_size
    texts = ["a dog", "two dogs on the grass"]
    found = model.embed("text", model.preprocess("text", texts))
    alone = [model.embed("text", model.preprocess("text", [text])) for text in texts]
    torch.testing.assert_close(found, torch.cat(alone))


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


def gradient(count: int) -> np.ndarray:
    """Frames of 60x90 pixels that grow brighter by 10."""
    return np.stack([np.full((60, 90, 3), 10 * number, np.uint8) for number in range(count)])


def edited(folder: Path, copy: Path, file: str, **changes: Any) -> Path:
    """A copy of a checkpoint whose video processor says something else."""
    folder = Path(shutil.copytree(folder, copy))
    told = json.loads((folder / file).read_text())
    told.get("video_processor", told).update(changes)
    (folder / file).write_text(json.dumps(told))
    return folder


def test_a_frame_is_one_token(saved: Saved) -> None:
    model = load(saved["pe_video"])
    item = model.item("video", (gradient(7), 2.0))
    assert (item.layout.grid, item.layout.index) == ((7, 1, 1), tuple(range(1, 8)))
    clip, rows, columns = item.layout.axes
    assert clip.spans[-1] == (3.0, 3.5)
    assert (rows.spans, columns.spans) == (((0, 60),), ((0, 90),))
    assert model.item("video", item.inputs).layout.index == item.layout.index
    np.testing.assert_allclose(model.item("video", item.inputs).view.frames[3], 30, atol=1)
    said = r"has the shape \(frames, 3, 32, 32\) and a floating-point type, not"
    for wrong in (item.inputs[:0], item.inputs[:, :2], item.inputs[0]):
        with pytest.raises(m2ib.InputError, match=said):
            model.item("video", wrong)
    with pytest.raises(
        m2ib.InputError, match=r"^video: 4097 frames of it are taken, more than 4096; give fewer"
    ):
        model.item("video", (np.zeros((4097, 1, 1, 3), np.uint8), 30.0))


@pytest.mark.parametrize(
    ("said", "chosen"),
    [
        ({"num_frames": 3}, [0, 4, 9]),
        ({"fps": 2}, [0, 2, 5, 7]),
        ({"num_frames": 12}, [int(9 * number / 11) for number in range(12)]),  # more than there are
        ({"num_frames": 3, "do_sample_frames": False}, list(range(10))),
        ({"do_center_crop": True, "crop_size": {"height": 32, "width": 32}, "size": {"height": 40, "width": 64}}, None),
    ],
)  # fmt: skip
def test_frames_are_those_of_the_video_processor(
    saved: Saved, tmp_path: Path, said: dict[str, Any], chosen: list[int] | None
) -> None:
    from transformers import AutoVideoProcessor

    changes = {"do_sample_frames": chosen is not None, **said}
    folder = edited(saved["pe_video"], tmp_path / "copy", "video_preprocessor_config.json", **changes)
    frames = np.random.default_rng(0).integers(0, 256, (10, 60, 90, 3), dtype=np.uint8)
    item = load(folder).item("video", (frames, 5.0))
    told = [{"total_num_frames": 10, "fps": 5.0}]
    made = AutoVideoProcessor.from_pretrained(folder)([frames], video_metadata=told, return_tensors="pt")
    assert torch.equal(item.inputs, made["pixel_values_videos"][0])
    if chosen is None:
        assert item.view.parts[0][1] == pytest.approx((22.5, 6, 67.5, 54))
    else:
        assert item.origin["chosen"] == chosen


def test_a_video_processor_that_does_not_suit(saved: Saved, tmp_path: Path) -> None:
    file = "video_preprocessor_config.json"
    folder = edited(saved["pe_video"], tmp_path / "fast", file, do_sample_frames=True, fps=9)
    with pytest.raises(
        m2ib.InputError, match=r"^video does not suit the checkpoint's video processor: .*exceeds"
    ) as caught:
        load(folder).item("video", (gradient(4), 2.0))
    assert "\n" not in str(caught.value)
    folder = edited(saved["pe_video"], tmp_path / "large", file, size={"height": 40, "width": 40})
    assert "makes images of 40x40 pixels" in refused(folder)
    folder = edited(saved["pe_video"], tmp_path / "huge", file, size={"height": 10**6, "width": 32})
    assert "its video processor has height=1000000" in refused(folder)
    (folder / file).unlink()
    assert refused(folder) == "cannot be loaded: it comes without a video processor; give processor="
    with pytest.raises(m2ib.SettingError, match=r"^transformers: processor is a CLIPImageProcessorPil; give"):
        load(saved["pe_video"], processor=FAMILIES["clip"]()[2])


def test_films_of_different_lengths_as_one_by_one(saved: Saved) -> None:
    model = load(saved["pe_video"], dtype="float64")
    random = np.random.default_rng(0)
    films = [(random.integers(0, 256, (count, 40, 50, 3), dtype=np.uint8), 2.0) for count in (3, 5, 3, 1)]
    pairs: list[Any] = [(("video", film), ("text", "a small dog")) for film in films]
    settings: dict[str, Any] = {"steps": 3, "samples": 2}
    for pair, together in zip(pairs, m2ib.explain_many(model, pairs, batch_size=4, **settings), strict=True):
        for one, other in zip(m2ib.explain(model, *pair, **settings), together, strict=True):
            np.testing.assert_allclose(one.grid, other.grid, rtol=1e-6, atol=1e-8)
            assert one.grid.shape == other.grid.shape


def test_a_change_in_one_frame_moves_what_is_around_its_token(saved: Saved) -> None:
    """As tokens enter what joins neighbours: two convolutions of three, and the class token, come after."""
    model = load(saved["pe_video"])
    frames = gradient(7)
    frames[:, :30] = 255 - frames[:, :30]
    changed = frames.copy()
    changed[4, 10:20, 20:60] = 200
    seen: list[torch.Tensor] = []
    part = model.module.video_encoder.embedder.data_proj
    handle = part.register_forward_hook(lambda *given: seen.append(given[-1]))
    for each in (frames, changed):
        model.embed("video", model.preprocess("video", [(each, 2.0)]))
    handle.remove()
    assert (seen[0] - seen[1]).abs().sum(-1)[0].nonzero().flatten().tolist() == [4]


def test_each_pair_has_its_own_space(saved: Saved) -> None:
    """The embeddings and the scores of the whole model's own forward, which sees all three kinds of input."""
    from transformers import PeAudioVideoModel

    folder = saved["pe_audio_video"]
    net: Any = PeAudioVideoModel.from_pretrained(folder, dtype=torch.float64).eval()
    raws: dict[str, Any] = {
        "audio": (photo()[:, :, 0].ravel() / 900 - 0.1, 1600),
        "video": (gradient(6), 2.0),
        "text": "a small dog",
    }
    found, inputs = {}, {}
    for pair in (("audio", "text"), ("video", "text"), ("audio", "video")):
        model = load(folder, dtype="float64", modalities=pair)
        assert model.modalities == pair
        assert model.origin["modalities"] == list(pair)
        inputs |= {modality: model.preprocess(modality, [raws[modality]]) for modality in pair}
        found[pair] = {modality: model.embed(modality, inputs[modality]) for modality in pair}
    with torch.no_grad():
        out = net(input_ids=inputs["text"], input_values=inputs["audio"], pixel_values_videos=inputs["video"])
    names = {
        ("audio", "text"): {"audio": "audio", "text": "text_audio"},
        ("video", "text"): {"video": "video", "text": "text_video"},
        ("audio", "video"): {"audio": "audio", "video": "video"},
    }
    for pair, embeddings in found.items():
        for modality, embedding in embeddings.items():
            wanted = normalize(out[f"{names[pair][modality]}_embeds"], dim=-1)
            torch.testing.assert_close(embedding, wanted.float(), rtol=1e-4, atol=1e-6)
    texts = [found[pair]["text"] for pair in found if "text" in pair]
    assert not torch.allclose(*texts, atol=0.1)


def test_the_pair_is_said_in_one_way(saved: Saved) -> None:
    folder = saved["pe_audio_video"]
    assert load(folder).modalities == ("audio", "text")
    assert load(folder, modalities="text,video").modalities == ("video", "text")
    assert load(folder, modalities=["video", "audio"]).modalities == ("audio", "video")
    for wrong in ("audio", "audio,audio", ["audio", "video", "text"], "image,text", 3):
        with pytest.raises(m2ib.SettingError) as caught:
            load(folder, modalities=wrong)
        assert str(caught.value) == (
            f"transformers: modalities is {wrong!r} for a 'pe_audio_video' model; give audio,text or video,text or audio,video"
        )
    with pytest.raises(
        m2ib.SettingError, match=r"for a 'pe_video' model; which has one pair alone; leave it out$"
    ):
        load(saved["pe_video"], modalities="video,text")
    with pytest.raises(m2ib.SettingError, match="modalities"):
        m2ib.load_model("clip", checkpoint=saved["metaclip_2"], modalities="video,text")
    assert "modalities" in str(caught.value)


@pytest.mark.parametrize("said", ["audio,video", "[video,audio]"])
def test_the_pair_on_the_command_line(saved: Saved, tmp_path: Path, said: str) -> None:
    from m2ib.cli import main

    first, *others = [Image.fromarray(frame) for frame in gradient(4) + photo(60, 90) // 4]
    first.save(tmp_path / "film.gif", save_all=True, append_images=others, duration=500)
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 1600, 0, "NONE", ""))
        sound.writeframes(photo(20, 20).tobytes())
    code = main(
        [
            "explain", "--model", "transformers", "--checkpoint", str(saved["pe_audio_video"]), "--device", "cpu",
            "--audio", str(tmp_path / "sound.wav"), "--video", str(tmp_path / "film.gif"), "--out", str(tmp_path / "out"),
            "steps=1", "samples=1", f"options.modalities={said}",
        ]
    )  # fmt: skip
    assert code == 0
    exp = m2ib.load_explanation(tmp_path / "out")
    assert exp["video"].grid.shape == (4, 1, 1)
    assert exp["audio"].grid.shape == (75,)
