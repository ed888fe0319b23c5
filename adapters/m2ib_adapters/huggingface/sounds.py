"""Sounds of PE-A: the waveform itself, of which the model makes a token for each hop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from m2ib.contract.degradation import Fading
from m2ib.contract.encoder import Encoder
from m2ib.contract.inputs import Inputs, Item
from m2ib.contract.layout import Layout, even_axis
from m2ib.errors import CheckpointError, InputError
from m2ib.renderers import TracesView
from m2ib_adapters.huggingface.images import Opened, features, rotary
from m2ib_adapters.inputs.sound_files import sound_at
from m2ib_adapters.inputs.tensors import tensor_of


@dataclass(frozen=True)
class Waveforms:
    """How a sound becomes a waveform.

    extractor  the checkpoint's: it fills the last hop by what comes before it
    rate       samples a second
    hop        samples of a token
    most       tokens that a sound may have
    """

    extractor: Any
    rate: int
    hop: int
    most: int

    def prepare(self, raw: Any, *, truncate: bool = False) -> Item:
        """A path or (waveform, rate) as an :class:`Item` with (1, samples) float32: the mean of all channels, resampled.

        Grid: (tokens,), the axis "time" in seconds. Raises :class:`InputError`, also for a sound longer than the model takes unless
        ``truncate``, which takes its beginning.
        """
        sound, _, mono, cut = sound_at(raw, self.rate, self.most * self.hop, truncate)
        length = len(mono)
        made = self.extractor(mono.numpy(), sampling_rate=self.rate, return_tensors="pt")["input_values"][0]
        said = {"rate": self.rate, "seconds": round(length / self.rate, 6), "truncated": cut}
        return self._item(made, length, sound.origin | said)

    def describe(self, given: Inputs) -> Item:
        """(1, samples) of whole hops as an :class:`Item`. Raises :class:`InputError`."""
        wave = tensor_of(given, "audio")
        fits = wave.ndim == 2 and len(wave) == 1 and 0 < wave.shape[1] <= self.most * self.hop
        if not fits or wave.shape[1] % self.hop or not wave.is_floating_point():
            raise InputError(
                f"audio: a preprocessed tensor has the shape (1, samples), a multiple of {self.hop} up to {self.most * self.hop}, "
                f"and a floating-point type, not {tuple(wave.shape)} {wave.dtype}"
            )
        return self._item(wave, wave.shape[1], {"source": "tensor", "shape": list(wave.shape)})

    def _item(self, wave: Tensor, length: int, origin: dict[str, Any]) -> Item:
        tokens, seconds = wave.shape[1] // self.hop, wave.shape[1] / self.rate
        layout = Layout(
            (tokens,), tuple(range(1, 1 + tokens)), axes=(even_axis("time", "s", tokens, 0, seconds),)
        )
        shown = wave.detach().cpu().float().numpy()[:, :length]
        times = np.arange(length) / self.rate
        view = TracesView(shown, times, ("waveform",), ("",), (0.0, seconds), wave.shape[1])
        return Item(wave, layout, view, origin)


def sounds(opened: Opened) -> Encoder:
    """The encoder of sounds of a ``PeAudioModel``. Raises :class:`CheckpointError`."""
    module, extractor = opened.module, opened.processor
    config = module.audio_encoder.config
    hop = config.dac_config.hop_length
    rate = getattr(extractor, "sampling_rate", None)
    if getattr(extractor, "hop_length", None) != hop or type(rate) is not int or rate < 1:
        raise CheckpointError(
            f"{opened.who}: checkpoint {opened.source!r} comes without a feature extractor that has a sampling_rate and the hop_length "
            f"{hop}; give processor="
        )
    waves = Waveforms(extractor, rate, hop, config.max_position_embeddings - 1)
    second = np.arange(rate) / rate
    return Encoder(
        modality="audio",
        prepare=waves.prepare,
        describe=waves.describe,
        embed=lambda inputs: features(module, "audio", input_values=inputs),
        **rotary(module),
        stride=(hop,),
        degradation=Fading(step=(hop,)),
        examples=lambda: [
            (np.sin(rate / 20 * second[: rate // part] ** 2).astype(np.float32), rate) for part in (1, 2)
        ],
    )
