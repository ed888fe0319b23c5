"""Videos: a strip of frames, each under its heatmap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Region = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class FilmView:
    """What is shown of a video.

    frames  (moments, frames, height, width, 3) uint8: the frames that the model sees, by moment in the video
    times   (moments, frames) seconds from the beginning
    parts   for each clip of the model's input, in order: its moment, and the region (left, top, right,
            bottom) of the frames that it shows, in their pixels. Clips of one moment show different regions
    size    (rows, columns) of the model's input
    """

    frames: np.ndarray
    times: np.ndarray
    parts: tuple[tuple[int, Region], ...]
    size: tuple[int, int]
