# A pair explained on the command line; prints the path of the page.
set -eu
work=$(mktemp -d)
PYTHONPATH=tests python - "$work" <<'PYTHON'
import sys
from pathlib import Path

import numpy as np
import soundfile
from clap_checkpoint import RATE, save_clap

work = Path(sys.argv[1])
save_clap(work / "tiny")
moments = np.arange(RATE // 2) / RATE
soundfile.write(work / "tone.wav", 0.3 * np.sin(2 * np.pi * (400 + 900 * moments) * moments), RATE)
PYTHON
page=$(m2ib explain --model clap --checkpoint "$work/tiny" --audio "$work/tone.wav" --text "a rising tone" --out "$work/report" | tail -n 1)
test -s "$page"
echo "$page"
