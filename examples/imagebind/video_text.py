"""A video and a sentence: which frames, which part of them?

python examples/imagebind/video_text.py [film.mp4 "a ball rolls"] [--checkpoint imagebind_huge.pth]

Without arguments: a made-up ball. The official loader looks at five moments through three windows each; here one
window is enough (``video={"crops": 1}``) and a third of the work.
"""

import argparse

import numpy as np
from at_hand import imagebind

import m2ib


def ball(seconds: int = 6, fps: int = 8) -> tuple[np.ndarray, int]:
    """(frames, 180, 240, 3): an orange ball rolls from left to right over a green floor."""
    y, x = np.mgrid[:180, :240]
    frames = np.empty((seconds * fps, 180, 240, 3), np.uint8)
    for number, frame in enumerate(frames):
        frame[:] = np.where((y > 130)[..., None], (60, 120, 60), (200, 215, 235))
        centre = 20 + 200 * number / len(frames)
        frame[(y - 110) ** 2 + (x - centre) ** 2 < 22**2] = (240, 120, 20)
    return frames, fps


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("inputs", nargs="*", help="a film and a sentence")
parser.add_argument("--checkpoint")
options = parser.parse_args()
video, text = options.inputs or (ball(), "an orange ball rolls over the grass")

explanation = m2ib.explain(imagebind(options.checkpoint, video={"crops": 1}), video=video, text=text)

print(f"cosine similarity {explanation.similarity:.3f}")
clips = explanation["video"].axes[0]
for (start, end), grid in zip(clips.spans, explanation["video"].grid, strict=True):
    print(f"{start:.1f} to {end:.1f} s: {grid.sum():8.1f} nats")
print(explanation.to_html("video_text.html"))
