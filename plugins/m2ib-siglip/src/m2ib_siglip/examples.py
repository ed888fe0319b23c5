"""Made-up inputs that the encoders are checked with: images of two shapes, texts of two lengths."""

from __future__ import annotations

import numpy as np

EXAMPLE_TEXTS = ("a red square", "a photo of a blue square on a green ground")


def example_images() -> list[np.ndarray]:
    """A wide and a tall image, (48, 96, 3) and (90, 60, 3) uint8: a square on a ground that changes across it."""
    return [_square(48, 96, (200, 40, 30)), _square(90, 60, (30, 60, 200))]


def example_texts() -> list[str]:
    """A short and a longer one."""
    return list(EXAMPLE_TEXTS)


def _square(rows: int, columns: int, colour: tuple[int, int, int]) -> np.ndarray:
    image = np.empty((rows, columns, 3), np.uint8)
    image[..., 0] = 60
    image[..., 1] = np.linspace(80, 160, rows, dtype=np.uint8)[:, None]
    image[..., 2] = np.linspace(40, 120, columns, dtype=np.uint8)
    image[rows // 4 : rows // 2, columns // 2 : columns // 2 + rows // 4] = colour
    return image
