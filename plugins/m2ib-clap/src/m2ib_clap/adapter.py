"""LAION's CLAP through transformers: ``ClapModel`` from a hub id or a local folder."""

from __future__ import annotations

from typing import Any

import torch

import m2ib
from m2ib_adapters.kit import check_described, from_transformers, has_any, loading, place_of, without_code
from m2ib_clap.audio import audio_encoder
from m2ib_clap.texts import clap_text_encoder

DEFAULT_CHECKPOINT = "laion/clap-htsat-unfused"

_MOST_NUMBERS = 2**26
_COMPUTED = ("position_ids", "token_type_ids", "relative_position_index", "num_batches_tracked")
"""Ends of the names of buffers that transformers makes itself; older checkpoints lack some."""


def load(*, checkpoint: Any = None, device: torch.device, dtype: torch.dtype) -> m2ib.Model:
    """A CLAP of any size, with fusion or without.

    checkpoint  a hub id or a folder written by ``save_pretrained``, with tokenizer and feature extractor

    Raises :class:`m2ib.CheckpointError`.
    """
    from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

    source = place_of("clap", checkpoint, DEFAULT_CHECKPOINT)
    who = f"clap: checkpoint {source!r}"
    module, options = from_transformers(
        "clap",
        source,
        {"clap": ClapModel},
        computed=_COMPUTED,
        check=lambda config: _check_files(source, who),
        dtype=dtype,
    )
    with loading("clap", source):
        told, _ = ClapFeatureExtractor.get_feature_extractor_dict(source, **options)
        _check_extractor(told, who)
        extractor = without_code(ClapFeatureExtractor.from_pretrained, source, **options)
        tokenizer = without_code(AutoTokenizer.from_pretrained, source, **options)
    module = module.to(device).eval()
    encoders = {
        "audio": audio_encoder(module, extractor, who),
        "text": clap_text_encoder(module, tokenizer),
    }
    return m2ib.Model(
        module,
        encoders,
        module.device,
        module.dtype,
        {"checkpoint": source, "architecture": _describe(module.config)},
    )


def _check_files(source: str, who: str) -> None:
    """Raises :class:`m2ib.CheckpointError` for a folder without what makes sounds and texts ready."""
    extractor = "preprocessor_config.json", "processor_config.json"
    tokenizer = "tokenizer.json", "vocab.json"
    for what, files in (("a feature extractor", extractor), ("a tokenizer", tokenizer)):
        if not has_any(source, *files):
            raise m2ib.CheckpointError(
                f"{who} comes without {what} ({files[0]}); save the checkpoint's own into its folder "
                "(ClapProcessor.save_pretrained)"
            )


def _check_extractor(told: Any, who: str) -> None:
    """What is made of these sizes at once. Raises :class:`m2ib.CheckpointError`."""
    check_described(told, f"{who}: its feature extractor")
    for first, second in (("fft_window_size", "feature_size"), ("sampling_rate", "max_length_s")):
        sizes = [told.get(name, 0) for name in (first, second)]
        if all(type(size) is int for size in sizes) and sizes[0] * sizes[1] > _MOST_NUMBERS:
            raise m2ib.CheckpointError(
                f"{who}: its preprocessor_config.json has {first} {sizes[0]} and {second} {sizes[1]}, which is more than can be "
                "computed with; take it from the checkpoint that the model is of"
            )


def _describe(config: Any) -> str:
    audio, text = config.audio_config, config.text_config
    stages = "+".join(map(str, audio.depths))
    return (
        f"CLAP{' with fusion' if audio.enable_fusion else ''}, HTSAT {audio.patch_embeds_hidden_size}x({stages}), "
        f"{audio.num_mel_bins} mel bands; RoBERTa {text.hidden_size}x{text.num_hidden_layers}"
    )
