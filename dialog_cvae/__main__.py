"""`python -m dialog_cvae` is the command `dialog-cvae`."""

import sys

from dialog_cvae.console import main

if __name__ == "__main__":
    sys.exit(main())
