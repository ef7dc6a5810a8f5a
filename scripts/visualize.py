"""The same as `saferl visualize`."""

import sys

from saferl.cli import main

sys.exit(main(["visualize", *sys.argv[1:]]))
