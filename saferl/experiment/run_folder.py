"""A run folder: everything one training leaves behind, enough to evaluate or reproduce it, all of it data and not code."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from saferl.experiment.config import TrainConfig, build_config
from saferl_envs.errors import CheckpointError, ConfigError

PACKAGES = ("saferl", "mujoco", "gymnasium", "stable-baselines3", "torch", "numpy")


class RunFolder:
    """Paths and small files of one run.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config_file = self.path / "config.yaml"
        self.last = self.path / "last.pt"
        self.best = self.path / "best.pt"
        self.report = self.path / "report.json"
        self.video = self.path / "rollout.mp4"
        self.dumps = self.path / "diverged"

    @classmethod
    def create(cls, path: str | Path, config: TrainConfig) -> RunFolder:
        """Make a new run folder.

        Raises:
            ConfigError: The folder exists and is not empty. Nothing is ever written over.
        """
        folder = cls(path)
        if folder.path.exists() and (not folder.path.is_dir() or any(folder.path.iterdir())):
            raise ConfigError(f"{folder.path} exists and is not empty; choose another --run-dir or remove it")
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            folder.config_file.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
            (folder.path / "meta.json").write_text(json.dumps(provenance(), indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"cannot write to {folder.path}: {error.strerror or error}") from error
        return folder

    @classmethod
    def next_free(cls, root: str | Path, name: str) -> Path:
        """Return ``<root>/<name>_<n>`` with the first n that does not exist yet."""
        n = 1
        while (Path(root) / f"{name}_{n}").exists():
            n += 1
        return Path(root) / f"{name}_{n}"

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Open an existing run folder.

        Raises:
            CheckpointError: There is no such folder, or it is not a run folder.
        """
        folder = cls(path)
        if not folder.path.is_dir():
            raise CheckpointError(f"run folder {folder.path} does not exist")
        if not folder.config_file.is_file():
            raise CheckpointError(f"{folder.path} is not a run folder: it has no config.yaml")
        return folder

    def config(self) -> TrainConfig:
        """Return the resolved configuration the run was made with."""
        try:
            data = yaml.safe_load(self.config_file.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.config_file}: not YAML: {' '.join(str(error).split())}") from error
        if not isinstance(data, dict):
            raise ConfigError(f"{self.config_file}: expected a mapping at the top")
        return build_config(data, str(self.config_file))

    def checkpoint(self, which: str = "best") -> Path:
        """Return the file of the ``best`` (best feasible) or ``last`` checkpoint; ``last`` where there is no best.

        Raises:
            CheckpointError: The run has no checkpoint.
        """
        for candidate in (self.best, self.last) if which == "best" else (self.last,):
            if candidate.is_file():
                return candidate
        raise CheckpointError(f"{self.path} holds no checkpoint (looked for best.pt and last.pt)")


def provenance() -> dict[str, Any]:
    """Return package versions, git commit, machine and command, as JSON data."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "unknown"
    return {
        "versions": versions,
        "commit": git_commit(),
        "machine": f"{platform.system()} {platform.machine()}",
        "command": ["saferl", *sys.argv[1:]],
    }


def git_commit() -> str | None:
    """Return the commit of the source tree this package runs from, or None outside of one."""
    here = Path(__file__).resolve().parent
    try:
        result = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None
