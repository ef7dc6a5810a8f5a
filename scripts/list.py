"""The same as `saferl list`."""

import sys

from saferl.cli import main

sys.exit(main(["list", *sys.argv[1:]]))
