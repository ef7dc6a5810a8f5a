"""The same as `saferl evaluate`."""

import sys

from saferl.cli import main

sys.exit(main(["evaluate", *sys.argv[1:]]))
