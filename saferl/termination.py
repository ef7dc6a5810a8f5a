"""CaT's termination probability: from signed constraint values to the probability delta that value stops here.

Chane-Sane et al. 2024 (arXiv 2403.18765), as its released code computes it, for copy e, constraint i and component j::

    m_ij    = max(max_e c_ij(e), 1e-6)
    C_ij   <- m_ij at the first call, then tau C_ij + (1 - tau) m_ij
    p_ij(e) = min_p + clip(c_ij(e) / C_ij, 0, 1) (pmax_i - min_p)   where c_ij(e) > 0, else 0
    delta(e) = max_ij p_ij(e)

**Reconstruction:** the paper's C follows 4096 copies over about 20 steps, 82,000 samples. With few copies and the same tau it
collapses whenever violations are rare and delta becomes all or nothing. `matched_memory` keeps the number of samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch as th

from saferl_envs.errors import ConfigError, choose

Array = np.ndarray[Any, Any]

PAPER_SAMPLES = 82_000
FLOOR = 1e-6


def matched_memory(num_envs: int, samples: int = PAPER_SAMPLES) -> float:
    """Return the tau with which an average over `num_envs` copies remembers as many samples as the paper's.

    >>> round(matched_memory(16), 4)
    0.9998
    """
    return max(0.0, 1.0 - num_envs / samples)


def curriculum(progress: float, p_start: float, p_final: float) -> float:
    """Return p_max at a progress in [0, 1]: linear in the expected survival time 1/p (released code).

    >>> [round(curriculum(k, 0.05, 0.25), 4) for k in (0, 0.25, 0.5, 0.75, 0.9, 1)]
    [0.05, 0.0625, 0.0833, 0.125, 0.1786, 0.25]
    """
    k = min(max(progress, 0.0), 1.0)
    return 1.0 / (1.0 / p_start + k * (1.0 / p_final - 1.0 / p_start))


class TerminationProbability:
    """The normalisers C and the rule that turns values into delta.

    Args:
        specs: Constraint specifications with components filled in; `kind` selects the class of p_max.
        tau: Memory of the running maxima in [0, 1); the paper's value is 0.95.
        min_p: Probability of the least violation.
        overrides: Fixed p_max by constraint name, in place of its kind's.
        square_root: Take the square root of violations first, so that small ones already cost (SoloParkour, Chane-Sane et al.
            2024b, arXiv 2409.13678, released code).

    Raises:
        ConfigError: A number is out of range, or an override names no constraint.
    """

    def __init__(
        self,
        specs: Sequence[Mapping[str, Any]],
        tau: float,
        min_p: float = 0.0,
        overrides: Mapping[str, float] | None = None,
        square_root: bool = False,
    ) -> None:
        names = [spec["name"] for spec in specs]
        for name, p in (overrides or {}).items():
            if name not in names:
                raise ConfigError(choose("constraint", name, names, "p_max_by_name"))
            if not 0.0 <= p <= 1.0:
                raise ConfigError(f"p_max_by_name: {name!r} must be in [0, 1], got {p}")
        if not 0.0 <= tau < 1.0:
            raise ConfigError(f"tau must be in [0, 1), got {tau}")
        sizes = [len(spec["components"]) for spec in specs]
        self.tau, self.min_p, self.square_root = tau, min_p, square_root
        self._kinds = [spec.get("kind", "soft") for spec in specs]
        self._fixed = [(overrides or {}).get(name) for name in names]
        self._sizes = np.array(sizes)
        self._starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.intp)
        self.normaliser = np.zeros(sum(sizes))
        self.seeded = False
        self._p_max = np.zeros(sum(sizes))

    def set_p_max(self, by_kind: Mapping[str, float]) -> None:
        """Set the present p_max of every constraint from its kind (``hard``, ``soft``, ``style``)."""
        per_constraint = [
            by_kind[kind] if fixed is None else fixed for kind, fixed in zip(self._kinds, self._fixed, strict=True)
        ]
        self._p_max = np.repeat(per_constraint, self._sizes)

    @property
    def p_max(self) -> Array:
        """The present p_max of every constraint, (C,)."""
        return self._p_max[self._starts]

    def update(self, values: Array) -> None:
        """Let the running maxima see one step of N copies, values (N, K)."""
        seen = self._shaped(values)
        worst = np.maximum(np.where(np.isfinite(seen), seen, 0.0).max(axis=0), FLOOR)
        if self.seeded:
            self.normaliser *= self.tau
            self.normaliser += (1.0 - self.tau) * worst
        else:
            self.normaliser, self.seeded = worst, True

    def _shaped(self, values: Array) -> Array:
        return np.asarray(np.sqrt(np.maximum(values, 0.0))) if self.square_root else values

    def probabilities(self, values: Array) -> Array:
        """Return the termination probability of each constraint, (N, C); delta is the largest."""
        p = np.clip(self._shaped(values) / self.normaliser, 0.0, 1.0)
        p[np.isnan(p)] = 1.0  # what cannot be compared counts as violated
        p *= np.maximum(self._p_max - self.min_p, 0.0)
        if self.min_p:
            p += np.minimum(self.min_p, self._p_max)  # a constraint switched off by p_max = 0 stays off
            p[values <= 0] = 0.0
        return p if len(self._starts) == p.shape[1] else np.maximum.reduceat(p, self._starts, axis=1)

    def __call__(self, values: Array) -> Array:
        """Update the maxima with the finite ones of values (N, K), then return delta (N,)."""
        self.update(values)
        delta: Array = self.probabilities(values).max(axis=1)
        return delta

    def state_dict(self) -> dict[str, Any]:
        """Return the normalisers as tensors, every bit."""
        return {"normaliser": th.from_numpy(self.normaliser.copy()), "seeded": th.tensor(self.seeded)}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Take over what `state_dict` returned.

        Raises:
            ConfigError: The number of components differs.
        """
        normaliser = state["normaliser"].cpu().numpy().copy()
        if normaliser.shape != self.normaliser.shape:
            raise ConfigError(f"termination state has {normaliser.size} components, expected {self.normaliser.size}")
        self.normaliser, self.seeded = normaliser, bool(state["seeded"])
