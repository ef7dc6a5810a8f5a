"""CaT: constraints as terminations (Chane-Sane et al. 2024, arXiv 2403.18765).

A violated constraint stops value with probability delta, in expectation: the reward of the step and all that follows are
scaled by (1 - delta). Nothing is sampled, the simulator is not reset, and no critic or multiplier is added. The equations
of delta are in `saferl.termination`.

What is ours: the memory matched to the number of copies, and the reward rule for rewards of mixed sign, where only the
positive part is scaled, ``max(r, 0) (1 - delta) + min(r, 0)``; `paper_clip` gives the paper's ``max(r (1 - delta), 0)``.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from saferl.algorithms.ppo import ConstrainedPPO, PPOSettings
from saferl.algorithms.registry import register_method
from saferl.recorder import Recorded
from saferl.termination import TerminationProbability, curriculum, matched_memory

Array = np.ndarray[Any, Any]


class CaT(ConstrainedPPO):
    """PPO whose returns end, in expectation, where constraints are violated.

    Args:
        policy: As for SB3's PPO.
        env: An environment with constraints.
        p_start: p_max of soft and style constraints at the start of training.
        p_max: p_max of soft and style constraints at the end of the curriculum. Equal to `p_start`: no curriculum.
        hard_p_max: p_max of hard constraints, from the start.
        curriculum_fraction: Part of the training over which p_max rises.
        tau: Memory of the running maxima, or None to match the paper's number of samples (`matched_memory`).
        min_p: Probability of the least violation.
        p_max_by_name: Fixed p_max by constraint name, in place of its kind's.
        square_root: Take the square root of violations first; see `TerminationProbability`.
        paper_clip: Clip scaled rewards at zero as the paper does, for rewards that are never negative.
        **kwargs: Further arguments of SB3's PPO.
    """

    termination: TerminationProbability

    def __init__(
        self,
        policy: Any,
        env: Any,
        *args: Any,
        p_start: float = 0.05,
        p_max: float = 0.25,
        hard_p_max: float = 1.0,
        curriculum_fraction: float = 1.0,
        tau: float | None = None,
        min_p: float = 0.0,
        p_max_by_name: dict[str, float] | None = None,
        square_root: bool = False,
        paper_clip: bool = False,
        **kwargs: Any,
    ) -> None:
        self.p_start, self.p_max, self.hard_p_max = p_start, p_max, hard_p_max
        self.curriculum_fraction, self.tau, self.min_p = curriculum_fraction, tau, min_p
        self.p_max_by_name, self.square_root, self.paper_clip = p_max_by_name, square_root, paper_clip
        super().__init__(policy, env, *args, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        tau = matched_memory(self.n_envs) if self.tau is None else self.tau
        self.termination = TerminationProbability(self.constraint_specs, tau, self.min_p, self.p_max_by_name, self.square_root)
        self._schedule()

    def _schedule(self) -> None:
        progress = (1.0 - self._current_progress_remaining) / self.curriculum_fraction
        soft = curriculum(progress, self.p_start, self.p_max)
        self.termination.set_p_max({"hard": self.hard_p_max, "soft": soft, "style": soft})

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        super()._update_current_progress_remaining(num_timesteps, total_timesteps)
        self._schedule()

    def continuation(self, recorded: Recorded, rewards: Array) -> tuple[Array, Array]:
        """Return (1 - delta) and the rewards scaled by it, with SB3's truncation bonus scaled where delta > 0."""
        delta = self.termination(recorded.evaluation.values)
        keep = 1.0 - delta
        if not delta.any():
            return keep, rewards
        own = recorded.rewards
        bonus = rewards - own
        if self.paper_clip:
            scaled = np.maximum(own * keep, 0.0)
        else:
            scaled = np.maximum(own, 0.0) * keep + np.minimum(own, 0.0)
        return keep, np.where(delta > 0, scaled + bonus * keep, rewards)

    def _log_constraints(self) -> None:
        super()._log_constraints()
        buffer: Any = self.rollout_buffer
        values = buffer.constraint_values
        rates = self.termination.probabilities(values.reshape(-1, values.shape[-1])).mean(axis=0)
        for spec, rate, p_max in zip(self.constraint_specs, rates, self.termination.p_max, strict=True):
            self.logger.record(f"constraint/{spec['name']}/termination_probability", float(rate))
            self.logger.record(f"constraint/{spec['name']}/p_max", float(p_max))
        self.logger.record("train/termination_probability", float(1.0 - buffer.continuation.mean()))

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "termination"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        modules, variables = super()._get_torch_save_params()
        return [*modules, "termination"], variables


@register_method(
    "cat",
    "Constraints as terminations: violations stop value with a probability",
    "Chane-Sane et al. 2024, arXiv 2403.18765",
)
class CaTSettings(PPOSettings):
    """Settings of CaT: PPO's, and the class's arguments."""

    algorithm: ClassVar[type[ConstrainedPPO]] = CaT

    name: str = "cat"
    p_start: float = Field(0.05, gt=0, le=1)
    p_max: float = Field(0.25, gt=0, le=1)
    hard_p_max: float = Field(1.0, ge=0, le=1)
    curriculum_fraction: float = Field(1.0, gt=0, le=1)
    tau: float | None = Field(None, ge=0, lt=1)
    min_p: float = Field(0.0, ge=0, le=1)
    p_max_by_name: dict[str, float] = Field(default_factory=dict)
    square_root: bool = False
    paper_clip: bool = False

    @model_validator(mode="after")
    def _least_is_not_above_most(self) -> Self:
        for key in ("p_start", "p_max", "hard_p_max"):
            if self.min_p > getattr(self, key):
                raise ValueError(f"min_p {self.min_p} must not be above {key} {getattr(self, key)}")
        return self

    def arguments(self) -> dict[str, Any]:
        """Return the algorithm's keyword arguments."""
        own = CaTSettings.model_fields.keys() - PPOSettings.model_fields.keys()
        return {**super().arguments(), **{key: getattr(self, key) for key in sorted(own)}}
