"""Two photographs: what in each brings them together?

python examples/imagebind/image_image.py [one.jpg other.jpg] [--checkpoint imagebind_huge.pth]

Without files: the cat and the astronaut of scikit-image.
"""

import argparse

import skimage.data
from at_hand import imagebind

import m2ib

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("files", nargs="*", help="two images")
parser.add_argument("--checkpoint")
options = parser.parse_args()
one, other = options.files or (skimage.data.cat(), skimage.data.astronaut())

explanation = m2ib.explain(imagebind(options.checkpoint), ("image", one), ("image", other))

print(f"cosine similarity {explanation.similarity:.3f}")
for number, attribution in enumerate(explanation):  # both are images: by position, not by modality
    print(f"image {number}: {attribution.grid.shape}, highest {attribution.grid.max():.1f} nats")
print(explanation.to_html("image_image.html"))
