"""``python -m m2ib``."""

import sys

from m2ib.cli import main

if __name__ == "__main__":
    sys.exit(main())
