"""The sizes of an ImageBind, by the keyword names of the official constructor."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from m2ib.errors import SettingError, did_you_mean
from m2ib_adapters.bounds import check_described
from m2ib_adapters.towers.patches import Patches

IMU_CHANNELS = 6
SCALES = {"text": 1 / 0.07, "audio": 20.0, "depth": 5.0, "thermal": 10.0, "imu": 5.0}  # text's is learned

_MAYBE_PAIRS = ("audio_kernel_size", "audio_stride")
_SHORTEST_TEXT = 3


@dataclass(frozen=True)
class Architecture:
    """All sizes; the defaults are those of the published ``imagebind_huge``.

    ``*_drop_path`` act in training only; ``imu_kernel_size`` is taken and, as in the official model, not used.
    ``audio_kernel_size`` and ``audio_stride`` may be a pair, (bands, frames). The last five are not in the
    official constructor, which fixes them:

    pixels           rows and columns of images, depth and thermal that positions are made for
    vocabulary_size  token ids of texts are below it; the end token is the largest
    context_length   token ids that a text may have
    imu_samples      of an input; imu_window of them are one token
    """

    video_frames: int = 2
    kernel_size: tuple[int, int, int] = (2, 14, 14)
    audio_kernel_size: int | tuple[int, int] = 16
    audio_stride: int | tuple[int, int] = 10
    out_embed_dim: int = 1024
    vision_embed_dim: int = 1280
    vision_num_blocks: int = 32
    vision_num_heads: int = 16
    audio_embed_dim: int = 768
    audio_num_blocks: int = 12
    audio_num_heads: int = 12
    audio_num_mel_bins: int = 128
    audio_target_len: int = 204
    audio_drop_path: float = 0.1
    text_embed_dim: int = 1024
    text_num_blocks: int = 24
    text_num_heads: int = 16
    depth_embed_dim: int = 384
    depth_kernel_size: int = 16
    depth_num_blocks: int = 12
    depth_num_heads: int = 8
    depth_drop_path: float = 0.0
    thermal_embed_dim: int = 768
    thermal_kernel_size: int = 16
    thermal_num_blocks: int = 12
    thermal_num_heads: int = 12
    thermal_drop_path: float = 0.0
    imu_embed_dim: int = 512
    imu_kernel_size: int = 8
    imu_num_blocks: int = 6
    imu_num_heads: int = 8
    imu_drop_path: float = 0.7
    pixels: int = 224
    vocabulary_size: int = 49_408
    context_length: int = 77
    imu_samples: int = 2000
    imu_window: int = 8

    def size(self, name: str) -> tuple[int, ...]:
        """Of what is cut into patches: (bands, frames) of "audio", (samples,) of "imu", else (rows, columns)."""
        if name == "audio":
            return self.audio_num_mel_bins, self.audio_target_len
        return (self.imu_samples,) if name == "imu" else (self.pixels, self.pixels)

    def patches(self, name: str) -> Patches:
        """The windows that become tokens: over (rows, columns) of "vision" (a frame), "depth" and "thermal", over
        (bands, frames) of "audio", over the samples of "imu".
        """
        if name == "audio":
            return Patches(_pair(self.audio_kernel_size), _pair(self.audio_stride))
        if name == "imu":
            return Patches((self.imu_window,), (self.imu_window,))
        side = self.kernel_size[1] if name == "vision" else getattr(self, f"{name}_kernel_size")
        return Patches(_pair(side), _pair(side))

    def grid(self, name: str) -> tuple[int, ...]:
        """Tokens by axis, without the class token."""
        return self.patches(name).grid(self.size(name))

    @classmethod
    def of(cls, given: Any) -> Architecture:
        """The published sizes with those in ``given`` (a mapping, or None) in their place.

        Raises :class:`SettingError` for an unknown name or a size that cannot be built.
        """
        if given is None:
            return cls()
        if not isinstance(given, Mapping):
            raise SettingError(f"imagebind: architecture is a dict of sizes, not {type(given).__name__}")
        known = [field.name for field in dataclasses.fields(cls)]
        for name in given:
            if name not in known:
                hint = did_you_mean(name, known)
                raise SettingError(
                    f"imagebind: architecture has no size {str(name)!r}{hint} Known: {', '.join(known)}"
                )
        check_described(dict(given), "imagebind: architecture", SettingError)
        architecture = cls(**{str(name): _plain(str(name), value) for name, value in given.items()})
        if fault := architecture._fault():
            raise SettingError(f"imagebind: architecture {fault}")
        return architecture

    def _fault(self) -> str | None:
        """Why it cannot be built; None where it can."""
        if not self.video_frames == self.kernel_size[0] == 2:
            return (
                f"video_frames={self.video_frames} with kernel_size={self.kernel_size}: "
                "ImageBind shows a still image as two frames, so both are 2"
            )
        for name in ("vision", "text", "audio", "depth", "thermal", "imu"):
            width, heads = getattr(self, f"{name}_embed_dim"), getattr(self, f"{name}_num_heads")
            if width % heads:
                return f"{name}_num_heads={heads} does not divide {name}_embed_dim={width}"
        for branch in ("vision", "audio", "depth", "thermal"):
            name = "kernel_size" if branch == "vision" else f"{branch}_kernel_size"
            for kernel, size in zip(self.patches(branch).kernel, self.size(branch), strict=True):
                if kernel > size:
                    return f"{name}={kernel} is larger than its input, {size} samples wide"
        if self.imu_samples % self.imu_window:
            return f"imu_window={self.imu_window} does not divide imu_samples={self.imu_samples}"
        if self.context_length < _SHORTEST_TEXT:
            return (
                f"context_length={self.context_length} holds no text: a start token, a word and an end token are "
                f"{_SHORTEST_TEXT}"
            )
        return None


def _plain(name: str, value: Any) -> Any:
    """A size as the constructor has it: an int, three of them for a kernel of films, a float for a drop path."""
    if name.endswith("drop_path"):
        if isinstance(value, Real) and 0 <= float(value) < 1:
            return float(value)
        raise SettingError(f"imagebind: architecture {name}={value!r} is not a number from 0 to 1")
    if name == "kernel_size":
        parts = tuple(value) if isinstance(value, (list, tuple)) else ()
        if len(parts) != 3 or parts[1] != parts[2]:
            raise SettingError(
                f"imagebind: architecture kernel_size={value!r} is not (frames, side, side) of a square patch"
            )
        return tuple(_whole(name, part) for part in parts)
    if name in _MAYBE_PAIRS and isinstance(value, (list, tuple)):
        if len(value) != 2:
            raise SettingError(
                f"imagebind: architecture {name}={value!r} is neither a number nor a pair (bands, frames)"
            )
        return tuple(_whole(name, part) for part in value)
    return _whole(name, value)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise SettingError(f"imagebind: architecture {name}={value!r} is not a whole number > 0")
    return int(value)
