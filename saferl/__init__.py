"""saferl: robot policies that respect constraints. One constraint, written once, enforced by any method.

Importing this package is quick: it imports neither torch nor MuJoCo. The environments are in `saferl_envs`.
"""

from importlib import metadata

try:
    __version__ = metadata.version("saferl")
except metadata.PackageNotFoundError:  # running from a source tree that is not installed
    __version__ = "unknown"
