# A pair explained on the command line; prints the path of the page.
set -eu
work=$(mktemp -d)
python - "$work/photo.png" <<'PYTHON'
import sys
from PIL import Image

photo = Image.new("RGB", (64, 64), (128, 128, 128))
photo.paste((255, 0, 0), (40, 0, 64, 16))
photo.save(sys.argv[1])
PYTHON
page=$(m2ib explain --model minimal --image "$work/photo.png" --text "a red car" --out "$work/report" | tail -n 1)
test -s "$page"
echo "$page"
