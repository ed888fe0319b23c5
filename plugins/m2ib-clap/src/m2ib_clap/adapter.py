"""LAION's CLAP through transformers: ``ClapModel`` from a hub id or a local folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import m2ib
from m2ib_adapters.kit import from_folder_or_hub, loading
from m2ib_clap.audio import audio_encoder
from m2ib_clap.texts import clap_text_encoder

DEFAULT_CHECKPOINT = "laion/clap-htsat-unfused"

_COMPUTED = ("position_ids", "token_type_ids", "relative_position_index", "num_batches_tracked")
"""Ends of the names of buffers that transformers makes itself; older checkpoints lack some."""


def load(*, checkpoint: Any = None, device: torch.device, dtype: torch.dtype) -> m2ib.Model:
    """A CLAP of any size, with fusion or without.

    checkpoint  a hub id or a folder written by ``save_pretrained``, with tokenizer and feature extractor

    Raises :class:`m2ib.CheckpointError`.
    """
    from transformers import AutoConfig, AutoTokenizer, ClapFeatureExtractor, ClapModel

    source = DEFAULT_CHECKPOINT if checkpoint is None else str(checkpoint)
    who = f"clap: checkpoint {source!r}"
    with loading("clap", source):
        options = from_folder_or_hub("clap", source)
        config = AutoConfig.from_pretrained(source, **options)
        if config.model_type != "clap":
            raise m2ib.CheckpointError(
                f"{who} is a {config.model_type!r} model, not 'clap'; use an adapter made for it"
            )
        _check_files(source, who)
        extractor = ClapFeatureExtractor.from_pretrained(source, **options)
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        module, report = ClapModel.from_pretrained(
            source,
            dtype=dtype,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # told below, all of them
            **options,
        )
    wrong = sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
    wrong = [key for key in wrong if not key.endswith(_COMPUTED)]
    if wrong:
        raise m2ib.CheckpointError(
            f"{who} lacks or misshapes {len(wrong)} weights that its config.json describes, first "
            f"{', '.join(wrong[:3])}; it belongs to another architecture, or is incomplete"
        )
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
        {"checkpoint": source, "architecture": _describe(config)},
    )


def _check_files(source: str, who: str) -> None:
    """Raises :class:`m2ib.CheckpointError` for a folder without what makes sounds and texts ready."""
    folder = Path(source)
    for what, names in (
        (
            "a feature extractor (preprocessor_config.json)",
            ("preprocessor_config.json", "processor_config.json"),
        ),
        ("a tokenizer (tokenizer.json)", ("tokenizer.json", "vocab.json")),
    ):
        if folder.is_dir() and not any((folder / name).is_file() for name in names):
            raise m2ib.CheckpointError(
                f"{who} comes without {what}; save the checkpoint's own into its folder (ClapProcessor.save_pretrained)"
            )


def _describe(config: Any) -> str:
    audio, text = config.audio_config, config.text_config
    stages = "+".join(map(str, audio.depths))
    return (
        f"CLAP{' with fusion' if audio.enable_fusion else ''}, HTSAT {audio.patch_embeds_hidden_size}x({stages}), "
        f"{audio.num_mel_bins} mel bands; RoBERTa {text.hidden_size}x{text.num_hidden_layers}"
    )
