"""Two players of a constrained problem: a softmax policy that descends and multipliers that ascend, optimistic or not.

ReLOAD (Moskovitz et al. 2023, arXiv 2302.01275) makes both players optimistic: each follows ``2 g_k - g_(k-1)`` in place of its
gradient g_k. The policy's mirror descent with the Kullback-Leibler divergence adds the step to its logits::

    pi = softmax(L)                      A_k = A_0 - sum_i mu_i A_i            g_k = J_(1..N) - theta
    L  += eta_pi A~                      A~  = 2 A_k - A_(k-1)                 form "full"
                                         A~  = A_0 - sum_i (2 mu_i,k - mu_i,k-1) A_i     form "multiplier"
    mu  = max(0, mu + eta_mu g~)         g~  = 2 g_k - g_(k-1)

Both gradients are taken at the same iterate. **Reconstruction:** the paper has no public code; the equations follow its
abstract, captions and its author's later work. In occupancy space both forms are the same gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from saferl.tabular.cmdp import CMDP, Array
from saferl_envs.errors import ConfigError, choose

Form = Literal["multiplier", "full"]
ALGORITHMS = {"gda": (False, False), "dual_only": (False, True), "policy_only": (True, False), "reload": (True, True)}
"""Whether policy and multipliers are optimistic."""


@dataclass(frozen=True)
class Trajectory:
    """What happened, iterate by iterate.

    Attributes:
        returns: (K, 1 + N) of reward and costs.
        multipliers: (K, N).
        policy: (S, A) of the last iterate.
    """

    returns: Array
    multipliers: Array
    policy: Array


def run(
    cmdp: CMDP,
    algorithm: str = "reload",
    iterations: int = 10_000,
    policy_rate: float = 1.0,
    multiplier_rate: float = 0.5,
    form: Form = "multiplier",
    fixed_multipliers: Array | None = None,
    noise: float = 0.0,
    seed: int = 0,
) -> Trajectory:
    """Let both players play.

    Args:
        cmdp: The problem.
        algorithm: ``gda``, ``dual_only``, ``policy_only`` or ``reload``.
        iterations: Number of iterates K.
        policy_rate: eta_pi.
        multiplier_rate: eta_mu.
        form: What the optimistic policy extrapolates; see the module.
        fixed_multipliers: (N,) in place of learned ones.
        noise: Standard deviation of what is added to the action values and to the cost returns, as estimates would have.
        seed: Of the first logits (small) and the noise.

    Raises:
        ConfigError: Unknown algorithm or form, or a rate that is not a positive number.
    """
    for key, rate in (("policy rate", policy_rate), ("multiplier rate", multiplier_rate)):
        if not 0.0 < rate < np.inf:
            raise ConfigError(f"saferl tabular: the {key} must be a positive number, got {rate}")
    if algorithm not in ALGORITHMS:
        raise ConfigError(choose("algorithm", algorithm, ALGORITHMS, "saferl tabular"))
    if form not in get_args(Form):
        raise ConfigError(choose("form", form, get_args(Form), "saferl tabular"))
    policy_optimistic, multiplier_optimistic = ALGORITHMS[algorithm]
    rng = np.random.default_rng(seed)
    logits = 0.01 * rng.normal(size=(cmdp.states, cmdp.actions))
    multipliers = np.zeros(len(cmdp.costs)) if fixed_multipliers is None else np.array(fixed_multipliers, np.float64)
    last_multipliers = multipliers
    last_mixed: Array | None = None
    last_slope: Array | None = None
    returns, seen = np.empty((iterations, 1 + len(cmdp.costs))), np.empty((iterations, len(cmdp.costs)))
    policy = _softmax(logits)
    for k in range(iterations):
        policy = _softmax(logits)
        values = cmdp.values(policy)
        returns[k], seen[k] = values.returns, multipliers
        q, costs = values.q, values.returns[1:]
        if noise:
            q = q + noise * rng.normal(size=q.shape)
            costs = costs + noise * rng.normal(size=costs.shape)
        advantages = q - np.einsum("sa,ksa->ks", policy, q)[:, :, np.newaxis]
        mixed = _mix(advantages, multipliers)
        step = mixed
        if policy_optimistic:
            if form == "multiplier":
                step = _mix(advantages, 2.0 * multipliers - last_multipliers)
            else:
                step = mixed if last_mixed is None else 2.0 * mixed - last_mixed
        slope = costs - cmdp.thresholds
        ascent = slope if last_slope is None or not multiplier_optimistic else 2.0 * slope - last_slope
        last_mixed, last_slope, last_multipliers = mixed, slope, multipliers
        logits = logits + policy_rate * step
        logits -= logits.max(axis=1, keepdims=True)
        if fixed_multipliers is None:
            multipliers = np.maximum(0.0, multipliers + multiplier_rate * ascent)
    return Trajectory(returns, seen, policy)


def _mix(advantages: Array, weights: Array) -> Array:
    """Return ``A_0 - sum_i w_i A_i``, (S, A)."""
    mixed: Array = advantages[0] - np.einsum("k,ksa->sa", weights, advantages[1:])
    return mixed


def _softmax(logits: Array) -> Array:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    policy: Array = shifted / shifted.sum(axis=1, keepdims=True)
    return policy
