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


def _grid(text: str) -> dict[tuple[int, float, float], float]:
    """A part of Table 2 by (layer, beta, variance): rows of beta 1, .1, .01 for layer 7, then 8, then 9."""
    places = [(layer, beta) for layer in (7, 8, 9) for beta in (1.0, 0.1, 0.01)]
    found = {}
    for (layer, beta), row in zip(places, text.split(), strict=True):
        for variance, value in zip((1.0, 0.1, 0.01), row.split("/"), strict=True):
            found[layer, beta, variance] = float(value)
    return found


PUBLISHED_GRIDS: Mapping[str, Mapping[str, Mapping[tuple[int, float, float], float]]] = {
    "conceptual-captions": {
        "image": _grid(
            "10.13/10.78/7.11 8.00/7.96/6.66 7.12/6.69/8.32 12.08/8.25/9.49 10.33/6.96/6.33 10.05/6.77/8.23 "
            "7.75/9.44/5.63 12.72/8.91/9.94 8.88/6.42/9.08"
        ),
        "text": _grid(
            "15.49/10.74/10.78 13.31/13.73/14.18 12.96/15.61/12.78 11.29/16.47/8.82 13.26/14.80/13.86 8.99/11.09/13.72 "
            "13.85/18.16/9.87 18.16/15.03/8.97 11.72/8.46/9.80"
        ),
    },
    "ms-cxr": {
        "image": _grid(
            "35.24/29.56/25.20 34.15/30.44/30.28 30.12/30.21/29.32 34.59/29.35/30.07 32.33/30.68/28.04 "
            "31.99/33.24/36.99 31.76/28.43/32.94 37.17/35.06/32.22 36.19/34.59/30.18"
        ),
        "text": _grid(
            "15.77/10.91/9.22 12.60/11.15/8.92 13.89/12.31/13.11 10.76/14.34/12.13 12.67/10.53/11.09 10.58/12.49/15.48 "
            "11.70/11.01/12.24 10.39/13.54/12.48 12.93/14.64/12.57"
        ),
    },
}
"""Table 2: ROAR+ in per cent, the mean of three runs, by data, side and (layer, beta, variance)."""
