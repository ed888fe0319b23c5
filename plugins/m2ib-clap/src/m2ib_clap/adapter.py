"""LAION's CLAP through transformers: ``ClapModel`` from a hub id, a local folder, or memory."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import torch
from torch import nn

import m2ib
from m2ib_adapters.kit import (
    base_of,
    check_described,
    described,
    from_transformers,
    has_any,
    loading,
    place_of,
    transformers_fault,
    transformers_texts,
    unwrapped,
    without_code,
)
from m2ib_clap.audio import audio_encoder

DEFAULT_CHECKPOINT = "laion/clap-htsat-unfused"

_MOST_NUMBERS = 2**26
_COMPUTED = ("position_ids", "token_type_ids", "relative_position_index", "num_batches_tracked")
"""Ends of the names of buffers that transformers makes itself; older checkpoints lack some."""


def can(checkpoint: Any, **options: Any) -> str | None:
    """Why a checkpoint is no CLAP; None where it is."""
    return transformers_fault("clap", checkpoint, ("clap",), "transformers.ClapModel")


def load(
    *,
    checkpoint: Any = None,
    device: torch.device,
    dtype: torch.dtype,
    processor: Any = None,
    tokenizer: Any = None,
) -> m2ib.Model:
    """A CLAP of any size, with fusion or without.

    checkpoint  a hub id or a folder written by ``save_pretrained``, with tokenizer and feature extractor, or PEFT's folder for
                such a one; or the ``ClapModel`` in memory, also inside PEFT's, which is taken and left as it is
    processor   transformers' ``ClapProcessor`` or ``ClapFeatureExtractor``; None: the checkpoint's own
    tokenizer   transformers' tokenizer; None: the processor's, else the checkpoint's own

    Raises :class:`m2ib.CheckpointError` and :class:`m2ib.SettingError`.
    """
    from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

    words = getattr(processor, "tokenizer", None) if tokenizer is None else tokenizer
    extractor = getattr(processor, "feature_extractor", processor)
    whole = extractor is not None and words is not None
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    if isinstance(checkpoint, nn.Module):
        module, source = unwrapped("clap", checkpoint, (ClapModel,)), described(checkpoint)
        who, place = f"clap: the {source}", str(module.name_or_path)
        if not whole and not os.path.isdir(place):
            raise m2ib.CheckpointError(f"{who} came without processor=; give transformers' ClapProcessor")
    else:
        source = place_of("clap", checkpoint, DEFAULT_CHECKPOINT, (ClapModel,))
        who, place = f"clap: checkpoint {source!r}", base_of(source)
        module, options = from_transformers(
            "clap",
            source,
            {"clap": ClapModel},
            computed=_COMPUTED,
            check=lambda config: None if whole else _check_files(place, who),
            dtype=dtype,
        )
        module = module.to(device).eval()
    with loading("clap", source):
        if extractor is None:
            told, _ = ClapFeatureExtractor.get_feature_extractor_dict(place, **options)
            _check_extractor(told, who)
            extractor = without_code(ClapFeatureExtractor.from_pretrained, place, **options)
        if words is None:
            words = without_code(AutoTokenizer.from_pretrained, place, **options)
    if not isinstance(extractor, ClapFeatureExtractor) or not hasattr(words, "convert_ids_to_tokens"):
        raise m2ib.SettingError(
            f"clap: processor is a {type(extractor).__name__}, tokenizer a {type(words).__name__}; give transformers' "
            "ClapProcessor, or its feature_extractor and tokenizer"
        )
    texts = transformers_texts("clap", module, words, "")
    texts = replace(texts, examples=lambda: ["a rising tone", "short bursts of noise"])
    encoders = {"audio": audio_encoder(module, extractor, who), "text": texts}
    origin = {"checkpoint": source, "architecture": _describe(module.config)}
    if not isinstance(checkpoint, nn.Module) and place != source:
        origin["base"] = place
    return m2ib.Model(module, encoders, module.device, module.dtype, origin)


def _check_files(place: str, who: str) -> None:
    """Raises :class:`m2ib.CheckpointError` for a folder without what makes sounds and texts ready."""
    extractor = "preprocessor_config.json", "processor_config.json"
    tokenizer = "tokenizer.json", "vocab.json"
    for what, files in (("a feature extractor", extractor), ("a tokenizer", tokenizer)):
        if not has_any(place, *files):
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
