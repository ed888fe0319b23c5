"""Five seconds of motion and a sentence: which moments, which words?

python examples/imagebind/imu_text.py [walk.csv "a person is walking"] [--checkpoint imagebind_huge.pth]

Without arguments: a made-up walk that stops for a second.
"""

import argparse

import numpy as np
from at_hand import imagebind

import m2ib


def walk(rate: int = 200) -> tuple[np.ndarray, int]:
    """(6, T): accelerometer x, y, z in m/s², gyroscope x, y, z in rad/s; two steps a second, none from 2 to 3 s."""
    time = np.arange(5 * rate) / rate
    moving = ((time < 2) | (time > 3)).astype(float)
    beat = np.sin(2 * np.pi * 2 * time)
    random = np.random.default_rng(0).normal(0, 0.05, (6, time.size))
    motion = [
        1.5 * beat,
        0.8 * np.cos(2 * np.pi * time),
        2.5 * np.abs(beat),
        0.6 * beat,
        0.3 * beat,
        0.2 * beat,
    ]
    return random + moving * np.stack(motion) + np.array([0, 0, 9.81, 0, 0, 0])[:, None], rate


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("inputs", nargs="*", help="a recording and a sentence")
parser.add_argument("--checkpoint")
options = parser.parse_args()
imu, text = options.inputs or (walk(), "a person walks, stops, and walks on")

explanation = m2ib.explain(imagebind(options.checkpoint), imu=imu, text=text)

print(f"cosine similarity {explanation.similarity:.3f}")
(time,) = explanation["imu"].axes
for index in explanation["imu"].grid.argsort()[::-1][:3]:
    start, end = time.spans[index]
    print(f"{explanation['imu'].grid[index]:8.1f} nats  {start:.2f} to {end:.2f} s")
print(explanation.to_html("imu_text.html"))
