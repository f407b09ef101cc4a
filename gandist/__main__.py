"""`python -m gandist`: the command where no console script is on the path, as in jobs on a cluster."""

import sys

from gandist.cli import main

if __name__ == "__main__":
    sys.exit(main())
