"""Sounds in files, and whatever else a sound can be given as."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

from m2ib.errors import InputError, decoding
from m2ib.notices import warn
from m2ib_adapters.bounds import SAMPLES, WHOLE
from m2ib_adapters.inputs.cut_files import warn_if_cut, warn_of_no_end
from m2ib_adapters.inputs.foreign_files import foreign, no_sound
from m2ib_adapters.inputs.media import InputFile, input_file, optional
from m2ib_adapters.inputs.mp3_files import scan
from m2ib_adapters.inputs.resampling import resample, resampled_length, source_range
from m2ib_adapters.inputs.sounds import BLOCK, HIGHEST_RATE, Reading, Sound, sound_of_array

_UNKNOWN = 2**62  # libsndfile says so many samples where a file does not say how many it holds
_OF_FILMS = (".mp4", ".m4a", ".m4v", ".mkv", ".mka", ".mov", ".webm", ".avi", ".aac", ".wma", ".wmv")
_OF_MP3 = (".mp3", ".mpga", ".mpeg", "")  # "" of bytes
_NO_FORMAT = 1
_FAULTS = {  # by libsndfile's codes
    _NO_FORMAT: "is not in a sound format that can be read; WAV, FLAC, OGG, MP3 and AIFF are",
    18: "holds samples in a form that cannot be read; convert it to WAV of 16, 24 or 32 bits",
}
_ROUNDED = 2  # frames by which headers of whole MP3 files are wrong


def open_sound(raw: Any) -> Sound:
    """A path, bytes, open file or (waveform, rate) as a :class:`Sound`.

    A waveform is a numpy array or a tensor (samples,) or (channels, samples), floating point in [-1, 1], int16
    or int32. Raises :class:`InputError`; ``AdapterError`` where soundfile is missing.
    """
    file = input_file(raw, "audio")
    if file is not None:
        with decoding(file.name):
            sound = _open_file(file)
    elif isinstance(raw, (tuple, list)) and len(raw) == 2 and isinstance(raw[0], (np.ndarray, Tensor)):
        sound = sound_of_array(raw[0], raw[1])
    else:
        given = f"({', '.join(type(part).__name__ for part in raw)})" if isinstance(raw, tuple) else None
        raise InputError(
            f"audio: cannot use {given or 'a ' + type(raw).__name__}; give a path, bytes, or (waveform, rate) with an "
            "array (samples,) or (channels, samples)"
        )
    if not sound.samples:
        raise InputError(f"{sound.name} holds no samples")
    return sound


def sound_at(
    raw: Any, rate: int, most: int, truncate: bool, takes: str = "takes"
) -> tuple[Sound, Reading, Tensor, bool]:
    """A sound, what was read of it, the mean of its channels at ``rate``, (samples,) float32, and whether that is its beginning.

    most  samples at ``rate`` that the model ``takes``, as a message has it

    Raises :class:`InputError`, also for a longer sound unless ``truncate``, which takes its beginning.
    """
    sound = open_sound(raw)
    whole = resampled_length(sound.samples, sound.rate, rate)
    if whole > most and not truncate:
        raise InputError(
            f"{sound.name} lasts {sound.seconds:.9g} s, more than the {most / rate:g} s that this model {takes}; cut it, or "
            "pass truncate=True (--truncate), which takes its beginning"
        )
    wanted = 0, min(whole, most)
    reading = sound.read([source_range(wanted, sound.rate, rate)])
    mono = reading.parts[0].mean(0, keepdim=True)  # (channels, n) -> (1, n)
    return sound, reading, resample(mono, wanted, sound.rate, rate)[0], whole > most


def _open_file(file: InputFile) -> Sound:
    soundfile = optional("soundfile", "imagebind")
    path, name = file.path, file.name
    if known := foreign(path):
        raise InputError(f"{name} is {known}")

    def failed(error: Any) -> InputError:
        if error.code == _NO_FORMAT and path.suffix.lower() in _OF_FILMS:
            return InputError(f"{name} is {no_sound(path)}")
        fault = _FAULTS.get(error.code, f"is damaged and cannot be decoded: {error.error_string}")
        return InputError(f"{name} {fault}")

    form, log = "", ""
    try:
        with soundfile.SoundFile(str(path)) as sound:
            form, log = f"{sound.format} {sound.subtype}", sound.extra_info
    except soundfile.LibsndfileError as error:
        if error.code != _NO_FORMAT or path.suffix.lower() not in _OF_MP3:
            raise failed(error) from None
    except TypeError:  # a name ending in .raw
        raise InputError(f"{name} has no header; read it yourself and give (waveform, rate)") from None
    guessed = not form or "MPEG" in form  # of its length, from the first frame's
    if guessed:
        WHOLE.check(name, path.stat().st_size)
    mp3 = scan(path.read_bytes()) if guessed else None

    def opened() -> Any:
        return soundfile.SoundFile(str(file.path) if mp3 is None else io.BytesIO(mp3.content))

    def blocks() -> Iterator[np.ndarray]:
        with decoding(name), opened() as sound:
            step = max(1, BLOCK // sound.channels)
            while len(block := sound.read(step, dtype="float32", always_2d=True)):
                yield np.ascontiguousarray(block.T)  # (channels, n)

    try:
        with opened() as sound:
            rate, channels, samples = sound.samplerate, sound.channels, sound.frames
            form = form or f"{sound.format} {sound.subtype}"
    except soundfile.LibsndfileError as error:
        raise failed(error) from None
    if not 1 <= rate <= HIGHEST_RATE:
        raise InputError(
            f"{name} is damaged: it has {rate:,} samples a second, and there are {HIGHEST_RATE:,} at most"
        )
    if samples <= _UNKNOWN:
        SAMPLES.check(name, samples * channels)
    there = sum(block.shape[1] for block in blocks()) if guessed else samples
    if guessed and (mp3 is None or samples - there <= _ROUNDED * mp3.samples):
        samples = there
    if samples > _UNKNOWN:
        raise InputError(f"{name} does not say how long it is; convert it to WAV")
    warn_if_cut(path, name, log, samples / rate)
    if mp3 and mp3.cut and samples == there:
        warn_of_no_end(name, samples / rate)
    if mp3 and mp3.strange:
        warn(f"{name} is damaged: {mp3.strange} bytes between its frames are no sound, and left out")
    return Sound(name, rate, channels, samples, blocks, file.origin | {"format": form})
