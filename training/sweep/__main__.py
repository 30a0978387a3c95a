"""Fit a grid of variants and seeds side by side: `python -m training.sweep --help`."""

import sys

from training.sweep.run import main

if __name__ == "__main__":
    sys.exit(main())
