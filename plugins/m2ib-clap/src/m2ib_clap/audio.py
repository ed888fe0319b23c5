"""The audio side of a CLAP."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

import m2ib
from m2ib.renderers import SoundRenderer
from m2ib_clap.degradation import FEATURES, FadingViews
from m2ib_clap.folding import Tower, tower_of
from m2ib_clap.sounds import SoundPreparation
from m2ib_clap.spectrograms import SILENCE, LogMel

_EXTRACTOR = "ClapFeatureExtractor"
_WHOLE = ("feature_size", "sampling_rate", "hop_length", "max_length_s", "fft_window_size")


def audio_encoder(module: Any, extractor: Any, who: str) -> m2ib.Encoder:
    """The encoder of a ``ClapModel``. Raises :class:`m2ib.CheckpointError`, in the name of ``who``.

    Its layers are all blocks of all stages; each gives (N, frequencies, times, C), coarser from stage to stage.

    The default is the last block of the stage before the last: block 9 of the public checkpoints' 12, as in the paper.
    The last stage has 2 frequencies x 32 times of them, too few rows to say anything about frequency; this one has
    4 x 64, one time every 0.16 s. All positions of every layer reach the embedding, which is their mean.
    A preset "fine": the last block of the stage before the default's, with twice the rows and columns.
    """
    fused = bool(module.config.audio_config.enable_fusion)
    tower = tower_of(module, who)
    stages = tower.stages
    _check(extractor, module, tower, who)
    mel = LogMel(extractor, fused)
    preparation = SoundPreparation(mel, tower)

    def embed(inputs: m2ib.Inputs) -> Tensor:
        """(N, D). With fusion the three parts always count, as transformers' extractor says of a single sound."""
        features = inputs[FEATURES] if isinstance(inputs, dict) else inputs
        longer = torch.ones(len(features), 1, dtype=torch.bool, device=features.device) if fused else None
        embeddings: Tensor = module.get_audio_features(
            input_features=features, is_longer=longer
        ).pooler_output
        return embeddings

    return m2ib.Encoder(
        modality="audio",
        embed=embed,
        layers=tower.blocks,
        stem=tower.stem,
        prepare=preparation.prepare,
        describe=preparation.describe,
        defaults=m2ib.Defaults(layer=sum(stages[:-1]) - 1 if len(stages) > 1 else None),
        presets={"fine": {"layer": sum(stages[:-2]) - 1}} if len(stages) > 2 else {},
        renderer=SoundRenderer(),
        degradation=FadingViews() if fused else m2ib.Fading(SILENCE, axes=(-1, -2)),
        examples=lambda: made_up_sounds(mel.rate, mel.samples / mel.rate),
    )


def _check(extractor: Any, module: Any, tower: Tower, who: str) -> None:
    """Raises :class:`m2ib.CheckpointError` where the extractor's spectrograms are not what the tower takes."""
    config = module.config.audio_config
    truncation = "fusion" if config.enable_fusion else "rand_trunc"
    problem = ""
    named = getattr(extractor, "feature_extractor_type", _EXTRACTOR)
    whole = {name: getattr(extractor, name) for name in _WHOLE}
    odd = [f"{name} {value!r}" for name, value in whole.items() if type(value) is not int or value < 1]
    if named != _EXTRACTOR:
        problem = f"is of a {named}; a CLAP hears by a {_EXTRACTOR}"
    elif odd:
        problem = f"has {', '.join(odd)}; give whole numbers above 0"
    elif extractor.truncation != truncation:
        problem = f"has truncation {extractor.truncation!r}, and the model is one for {truncation!r}"
    elif extractor.padding not in ("repeatpad", "repeat", "pad"):
        problem = f"has padding {extractor.padding!r}; there is 'repeatpad', 'repeat' and 'pad'"
    elif extractor.feature_size != config.num_mel_bins:
        problem = f"makes {extractor.feature_size} mel bands, and the model takes {config.num_mel_bins}"
    elif not 2 <= (frames := LogMel(extractor, False).frames) <= tower.frames:
        problem = f"makes {frames} frames, and the model takes 2 to {tower.frames}"
    if problem:
        raise m2ib.CheckpointError(
            f"{who} does not fit together: its preprocessor_config.json {problem}; take both from one checkpoint"
        )


def made_up_sounds(rate: int, held: float) -> list[tuple[np.ndarray, int]]:
    """A tone that rises through four octaves, and short bursts of noise; float32, at ``rate``.

    held  seconds that a model hears at once: they last 15 % and 22 % of it
    """
    rising, bursts = (np.arange(int(share * held * rate)) / (held * rate) for share in (0.15, 0.22))
    top, octaves = min(4000.0, 0.4 * rate), np.log(16)
    turns = top / 16 * held * 0.15 * np.expm1(octaves * rising / 0.15) / octaves
    noise = np.random.default_rng(0).standard_normal(len(bursts)) * (bursts % 0.055 < 0.012)
    tone = 0.4 * np.sin(2 * np.pi * turns)
    return [(tone.astype(np.float32), rate), ((0.15 * noise).astype(np.float32), rate)]
