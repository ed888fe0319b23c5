"""What Wang et al. (NeurIPS 2023) report in Tables 1 and 2, to stand beside one's own figures.

By data, side and method: drop and increase in per cent, ROAR+ in per cent, and for MS-CXR the IoU as a share.
"""

from __future__ import annotations

from collections.abc import Mapping

_METHODS = ("gradcam", "saliency", "kernelshap", "rise", "chefer", "m2ib")


def _rows(text: str) -> dict[str, dict[str, float]]:
    """A row of Table 1 by method: "drop/increase/roar" for each."""
    found = {}
    for name, cell in zip(_METHODS, text.split(), strict=True):
        drop, increase, roar = map(float, cell.split("/"))
        found[name] = {"drop": drop, "increase": increase, "roar": roar}
    return found


PUBLISHED: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]] = {
    "conceptual-captions": {
        "image": _rows(
            "4.96/17.84/2.29 1.99/22.95/6.88 1.94/25.18/1.56 1.12/35.72/3.15 1.63/37.41/7.66 1.11/41.55/10.59"
        ),
        "text": _rows(
            "2.19/29.71/43.23 1.78/38.96/43.74 1.71/46.87/47.46 1.30/38.31/49.04 1.06/38.42/53.57 1.06/38.55/60.41"
        ),
    },
    "ms-cxr": {
        "image": {
            name: {**row, "iou": iou / 100}
            for (name, row), iou in zip(
                _rows(
                    "2.76/12.64/3.54 0.81/35.08/25.46 2.37/10.24/12.67 3.94/7.28/16.79 1.87/21.44/24.42 0.55/45.92/38.70"
                ).items(),
                (5.56, 21.60, 7.77, 10.97, 21.65, 22.59),
                strict=True,
            )
        },
        "text": _rows(
            "2.26/36.24/11.07 3.35/18.88/15.79 2.40/34.12/14.28 1.16/57.2/12.09 2.93/28.08/9.11 2.28/35.48/16.31"
        ),
    },
}
