# A pair explained on the command line, with a small checkpoint of each kind; prints the paths of the pages.
set -eu
work=$(mktemp -d)
PYTHONPATH=tests python - "$work" <<'PYTHON'
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from siglip_checkpoint import gemma_tokenizer, save_fixed, save_naflex, siglip_tokenizer

work = Path(sys.argv[1])
(work / "pieces").mkdir()
save_fixed(work / "fixed", siglip_tokenizer(work / "pieces"), 3)
save_naflex(work / "naflex", gemma_tokenizer())
Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 100, 3), dtype=np.uint8)).save(work / "photo.png")
PYTHON
for kind in fixed naflex; do
    page=$(m2ib explain --model siglip --checkpoint "$work/$kind" --image "$work/photo.png" --text "a red dog" --out "$work/report-$kind" | tail -n 1)
    test -s "$page"
    echo "$page"
done
