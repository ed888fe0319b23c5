"""A sentence and a depth map: which words, which part of the room?

python examples/imagebind/text_depth.py ["a motorcycle in a garage" depth.png] [--checkpoint imagebind_huge.pth]

Without arguments: a motorcycle, measured in metres (scikit-image's stereo pair, from Middlebury).
"""

import argparse

import numpy as np
import skimage.data
from at_hand import imagebind

import m2ib


def motorcycle() -> np.ndarray:
    """Metres, from the pair's disparity and its camera (baseline .193 m, focal length 995 px, offset 31 px)."""
    _, _, disparity = skimage.data.stereo_motorcycle()
    known = np.isfinite(disparity)
    return np.where(known, 0.193001 * 994.978 / (np.where(known, disparity, 1) + 31.086), np.nan)


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("inputs", nargs="*", help="a sentence and a depth map")
parser.add_argument("--checkpoint")
options = parser.parse_args()
text, depth = options.inputs or ("a motorcycle standing in a garage", motorcycle())

explanation = m2ib.explain(imagebind(options.checkpoint), text=text, depth=depth)

print(f"cosine similarity {explanation.similarity:.3f}")
for word, nats in explanation["text"].words:
    print(f"{nats:8.1f} nats  {word}")
rows, columns = explanation["depth"].axes
row, column = np.unravel_index(explanation["depth"].grid.argmax(), explanation["depth"].grid.shape)
print("the strongest cell: rows {:.0f} to {:.0f},".format(*rows.spans[row]), end=" ")
print("columns {:.0f} to {:.0f} of the depth map".format(*columns.spans[column]))
print(explanation.to_html("text_depth.html"))
