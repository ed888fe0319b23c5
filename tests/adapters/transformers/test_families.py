"""Each family of transformers: its own embeddings, pixels, ids and words, and the maps of the textbook loop over its own call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

import m2ib
from m2ib.testing import check_adapter
from naive import capacity
from tiny_families import FAMILIES, save_family

pytestmark = pytest.mark.filterwarnings("ignore:.*BlipModel. is going to be deprecated")
TEXTS = ["a small dog", "two cats sleep on a red sofa"]
BLIND = {
    "deit+bert": {"image"},
    "align": {"image"},
    "xclip": {"video"},
    "blip": {"image", "text"},
    "blip-retrieval": {"image", "text"},
    "flava": {"image", "text"},
    "groupvit": {"image", "text"},
}
"""Encoders that say nothing of attention."""
SLOW = {"aimv2", "align", "blip", "blip-retrieval", "flava", "groupvit"}
SLOW_TOO = {("xclip", "video"), ("tipsv2", "text"), ("pe_audio", "text"), ("pe_video", "text")} | {
    (f"pe_audio_video {pair}", "text") for pair in ("audio,text", "video,text")
}
"""Without a fast tail."""
NAMES = [
    *(name for name in FAMILIES if name != "pe_audio_video"),
    *(f"pe_audio_video {pair}" for pair in ("audio,text", "video,text", "audio,video")),
]
"""With the pair of a model that compares several."""


def raws(modality: str) -> list[Any]:
    """Two of them; a film is its frames, and their rate, a sound its samples."""
    if modality == "text":
        return TEXTS
    if modality == "audio":
        return [
            (
                np.sin(np.arange(count) ** 2 / 90).astype(np.float32)
                * np.linspace(0, 1, count, dtype=np.float32),
                1600,
            )
            for count in (100, 61)
        ]
    random = np.random.default_rng(0)
    sizes = ((40, 90), (75, 60))
    if modality == "video":
        return [(random.integers(0, 256, (3, *size, 3), dtype=np.uint8), 2.0) for size in sizes]
    return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def grouped(modality: str) -> list[list[Any]]:
    """Those that may share a batch: sounds are of different lengths, and nothing is padded."""
    return [[each] for each in raws(modality)] if modality == "audio" else [raws(modality)]


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    return save_family(name.split()[0], tmp_path_factory.mktemp(name.split()[0]))


@pytest.fixture(scope="module")
def options(name: str) -> dict[str, Any]:
    return {"modalities": name.split()[1]} if " " in name else {}


@pytest.fixture(scope="module")
def model(folder: Path, options: dict[str, Any]) -> Any:
    return m2ib.load_model("transformers", checkpoint=folder, device="cpu", dtype="float64", **options)


class Library:
    """transformers alone: the model, and its inputs by its own processor."""

    def __init__(self, folder: Path, modalities: str = "") -> None:
        import transformers
        from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer

        (kind,) = AutoConfig.from_pretrained(folder).architectures
        # In AIMv2, torch's own attention is causal where there is padding, and not where there is none.
        way = "eager" if "aimv2" in folder.name else None
        self.net: Any = (
            getattr(transformers, kind)
            .from_pretrained(folder, dtype=torch.float64, attn_implementation=way)
            .eval()
        )
        kinds = {
            "audio_encoder": "FeatureExtractor",
            "video_encoder": "VideoProcessor",
            "audio_model": "Processor",
        }
        kind = next((kinds[part] for part in kinds if hasattr(self.net, part)), None)
        self.processor: Any = (
            AutoImageProcessor.from_pretrained(folder, backend="pil")
            if kind is None
            else getattr(transformers, f"Auto{kind}").from_pretrained(folder)
        )
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.modalities = modalities.split(",")

    def part(self, modality: str) -> Any:
        """Of a model that holds one for each kind of input: that which sees this, or reads texts for the other's sake."""
        if not hasattr(self.net, "audio_model"):
            return self.net
        return getattr(self.net, f"{self.modalities[0] if modality == 'text' else modality}_model")

    def inputs(self, modality: str, given: list[Any]) -> dict[str, Tensor]:
        if modality == "text":
            return self._ids(given)
        if modality == "audio":
            (each,) = given
            extract = getattr(self.processor, "feature_extractor", self.processor)
            return {
                "input_values": extract(each[0], sampling_rate=each[1], return_tensors="pt")[
                    "input_values"
                ].double()
            }
        process = getattr(self.processor, "video_processor", self.processor)
        if hasattr(process, "sample_frames"):
            made = process([each[0] for each in given], return_tensors="pt")
            return {"pixel_values_videos": made["pixel_values_videos"].double()}
        made = [
            self.processor(
                Image.fromarray(each) if modality == "image" else list(each[0]), return_tensors="pt"
            )["pixel_values"]
            for each in given
        ]
        return {"pixel_values": torch.cat(made).double()}

    def _ids(self, texts: list[str]) -> dict[str, Tensor]:
        limit = self.net.config.text_config.max_position_embeddings
        fixed = self.net.config.model_type == "siglip"
        padding = {"padding": "max_length", "max_length": limit} if fixed else {"padding": True}
        made = dict(self.tokenizer(texts, return_tensors="pt", **padding))
        made.pop("token_type_ids", None)
        return {"input_ids": made["input_ids"]} if fixed else made

    def embed(self, modality: str, **inputs: Tensor) -> Tensor:
        net = self.part(modality)
        for seen, head in {"audio": "text_audio", "video": "text_video"}.items():
            if hasattr(net, f"{head}_head"):  # PE's, by its forward, which wants both
                others = (
                    self.inputs(seen, raws(seen)[:1]) if modality == "text" else self.inputs("text", TEXTS)
                )
                return getattr(net(**inputs, **others), f"{head if modality == 'text' else seen}_embeds")
        if hasattr(self.net, "vision_proj"):  # BLIP's head for retrieval, as it is in its forward
            if modality == "image":
                return self.net.vision_proj(self.net.vision_model(**inputs).last_hidden_state[:, 0])
            return self.net.text_proj(self.net.text_encoder(**inputs).last_hidden_state[:, 0])
        out = getattr(self.net, f"get_{modality}_features")(**inputs).pooler_output
        return out if out.ndim == 2 else out[:, 0]


@pytest.fixture(scope="module")
def library(folder: Path, options: dict[str, Any]) -> Library:
    return Library(folder, **options)


def test_it_embeds_as_the_library_does(model: Any, library: Library) -> None:
    for modality in model.modalities:
        for group in grouped(modality):
            with torch.no_grad():
                wanted = library.embed(modality, **library.inputs(modality, group))
            found = model.embed(modality, model.preprocess(modality, group))
            torch.testing.assert_close(found, normalize(wanted, dim=-1).float(), rtol=1e-4, atol=1e-6)


def test_pixels_and_ids_are_the_processors(model: Any, library: Library) -> None:
    for seen in set(model.modalities) - {"text"}:
        for group in grouped(seen):
            (wanted,) = library.inputs(seen, group).values()
            torch.testing.assert_close(model.preprocess(seen, group), wanted, rtol=0, atol=1e-6)
    for text in TEXTS if "text" in model.modalities else ():
        ids = library.inputs("text", [text])["input_ids"][0]
        assert model.item("text", text).inputs.tolist() == ids.tolist()


def test_words_are_those_of_the_text(model: Any) -> None:
    seen, other = model.modalities
    if other != "text":
        return
    pair = (seen, raws(seen)[0]), ("text", "two cats sleep on zebra")
    exp = m2ib.explain(model, *pair, steps=1, samples=1)
    assert [word for word, _ in exp["text"].words] == ["two", "cats", "sleep", "on", "zebra"]


def test_a_map_is_that_of_the_textbook_loop(model: Any, library: Library) -> None:
    given = {modality: raws(modality)[0] for modality in model.modalities}
    inputs = {modality: library.inputs(modality, [raw]) for modality, raw in given.items()}
    settings: dict[str, Any] = {"beta": 0.05, "variance": 0.5, "steps": 4, "samples": 3}
    exp = m2ib.explain(model, *given.items(), layer=0, seed=3, **settings)
    for modality, other in (model.modalities, model.modalities[::-1]):
        with torch.no_grad():
            target = library.embed(other, **inputs[other])
        layer = model.encoder(modality).blocks[0]
        nats = capacity(
            lambda modality=modality: library.embed(modality, **inputs[modality]),
            library.part(modality).get_submodule(layer.name), target, seed=3, channel_axis=layer.channel_axis,
            clips=3 if layer.name.startswith("vision_model") and modality == "video" else 1, **settings,
        )  # fmt: skip
        grid = exp[modality].grid
        assert grid.std() > 1e-3
        wanted = model.item(modality, given[modality]).layout.to_grid(nats.numpy())
        np.testing.assert_allclose(grid, wanted, rtol=1e-5)


def test_a_batch_is_as_one_by_one(model: Any) -> None:
    pairs: list[Any] = [
        tuple(zip(model.modalities, pair, strict=True))
        for pair in zip(*(raws(modality) for modality in model.modalities), strict=True)
    ]
    many = m2ib.explain_many(model, pairs, batch_size=2, steps=3, samples=2)
    for pair, together in zip(pairs, many, strict=True):
        for one, other in zip(m2ib.explain(model, *pair, steps=3, samples=2), together, strict=True):
            np.testing.assert_allclose(one.grid, other.grid, rtol=1e-6, atol=1e-8)


@pytest.mark.filterwarnings("ignore:text. the model's tokenizer has no token for")
def test_it_keeps_the_contract(name: str, folder: Path, options: dict[str, Any]) -> None:
    """On what is at hand: what ``m2ib check`` tries; with its fast tail, where there is one, against the general one."""
    model = m2ib.load_model("transformers", checkpoint=folder, device="cpu", **options)
    results = check_adapter(model)
    checked = {(result.modality, result.check) for result in results}
    for modality in model.modalities:
        assert (model.encoder(modality).attention is None) == (modality in BLIND.get(name, ()))
        assert (model.encoder(modality).tail is None) == (name in SLOW or (name, modality) in SLOW_TOO)
        assert {(modality, "layout"), (modality, "degradation"), (modality, "tail")} <= checked


def test_tensors_and_a_model_in_memory(options: dict[str, Any], library: Library) -> None:
    model = m2ib.load_model(
        "transformers",
        checkpoint=library.net,
        processor=library.processor,
        tokenizer=library.tokenizer,
        **options,
    )
    assert model.module is (library.part("text") if "text" in model.modalities else library.net)
    pair = [(modality, raws(modality)[0]) for modality in model.modalities]
    ready = [(modality, model.preprocess(modality, [raw])[0]) for modality, raw in pair]
    given = m2ib.explain(model, *ready, steps=1, samples=1)
    wanted = m2ib.explain(model, *pair, steps=1, samples=1)
    for one, other in zip(given, wanted, strict=True):
        np.testing.assert_allclose(one.grid, other.grid)


def test_it_is_found_by_itself(name: str, folder: Path, library: Library) -> None:
    """By the adapter for its family alone, where there is one."""
    wanted = (
        name.partition("-")[0] if name.startswith(("clip", "siglip")) and "+" not in name else "transformers"
    )
    for checkpoint in (folder, library.net):
        assert m2ib.who_opens(checkpoint).name == wanted
