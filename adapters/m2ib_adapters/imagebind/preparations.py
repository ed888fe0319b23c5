"""How ImageBind's raw inputs are prepared: the official loaders' values, and what the user says instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from torch import Tensor

from m2ib.contract.inputs import Item
from m2ib.errors import InputError
from m2ib_adapters.imagebind.architecture import Architecture
from m2ib_adapters.inputs.audio import AudioPreparation
from m2ib_adapters.inputs.depth import DepthPreparation
from m2ib_adapters.inputs.images import ImagePreparation
from m2ib_adapters.inputs.imu import ImuPreparation
from m2ib_adapters.inputs.options import WithOptions, options_of
from m2ib_adapters.inputs.thermal import ThermalPreparation
from m2ib_adapters.inputs.video import VideoPreparation
from m2ib_adapters.towers.patches import Patches

Made = TypeVar("Made", bound=WithOptions)
Given = Mapping[str, Mapping[str, Any] | None]
"""A user's options by modality: fields of the preparations."""


@dataclass(frozen=True)
class ImagePatches:
    """Images of one size, cut into square patches; tensors of any size that the patch divides."""

    pixels: ImagePreparation
    patches: Patches

    def prepare(self, raw: Any) -> Item:
        """A path, PIL image or array; see :class:`ImagePreparation`."""
        size = self.pixels.size
        return self.patches.placed(self.pixels.prepare(raw, self.patches.layout(size)), size)

    def describe(self, inputs: Tensor) -> Item:
        """A preprocessed tensor (3, H, W) of any size; what is less than a patch at its end is not seen."""
        side = self.patches.kernel[0]
        rows, columns = inputs.shape[-2:] if inputs.ndim == 3 else (0, 0)
        if rows < side or columns < side:
            raise InputError(
                f"image: a preprocessed tensor has the shape (3, H, W) with at least {side} rows and columns, "
                f"not {tuple(inputs.shape)}"
            )
        pixels = replace(self.pixels, size=(rows, columns))
        layout = self.patches.layout((rows, columns))
        return self.patches.placed(pixels.describe(inputs, layout), (rows, columns))


class InputPreparation(Protocol):
    """What makes raw inputs of one modality ready, and their layout with them."""

    def prepare(self, raw: Any) -> Item: ...

    def describe(self, inputs: Tensor) -> Item: ...


@dataclass(frozen=True)
class Preparations:
    """One for each kind of raw input but text; ``video`` is None for a model that takes none."""

    image: ImagePatches
    audio: AudioPreparation
    depth: DepthPreparation
    thermal: ThermalPreparation
    imu: ImuPreparation
    video: VideoPreparation | None = None

    @classmethod
    def of(
        cls,
        sizes: Architecture,
        pixels: ImagePreparation,
        given: Given,
        who: str,
        own: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    ) -> Preparations:
        """For a model of these sizes, with the user's options: one for each modality in ``given``, and for images.

        own  fields that are not the official ones, by modality

        Raises :class:`SettingError`, in the name of ``who``.
        """
        options = {modality: options_of(each, modality, who) for modality, each in given.items()}
        frame = sizes.patches("vision")

        def made(kind: type[Made], **fields: Any) -> Made:
            return kind.of(options[kind.MODALITY], **fields, **own.get(kind.MODALITY, {}))

        bins, frames, size = sizes.audio_num_mel_bins, sizes.audio_target_len, (sizes.pixels, sizes.pixels)
        return cls(
            image=ImagePatches(pixels.given(options.get("image"), who), frame),
            audio=made(AudioPreparation, bins=bins, frames=frames, patches=sizes.patches("audio")),
            depth=made(DepthPreparation, size=size, patches=sizes.patches("depth")),
            thermal=made(ThermalPreparation, size=size, patches=sizes.patches("thermal")),
            imu=made(ImuPreparation, samples=sizes.imu_samples, window=sizes.imu_window),
            video=made(VideoPreparation, size=sizes.pixels, patches=frame) if "video" in options else None,
        )
