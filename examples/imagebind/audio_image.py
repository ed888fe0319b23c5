"""A sound and a photograph: which moments and pitches, which pixels?

python examples/imagebind/audio_image.py [bark.wav dog.jpg] [--checkpoint imagebind_huge.pth]

Without files: a few made-up barks and the cat of scikit-image.
"""

import argparse

import numpy as np
import skimage.data
from at_hand import imagebind

import m2ib


def barks(rate: int = 16_000) -> tuple[np.ndarray, int]:
    """Four seconds with a short, harsh, falling tone every 1.3 seconds."""
    time = np.arange(4 * rate) / rate
    since = time % 1.3  # seconds since the last bark began
    pitch = 2 * np.pi * np.cumsum(420 + 500 * np.exp(-20 * since)) / rate
    voice = sum(np.sin(n * pitch) / n for n in range(1, 9))
    hiss = np.random.default_rng(0).normal(0, 1, time.size)
    loud = np.where(since < 0.25, np.sin(np.pi * since / 0.25), 0)
    return (0.2 * loud * (voice + 0.3 * hiss) + 0.002 * hiss).astype(np.float32), rate


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("files", nargs="*", help="a sound and an image")
parser.add_argument("--checkpoint")
options = parser.parse_args()
sound, image = options.files or (barks(), skimage.data.cat())

explanation = m2ib.explain(imagebind(options.checkpoint), ("audio", sound), ("image", image))

audio = explanation["audio"]
clips, frequency, time = audio.axes
where = np.unravel_index(audio.grid.argmax(), audio.grid.shape)
(start, _), (low, high), (begin, end) = (axis.spans[i] for axis, i in zip(audio.axes, where, strict=True))
print(f"cosine similarity {explanation.similarity:.3f}")
print(f"{len(clips.spans)} clips of {len(frequency.spans)} x {len(time.spans)} cells")
print(f"the strongest: {start + begin:.2f} to {start + end:.2f} s, {low:.0f} to {high:.0f} Hz")
print(explanation.to_html("audio_image.html"))
