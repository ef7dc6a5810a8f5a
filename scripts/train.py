"""The same as `saferl train`."""

import sys

from saferl.cli import main

sys.exit(main(["train", *sys.argv[1:]]))
