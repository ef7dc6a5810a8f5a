"""A run folder: everything one training leaves behind, enough to evaluate or reproduce it, all of it data and not code."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from saferl.experiment.config import TrainConfig, build_config
from saferl_envs.errors import CheckpointError, ConfigError

LOCK = ".lock"
PACKAGES = ("saferl", "mujoco", "gymnasium", "stable-baselines3", "torch", "numpy")


class RunFolder:
    """Paths and small files of one run.

    Attributes:
        path: The folder.
        digests: SHA-256 of every file, in the format of ``sha256sum``; written when training has finished.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config_file = self.path / "config.yaml"
        self.last = self.path / "last.pt"
        self.best = self.path / "best.pt"
        self.report = self.path / "report.json"
        self.progress = self.path / "progress.csv"
        self.video = self.path / "rollout.mp4"
        self.dumps = self.path / "diverged"
        self.digests = self.path / "SHA256SUMS"
        self._lock = FileLock(str(self.path / LOCK))

    @classmethod
    def create(cls, path: str | Path, config: TrainConfig) -> RunFolder:
        """Make a new run folder and hold its lock.

        Raises:
            ConfigError: The folder exists and is not empty. Nothing is ever written over.
        """
        folder = cls(path)
        if folder.path.exists() and not folder.path.is_dir():
            raise ConfigError(f"{folder.path} exists and is not a folder; choose another --run-dir or remove it")
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            folder._require_empty()
            folder.lock()
            folder._require_empty()
            (folder.path / "meta.json").write_text(json.dumps(provenance(), indent=2) + "\n", encoding="utf-8")
            text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
            part = folder.path / "config.yaml.part"
            part.write_text(text, encoding="utf-8")
            os.replace(part, folder.config_file)
        except OSError as error:
            raise ConfigError(f"cannot write to {folder.path}: {error.strerror or error}") from error
        return folder

    def _require_empty(self) -> None:
        # what a start leaves that was killed before it wrote its configuration does not count
        if {p.name for p in self.path.iterdir()} - {LOCK, "meta.json", "config.yaml.part"}:
            raise ConfigError(f"{self.path} exists and is not empty; choose another --run-dir, remove it, or saferl resume it")

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
        for file in folder.path.rglob("*"):
            if file.is_symlink():
                raise CheckpointError(
                    f"{file} is a link; a run folder holds none, since what is written to it would go elsewhere"
                )
        return folder

    def lock(self) -> None:
        """Hold the folder for training; the lock is gone with the process, however it ends.

        Raises:
            ConfigError: Another process holds it.
        """
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise ConfigError(f"{self.path} is being trained by another process") from error

    def unlock(self) -> None:
        """Let the folder go."""
        self._lock.release()

    def config(self) -> TrainConfig:
        """Return the resolved configuration the run was made with.

        Raises:
            CheckpointError: The file is not the one that was sealed.
            ConfigError: It is no valid configuration.
        """
        self.verify(self.config_file)
        try:
            data = yaml.safe_load(self.config_file.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
            raise ConfigError(f"{self.config_file}: not YAML: {' '.join(str(error).split())[:200]}") from error
        if not isinstance(data, dict):
            raise ConfigError(f"{self.config_file}: expected a mapping at the top")
        config = build_config(data, str(self.config_file))
        module = config.env.id.rpartition(":")[0]
        if module and module not in sys.modules:
            raise ConfigError(
                f"{self.config_file}: environment {config.env.id!r} comes from module {module!r}, and a run folder must not "
                f"import anything by itself; if you trust the module, say --import {module}"
            )
        return config

    def checkpoint(self, which: str = "best") -> Path:
        """Return the file of the ``best`` (best feasible) or ``last`` checkpoint; ``last`` where there is no best.

        Raises:
            CheckpointError: The run has no checkpoint, or the file is not the one that was sealed.
        """
        for candidate in (self.best, self.last) if which == "best" else (self.last,):
            if candidate.is_file():
                self.verify(candidate)
                return candidate
        raise CheckpointError(f"{self.path} holds no checkpoint (looked for best.pt and last.pt)")

    @property
    def exported(self) -> bool:
        """Whether `saferl export` made it: a policy without what training needs to go on."""
        try:
            meta = json.loads((self.path / "meta.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(meta, dict) and "exported" in meta

    @property
    def finished(self) -> bool:
        """Whether training has come to its end; a run that was killed can be resumed."""
        return self.digests.is_file()

    def seal(self, *renewed: Path) -> None:
        """Write the digests of all files, or, in a sealed folder, renew those of some; an unsealed one stays unsealed then."""
        if renewed and not self.finished:
            return
        digests = self._sealed() if renewed else {}
        for file in renewed or sorted(p for p in self.path.rglob("*") if p.is_file()):
            name = file.relative_to(self.path).as_posix()
            if name.endswith(".part"):
                file.unlink()  # of a write that was killed
            elif name not in (LOCK, self.digests.name):
                digests[name] = _digest(file)
        part = self.digests.with_name(self.digests.name + ".part")
        part.write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())), encoding="utf-8")
        os.replace(part, self.digests)

    def verify(self, file: Path) -> None:
        """Refuse a file that is not the one that was sealed. Where there is no seal, nothing is said.

        Raises:
            CheckpointError: Its digest differs.
        """
        known = self._sealed().get(file.relative_to(self.path).as_posix())
        if known is not None and known != _digest(file):
            raise CheckpointError(
                f"{file} is not the file that was sealed (its SHA-256 differs from {self.digests.name}); "
                f"if the change is yours, remove {self.digests}"
            )

    def _sealed(self) -> dict[str, str]:
        if not self.finished:
            return {}
        try:
            lines = self.digests.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{self.digests} is not a list of digests") from error
        return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


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
