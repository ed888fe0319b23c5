"""It keeps the contract, is found, and what it gives is what transformers gives."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import m2ib
from clap_checkpoint import RATE, SAMPLES, processor, save_clap, transformers_of
from m2ib.testing import ConformanceError, check_adapter


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(samples) * 0.1).astype(np.float32)


SOUNDS = [(noise(SAMPLES), RATE), (noise(2500, 1), RATE), (noise(1 + SAMPLES // 2, 2), RATE)]
TEXTS = ["a dog barking", "rain on a roof, and a tone", "tone"]


def test_it_keeps_the_contract(folder: Path) -> None:
    results = check_adapter("clap", {"audio": SOUNDS, "text": TEXTS}, checkpoint=folder)
    assert {result.modality for result in results} == {"model", "audio", "text"}


def test_with_its_own_examples(model: m2ib.Model) -> None:
    assert not any(result.failure for result in check_adapter(model))


def test_the_kit_would_notice_a_wrong_folding(folder: Path) -> None:
    model = m2ib.load_model("clap", checkpoint=folder, device="cpu")
    audio = model.encoder("audio")
    wrong = [
        replace(layer, write=lambda output, value: m2ib.write_first(output, value.flatten(1, 2)))
        for layer in audio.blocks
    ]
    broken = m2ib.Model(
        model.module,
        {"audio": replace(audio, layers=tuple(wrong)), "text": model.encoder("text")},
        model.device,
        model.dtype,
    )
    with pytest.raises(ConformanceError, match=r"read\(write\(output, x\)\) is not x"):
        check_adapter(broken, {"audio": SOUNDS, "text": TEXTS})


@pytest.mark.parametrize("number", range(3))
def test_sounds_are_embedded_as_by_transformers(model: m2ib.Model, folder: Path, number: int) -> None:
    inputs = processor(folder)(audio=SOUNDS[number][0], sampling_rate=RATE, return_tensors="pt")
    with torch.no_grad():
        wanted = transformers_of(model).get_audio_features(**inputs).pooler_output
    given = model.embed("audio", model.preprocess("audio", [SOUNDS[number]]))
    torch.testing.assert_close(given, wanted, rtol=0, atol=2e-6)


def test_without_fusion_a_batch_of_sounds_too(
    models: dict[str, m2ib.Model], folders: dict[str, Path]
) -> None:
    model = models["unfused"]
    inputs = processor(folders["unfused"])(
        audio=[sound for sound, _ in SOUNDS], sampling_rate=RATE, return_tensors="pt"
    )
    with torch.no_grad():
        wanted = transformers_of(model).get_audio_features(**inputs).pooler_output
    torch.testing.assert_close(
        model.embed("audio", model.preprocess("audio", SOUNDS)), wanted, rtol=0, atol=2e-6
    )


def test_with_fusion_every_sound_of_a_batch_is_as_alone(models: dict[str, m2ib.Model]) -> None:
    """transformers draws one of the batch that is fused; here all are, as each is alone."""
    model = models["fused"]
    together = model.embed("audio", model.preprocess("audio", SOUNDS))
    alone = [model.embed("audio", model.preprocess("audio", [sound])) for sound in SOUNDS]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=2e-6)


def test_texts_are_embedded_as_by_transformers(model: m2ib.Model, folder: Path) -> None:
    inputs = processor(folder)(text=TEXTS, padding=True, return_tensors="pt")
    assert (inputs["attention_mask"] == 0).any()
    with torch.no_grad():
        wanted = transformers_of(model).get_text_features(**inputs).pooler_output
    torch.testing.assert_close(
        model.embed("text", model.preprocess("text", TEXTS)), wanted, rtol=0, atol=2e-6
    )


def test_a_pair_is_saved_and_shown(model: m2ib.Model, tmp_path: Path) -> None:
    explanation = m2ib.explain(model, audio=SOUNDS[1], text=TEXTS[0], steps=2, samples=2, show_progress=False)
    audio = explanation["audio"]
    assert audio.grid.shape == (8, 32)
    assert [(axis.name, axis.unit, len(axis.spans)) for axis in audio.axes] == [
        ("frequency", "Hz", 8),
        ("time", "s", 32),
    ]
    assert audio.scores.shape == (64, 201)
    assert [word for word, _ in explanation["text"].words] == ["a", "dog", "barking"]
    again = m2ib.load_explanation(explanation.save(tmp_path / "saved"))
    np.testing.assert_array_equal(again["audio"].grid, audio.grid)
    explanation.to_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<audio" in page
    assert "3 times in a row" in page


def test_every_layer_can_be_explained(models: dict[str, m2ib.Model]) -> None:
    shapes = {-1: (16, 64), 0: (16, 64), 1: (8, 32), 2: (8, 32), 3: (4, 16)}
    for layer, shape in shapes.items():
        pair = m2ib.explain(
            models["unfused"],
            audio=SOUNDS[1],
            text="tone",
            layer={"audio": layer},
            steps=1,
            samples=1,
            show_progress=False,
        )
        assert pair["audio"].grid.shape == shape
        assert tuple(len(axis.spans) for axis in pair["audio"].axes) == shape
        assert pair["audio"].axes[1].spans[0][0] == 0
        assert pair["audio"].axes[1].spans[-1][1] == 1


def test_the_default_and_the_fine_preset(models: dict[str, m2ib.Model], tmp_path: Path) -> None:
    audio = models["unfused"].encoder("audio")
    assert audio.default_layer == 2  # the last of 1 + 2 blocks before the last stage
    fine = m2ib.explain(
        models["unfused"],
        audio=SOUNDS[1],
        text="tone",
        preset={"audio": "fine"},
        steps=1,
        samples=1,
        show_progress=False,
    )
    assert fine["audio"].settings["layer"] == 0
    assert fine["audio"].grid.shape == (16, 64)
    folder = save_clap(tmp_path, depths=(2, 2, 6, 2), num_attention_heads=(1, 2, 4, 4), hidden_size=64)
    public = m2ib.load_model("clap", checkpoint=folder, device="cpu").encoder("audio")
    assert (public.default_layer, public.presets["fine"]["layer"]) == (9, 3)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_other_precisions(folder: Path, models: dict[str, m2ib.Model], kind: str, dtype: str) -> None:
    model = m2ib.load_model("clap", checkpoint=folder, device="cpu", dtype=dtype)
    given = model.embed("audio", model.preprocess("audio", SOUNDS[:2]))
    wanted = models[kind].embed("audio", models[kind].preprocess("audio", SOUNDS[:2]))
    assert torch.nn.functional.cosine_similarity(given, wanted).min() > (
        0.98 if dtype == "bfloat16" else 1 - 1e-6
    )


def test_it_is_listed() -> None:
    row = m2ib.list_adapters()["clap"]
    assert (row.origin, row.modalities) == ("m2ib-clap", ("audio", "text"))


def test_listing_it_imports_nothing_heavy() -> None:
    code = (
        "import sys, m2ib_clap.plugin as plugin; plugin.m2ib_register_adapters(lambda spec: print(spec.name)); "
        "print([name for name in ('torch', 'transformers', 'torchaudio') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["clap", "[]"]
