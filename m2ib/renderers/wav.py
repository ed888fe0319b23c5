"""A waveform as a file that browsers play."""

from __future__ import annotations

import io
import wave

import numpy as np

from m2ib.renderers.pictures import data_url


def wav_url(waveform: np.ndarray, rate: int) -> str:
    """(samples,) in [-1, 1], one channel, as 16-bit PCM in a data URL; what is louder is clipped."""
    samples = np.round(np.clip(waveform.astype(np.float64), -1, 1) * 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return data_url(buffer.getvalue(), "audio/wav")
