"""Tiny CLAPs in the real format, as transformers' own ``save_pretrained`` writes them: for the tests and ``pair.sh``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, ClapProcessor, RobertaTokenizer

import m2ib

RATE, HOP, SECONDS = 8000, 40, 1
SAMPLES, FRAMES, BANDS = RATE * SECONDS, RATE * SECONDS // HOP + 1, 64

_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
_WORDS = ("a", "dog", "bark", "ing", "rain", "roof", "tone", "on")


def save_clap(folder: Path, *, fused: bool = False, seed: int = 0, **audio: Any) -> Path:
    """A folder with model, feature extractor and tokenizer; ``audio`` are settings of the audio tower.

    The spectrogram (201 frames of 64 bands) is stretched to 256 and folded twice into 128 x 128; patches of 4 leave
    32 x 32 cells, which are 16 frequencies and 64 times; two stages more halve them twice.
    """
    config = ClapConfig(
        text_config={
            "vocab_size": len(vocabulary()[0]),
            "hidden_size": 16,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "intermediate_size": 24,
            "max_position_embeddings": 42,
        },
        audio_config={
            "spec_size": 128,
            "num_mel_bins": BANDS,
            "window_size": 4,
            "patch_embeds_hidden_size": 8,
            "depths": (1, 2, 1),
            "num_attention_heads": (1, 2, 4),
            "hidden_size": 32,
            "enable_fusion": fused,
            "mlp_ratio": 2.0,
            "aff_block_r": 2,
            **audio,
        },
        projection_dim=12,
    )
    torch.manual_seed(seed)
    module = ClapModel(config).eval()
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.6 if "embeddings" in name else 0.9 / math.sqrt(weight[0].numel()))
        norm = module.audio_model.audio_encoder.batch_norm
        norm.running_mean.copy_(torch.linspace(-40, -60, len(norm.running_mean)))
        norm.running_var.copy_(torch.linspace(300, 500, len(norm.running_var)))
    module.save_pretrained(folder)
    extractor(fused, bands=config.audio_config.num_mel_bins).save_pretrained(folder)
    roberta().save_pretrained(folder)
    return folder


def extractor(fused: bool, **changed: Any) -> Any:
    """The feature extractor of these models; at 8 kHz a view of 1 s has 201 frames."""
    bands = changed.pop("bands", BANDS)
    settings = {
        "feature_size": bands,
        "sampling_rate": RATE,
        "hop_length": HOP,
        "max_length_s": SECONDS,
        "fft_window_size": 512,
        "frequency_min": 50,
        "frequency_max": 3500,
        "truncation": "fusion" if fused else "rand_trunc",
    }
    return ClapFeatureExtractor(**settings | changed)


def transformers_of(model: m2ib.Model) -> Any:
    """The ``ClapModel`` itself."""
    return model.module


def processor(folder: Path) -> Any:
    """transformers' own."""
    return ClapProcessor.from_pretrained(folder)


def vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """(tokens, merges) of a byte-level BPE: RoBERTa's special tokens, all bytes, and a few words out of them."""
    tokens = [*_SPECIAL, *sorted(ByteLevel.alphabet())]
    merges: list[tuple[str, str]] = []
    for word in _WORDS:
        done = word[0]
        for letter in [*word[1:], ""]:
            pair = (done, letter) if letter else ("Ġ", done)
            merges.append(pair)
            tokens.append("".join(pair))
            done += letter
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}, list(dict.fromkeys(merges))


def roberta(limit: int = 512) -> Any:
    """RoBERTa's tokenizer with few words."""
    tokens, merges = vocabulary()
    return RobertaTokenizer(tokens, merges, model_max_length=limit)
