"""Two captions for one photograph: what speaks for the first, and what for the second?

python examples/why_this_caption.py
"""

import skimage.data

import m2ib

model = m2ib.load_model("photo")
photo = skimage.data.astronaut()
this, other = "an astronaut in an orange space suit", "a model of a space shuttle"

explanation = m2ib.explain(model, image=photo, text=m2ib.contrast(this, other))
image = explanation["image"]
for name, grid in ((this, image.grid), (other, image.against)):
    row, column = divmod(int(grid.argmax()), grid.shape[1])
    print(f"{name!r}: strongest at row {row}, column {column} of {grid.shape}")
print(explanation.to_html("why_this_caption.html"))
