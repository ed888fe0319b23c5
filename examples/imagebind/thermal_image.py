"""A thermal picture and a photograph: what do they share?

python examples/imagebind/thermal_image.py [thermal.png photo.jpg] [--checkpoint imagebind_huge.pth]

Without files: a made-up warm figure in front of a cold wall, and the astronaut of scikit-image.
"""

import argparse

import numpy as np
import skimage.data
from at_hand import imagebind

import m2ib


def figure(rows: int = 240, columns: int = 320) -> np.ndarray:
    """(rows, columns) 16-bit grey levels, the warmer the higher: head and body over a cold background."""
    y, x = np.mgrid[:rows, :columns]
    head = ((y - 70) / 28) ** 2 + ((x - 160) / 22) ** 2 < 1
    body = ((y - 190) / 95) ** 2 + ((x - 160) / 55) ** 2 < 1
    warmth = 7000 + 4 * y + 2200 * body + 3000 * head
    return (warmth + np.random.default_rng(0).normal(0, 40, warmth.shape)).astype(np.uint16)


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("files", nargs="*", help="a thermal picture and a photograph")
parser.add_argument("--checkpoint")
options = parser.parse_args()
thermal, image = options.files or (figure(), skimage.data.astronaut())

explanation = m2ib.explain(imagebind(options.checkpoint), thermal=thermal, image=image)

print(f"cosine similarity {explanation.similarity:.3f}")
for attribution in explanation:
    print(f"{attribution.modality}: {attribution.grid.shape}, highest {attribution.grid.max():.1f} nats")
print(explanation.to_html("thermal_image.html"))
