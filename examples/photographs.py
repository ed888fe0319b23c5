"""Photographs of scikit-image with captions and boxes, as pairs for ``m2ib evaluate`` and ``m2ib tune``.

    python examples/photographs.py photographs
    m2ib evaluate --model photo --data photographs/pairs.jsonl --methods m2ib gradcam --out evaluation

``photographs.json`` lists (photo, phrase, box); phrases and boxes were fixed before any map was seen.
"""

import json
import sys
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image


def main(folder: Path) -> None:
    """Write the photographs and ``pairs.jsonl`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    lines = []
    for row in rows:
        photo = getattr(skimage.data, row["photo"])()
        pixels = np.asarray(photo[0] if isinstance(photo, tuple) else photo)  # the left one of a stereo pair
        name = f"{row['photo']}.png"
        Image.fromarray(pixels).save(folder / name)
        left, top, right, bottom = row["box"]
        box = [left, top, right - left, bottom - top, row["phrase"]]
        lines.append(json.dumps({"image": name, "text": row["phrase"], "boxes": [box]}))
    (folder / "pairs.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines)} pairs of {len({row['photo'] for row in rows})} photographs")
    print((folder / "pairs.jsonl").resolve())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "photographs"))
