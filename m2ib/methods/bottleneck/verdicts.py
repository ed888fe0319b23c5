"""What a fit says of itself: whether it kept the similarity, and whether its positions have any way to the embedding."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from m2ib.activations.capture import Recording
from m2ib.activations.reach import content_reached, nearest, reaching_layers
from m2ib.contract.curve import Curve
from m2ib.contract.encoder import Encoder
from m2ib.contract.inputs import row
from m2ib.contract.layout import Layout
from m2ib.methods.bottleneck.settings import FitSettings

_LITTLE, _HALF = 0.1, 0.5  # of the similarity


def lost(encoder: Encoder, curve: Curve, settings: FitSettings, similarity: str) -> tuple[str, ...]:
    """Whether a fit gave up the similarity that it is about."""
    if curve.kept is None or curve.kept >= _LITTLE:
        return ()
    return (
        f"{encoder.modality}: the fit lost the similarity: its mean {similarity} went from {curve.fit[0]:.3f} to {curve.fit[-1]:.3f}, "
        f"and noise alone has {curve.noise:.3f}; the map shows what is thrown away last, not what is needed; give a beta "
        f"below {settings.beta:g}",
    )


def hardly_kept(encoder: Encoder, curve: Curve, similarity: str) -> tuple[str, ...]:
    """What is no fault of the fit's, or not yet one."""
    if curve.kept is None:
        return (
            f"{encoder.modality}: there was no similarity to keep: at the fit's start the mean {similarity} is {curve.fit[0]:.3f}, and noise "
            f"alone has {curve.noise:.3f}; the map shows what would bring the two closer, not what they have in common",
        )
    if curve.kept < _HALF:
        return (
            f"{encoder.modality}: the fit kept {max(0.0, curve.kept):.0%} of the similarity: its mean {similarity} went from "
            f"{curve.fit[0]:.3f} to {curve.fit[-1]:.3f}, and noise alone has {curve.noise:.3f}",
        )
    return ()


def unreached(grad: Tensor, layouts: Sequence[Layout], channel_axis: int) -> list[int]:
    """The inputs of a batch none of whose cells has any way to the embedding.

    ``grad`` (N, S, *shape) is the fit's gradient at z, free of the compression term.
    """
    moved = (grad != 0).any(1).any(channel_axis).cpu().numpy()  # (N, *positions)
    return [n for n, layout in enumerate(layouts) if not content_reached(layout, moved[n])]


def unreached_warning(recording: Recording, layouts: Sequence[Layout], number: int) -> tuple[str, ...]:
    """The last block of an encoder that reads one pooled token is the common case; see ``reach.py``."""
    encoder, layer = recording.encoder, recording.layer
    good = nearest(layer, reaching_layers(encoder, row(recording.inputs, number), layouts[number]))
    if good == layer:  # positions do reach the embedding; it is the similarity that does not move
        return (
            f"{encoder.modality}: no position at layer {layer} ({encoder.layer(layer).name}) moves the similarity, so the "
            "map shows the size of the activations, not evidence",
        )
    way_out = (
        "no layer of this encoder does better" if good is None else f"use layer {good}, the nearest that does"
    )
    return (
        f"{encoder.modality}: no position at layer {layer} ({encoder.layer(layer).name}) reaches the embedding, only "
        f"a pooled token does, so the map shows the size of the activations, not evidence; {way_out}",
    )
