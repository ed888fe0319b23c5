"""One photograph, one caption, the embedded model: which pixels, which words.

python examples/explain_a_photo.py [photo.jpg "a caption"]
"""

import sys

import skimage.data

import m2ib

photo, caption = (
    sys.argv[1:3] if len(sys.argv) > 2 else (skimage.data.coffee(), "a cup of espresso and a silver spoon")
)

model = m2ib.load_model("photo")
explanation = m2ib.explain(model, image=photo, text=caption)

print(f"cosine similarity {explanation.similarity:.3f}")
for word, nats in sorted(explanation["text"].words, key=lambda pair: -pair[1]):
    print(f"{nats:8.1f} nats  {word}")
rows, columns = explanation["image"].grid.shape
print(f"image map: {rows} x {columns} positions, highest {explanation['image'].grid.max():.0f} nats")
print(explanation.to_html("explanation.html"))
