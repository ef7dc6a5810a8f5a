"""PPO with cost critics: what every method that sees cost advantages beside the reward's is built on.

Constraints that have a cost limit take part; the others are recorded and logged. Each has a value network, its advantages
are those of costs (never flipped), and a method says in `policy_loss` what the policy descends on.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch as th
from gymnasium import spaces
from pydantic import Field, PositiveFloat, PositiveInt
from stable_baselines3.common.utils import explained_variance
from torch.nn import functional

from saferl.algorithms.constrained import limits_of
from saferl.algorithms.ppo import ConstrainedPPO, PPOSettings
from saferl.cost_critics import CostCritics, cost_advantages
from saferl.cost_estimates import Estimate, mean_costs, per_step
from saferl.learned_costs import LearnedCosts
from saferl.rollout_tensors import Rollout, stack
from saferl.shards import evaluated_in_threads
from saferl.slow_scale import SlowScale
from saferl_envs.constraints import CostShape
from saferl_envs.errors import ConfigError

Array = np.ndarray[Any, Any]
Scaling = Literal["none", "center", "standardize", "slow"]


class CostCriticPPO(ConstrainedPPO):
    """PPO whose policy gradient also sees cost advantages.

    Args:
        policy: As for SB3's PPO.
        env: An environment with constraints, at least one of them with a cost limit.
        cost_limits: Cost limits by constraint name in place of the environment's, e.g. stricter ones to train against.
        cost_shapes: By constraint name, the shape of the cost that is learned from, in place of the constraint's own: the
            ``excess`` tells how far, where an ``indicator`` has no slope (ours). What is measured and reported stays. Its
            limit is in `cost_limits`.
        margins: By constraint name, how far below the constraint's limit the learned cost begins, in its unit (ours).
        cost_gamma: Discount of costs in the critics, or None for the reward's.
        cost_gae_lambda: Weight of longer returns in cost advantages, or None for the reward's.
        cost_learning_rate: Of the cost critics, or None for the policy's.
        cost_net_arch: Hidden widths of each cost critic.
        cost_scaling: What is done to the cost advantages of a rollout: nothing, the mean removed (OmniSafe), or
            divided by their standard deviation too (FSRL), or by one that follows slowly (`SlowScale`).
        cost_estimate: How a rollout tells the mean episode cost: ``episodes`` takes the episodes that ended in it, as the
            papers do, and knows nothing where none did; ``rate`` takes its mean cost per step times the mean length of the
            last episodes, one per copy and at least ten, which is known after every rollout of many short ones (ours); where a
            constraint bounds a discounted sum, episodes are taken.
        cost_limit_start: Cost limit at the start of training, from which each ``<=`` limit falls in a line; None: no such
            schedule. A robot that would rather stand still than be slow has learned to move by the time the limit binds.
        cost_limit_fraction: Part of the training over which it falls.
        **kwargs: Further arguments of SB3's PPO.

    Raises:
        ConfigError: No constraint has a cost limit, or an option names a constraint that does not exist.
    """

    cost_gain: ClassVar[float] = 1.0
    """Of the critics' last layers, to begin with; 0 for outputs of 0."""
    cost_critics: CostCritics
    cost_scales: SlowScale
    limited: list[int]

    def __init__(
        self,
        policy: Any,
        env: Any,
        *args: Any,
        cost_limits: Mapping[str, float] | None = None,
        cost_shapes: Mapping[str, CostShape] | None = None,
        margins: Mapping[str, float] | None = None,
        cost_gamma: float | None = None,
        cost_gae_lambda: float | None = None,
        cost_learning_rate: float | None = None,
        cost_net_arch: tuple[int, ...] = (64, 64),
        cost_scaling: Scaling = "center",
        cost_estimate: Estimate = "rate",
        cost_limit_start: float | None = None,
        cost_limit_fraction: float = 0.5,
        **kwargs: Any,
    ) -> None:
        self.cost_limit_start, self.cost_limit_fraction = cost_limit_start, cost_limit_fraction
        self.cost_limits, self.cost_shapes, self.margins = dict(cost_limits or {}), dict(cost_shapes or {}), dict(margins or {})
        self.cost_gamma, self.cost_gae_lambda = cost_gamma, cost_gae_lambda
        self.cost_learning_rate, self.cost_net_arch = cost_learning_rate, tuple(cost_net_arch)
        self.cost_scaling, self.cost_estimate = cost_scaling, cost_estimate
        if kwargs.get("clip_range_vf") is not None or not kwargs.get("normalize_advantage", True):
            raise ConfigError("clip_range_vf and normalize_advantage are not supported by methods with cost critics")
        super().__init__(policy, env, *args, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        self.learned_costs = LearnedCosts(self.constraint_specs, self.cost_shapes, self.margins, self.cost_limits)
        limits = limits_of(self.constraint_specs, self.cost_limits)
        self.limited = list(limits)
        if self.learned_costs and (self.cost_estimate != "rate" or "discounted" in self._aggregates):
            raise ConfigError(
                "method.cost_shapes and method.margins need method.cost_estimate: rate, and no discounted aggregate"
            )
        gamma = self.gamma if self.cost_gamma is None else self.cost_gamma
        if gamma != self.gamma and "discounted" in self._aggregates:
            raise ConfigError("method.cost_gamma: a limit on a discounted cost is judged by method.gamma, leave it out")
        self.cost_critics = CostCritics(
            self.policy.features_dim,
            len(self.limited),
            self.cost_net_arch,
            self.policy.activation_fn,
            learning_rate=1e-3,  # set before every update
            scale=1.0 - gamma if gamma < 1.0 else 1e-3,
            gain=self.cost_gain,
        ).to(self.device)
        self.cost_scales = SlowScale(len(self.limited))
        senses = [self.constraint_specs[c].get("sense", "<=") for c in limits]
        self._final, self._falling = np.array(list(limits.values())), np.array([sense == "<=" for sense in senses])
        self.set_limits(list(limits.values()), senses)
        self._schedule()

    def _schedule(self) -> None:
        """Let the method see the present cost limits, where they fall."""
        if self.cost_limit_start is not None:
            left = max(0.0, 1.0 - (1.0 - self._current_progress_remaining) / self.cost_limit_fraction)
            start = np.where(self._falling, np.maximum(self.cost_limit_start, self._final), self._final)
            self.move_limits(self._final + left * (start - self._final))

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        super()._update_current_progress_remaining(num_timesteps, total_timesteps)
        self._schedule()

    @abstractmethod
    def move_limits(self, limits: Array) -> None:
        """Take other cost limits (C,) from now on."""

    @abstractmethod
    def set_limits(self, limits: list[float], senses: list[str]) -> None:
        """Take the cost limits and senses of the limited constraints, once, before training."""

    @abstractmethod
    def see_costs(self, costs: Array | None) -> None:
        """Take the mean episode costs (C,) of the limited constraints in a rollout, or None where it tells nothing."""

    @abstractmethod
    def policy_loss(self, batch: Rollout, log_prob: th.Tensor) -> th.Tensor:
        """Return what the policy descends on in a minibatch, given the log-probabilities (B,) it now gives the actions."""

    def mean_costs(self) -> Array | None:
        """Return the mean episode costs (C,) of the limited constraints in the rollout, by `cost_estimate`."""
        episodes = self.recorder.episodes
        return mean_costs(episodes, self._costs(), self.limited, self._aggregates, self.n_envs, self.cost_estimate)

    def per_step(self) -> Array:
        """Return the factors (C,) that turn aggregated costs of the limited constraints into costs per step."""
        return per_step(self.recorder.episodes, self._aggregates, self.n_envs)

    @property
    def _aggregates(self) -> list[str]:
        return [self.constraint_specs[c].get("aggregate", "sum") for c in self.limited]

    def _costs(self) -> Array:
        """Return the costs (n_steps, N, limited) to learn from."""
        buffer = self._buffer
        learned = self.learned_costs.replace(buffer.costs, buffer.constraint_values, self.recorder.constraint_set)
        return learned[..., self.limited]

    def _cost_optimizers(self) -> list[th.optim.Optimizer]:
        """Return the optimisers of what learns of costs."""
        return [self.cost_critics.optimizer]

    @property
    def _buffer(self) -> Any:
        return self.rollout_buffer

    def _features(self, observations: Any) -> th.Tensor:
        with th.no_grad():
            features = self.policy.extract_features(observations, self.policy.features_extractor)
        return features if isinstance(features, th.Tensor) else features[1]

    def _evaluate_costs(self) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
        """Return features (B, F), cost advantages (B, C) and scaled critic targets (B, C) of the rollout."""
        buffer, steps = self._buffer, self.n_steps
        newest: Any = self._last_obs
        shape = (self.n_envs, steps, len(self.limited))
        features = self._features(buffer.flat_observations())
        values = self.cost_critics.values(features).cpu().numpy().reshape(shape).swapaxes(0, 1)
        last, _ = self.policy.obs_to_tensor(newest)
        next_values = np.concatenate((values[1:], self.cost_critics.values(self._features(last)).cpu().numpy()[np.newaxis]))
        next_values[buffer.ended] = 0.0
        if buffer.truncated:
            observations = stack([observation for _, _, observation in buffer.truncated])
            found = self.cost_critics.values(self._features(self.policy.obs_to_tensor(observations)[0])).cpu().numpy()
            for (t, copy, _), value in zip(buffer.truncated, found, strict=True):
                next_values[t, copy] = value
        gamma = self.gamma if self.cost_gamma is None else self.cost_gamma
        gae_lambda = self.gae_lambda if self.cost_gae_lambda is None else self.cost_gae_lambda
        costs = self._costs()
        advantages, returns = cost_advantages(costs, values, next_values, buffer.ended, gamma, gae_lambda)
        self._log_critics(values, returns)
        flat = buffer.flat(advantages)
        if self.cost_scaling != "none":
            flat = flat - flat.mean(dim=0)
        if self.cost_scaling == "standardize":
            flat = flat / (flat.std(dim=0) + 1e-8)
        if self.cost_scaling == "slow":
            flat = self.cost_scales(flat)
        return features, flat, buffer.flat(returns) * self.cost_critics.scale

    def _log_critics(self, values: Array, returns: Array) -> None:
        for c, index in enumerate(self.limited):
            found = explained_variance(values[..., c].ravel(), returns[..., c].ravel())
            self.logger.record(f"constraint/{self.constraint_specs[index]['name']}/explained_variance", float(found))

    def train(self) -> None:
        """Update the policy by PPO's clipped loss on mixed advantages, and all critics by regression."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        rate = self.cost_learning_rate
        for optimizer in self._cost_optimizers():
            for group in optimizer.param_groups:
                group["lr"] = self.lr_schedule(self._current_progress_remaining) if rate is None else rate
        costs = self.mean_costs()
        if self.learned_costs and costs is not None:
            for c, learned in zip(self.limited, costs, strict=True):
                self.logger.record(f"constraint/{self.constraint_specs[c]['name']}/learned_cost", float(learned))
        self.see_costs(costs)
        rollout = self._rollout()
        with evaluated_in_threads(self.policy, self.update_threads):
            self._log_training(self._epochs(rollout))

    def _epochs(self, rollout: Rollout) -> list[dict[str, th.Tensor]]:
        """Go over the rollout in minibatches, epoch by epoch; return what is logged of each."""
        seen: list[dict[str, th.Tensor]] = []
        for _ in range(self.n_epochs):
            goes_on = True
            for index in th.split(th.randperm(len(rollout.advantages)), self.batch_size):
                loss, found = self._loss(rollout.pick(index))
                seen.append(found)
                goes_on = self.target_kl is None or float(found["approx_kl"]) <= 1.5 * self.target_kl
                if not goes_on:
                    break
                self._descend(loss)
            self._n_updates += 1
            if not goes_on:
                break
        return seen

    def _rollout(self) -> Rollout:
        """Return what was collected as flat tensors."""
        buffer = self._buffer
        features, cost_advantages, cost_targets = self._evaluate_costs()
        actions = buffer.flat(buffer.actions)
        return Rollout(
            buffer.flat_observations(),
            actions.long().flatten() if isinstance(self.action_space, spaces.Discrete) else actions,
            buffer.flat(buffer.log_probs).flatten(),
            buffer.flat(buffer.advantages).flatten(),
            buffer.flat(buffer.returns).flatten(),
            features,
            cost_advantages,
            cost_targets,
        )

    @property
    def clip_width(self) -> float:
        """How far from 1 the ratio of probabilities is held, at present."""
        clip: Any = self.clip_range
        return float(clip(self._current_progress_remaining))

    def clipped(self, advantages: th.Tensor, batch: Rollout, log_prob: th.Tensor) -> th.Tensor:
        """Return PPO's clipped loss (Schulman et al. 2017, equation 7), negative, of advantages (B,)."""
        ratio = (log_prob - batch.old_log_prob).exp()
        width = self.clip_width
        return -th.min(advantages * ratio, advantages * ratio.clamp(1 - width, 1 + width)).mean()

    def _loss(self, batch: Rollout) -> tuple[th.Tensor, dict[str, th.Tensor]]:
        """Return the sum of PPO's loss and the cost critics', which share no parameters, and what is logged of them."""
        values, log_prob, entropy = self.policy.evaluate_actions(batch.observations, batch.actions)
        policy_loss = self.policy_loss(batch, log_prob)
        value_loss = functional.mse_loss(values.flatten(), batch.returns)
        cost_value_loss = functional.mse_loss(self.cost_critics(batch.features), batch.cost_targets) * len(self.limited)
        loss = policy_loss + self.vf_coef * value_loss + cost_value_loss
        if self.ent_coef:
            loss = loss - self.ent_coef * (-log_prob if entropy is None else entropy).mean()
        with th.no_grad():
            log_ratio = log_prob - batch.old_log_prob
            ratio = log_ratio.exp()
            found = {
                "approx_kl": (ratio - 1 - log_ratio).mean(),
                "clip_fraction": ((ratio - 1).abs() > self.clip_width).float().mean(),
                "policy_gradient_loss": policy_loss.detach(),
                "value_loss": value_loss.detach(),
                "cost_value_loss": cost_value_loss.detach(),
                "entropy_loss": (log_prob if entropy is None else -entropy).mean(),
            }
        return loss, found

    def _descend(self, loss: th.Tensor) -> None:
        """Take one step of both optimisers; gradients are clipped apart, so that costs do not slow the policy down."""
        pairs: tuple[tuple[Any, Any], ...] = (
            (self.policy, self.policy.optimizer),
            (self.cost_critics, self.cost_critics.optimizer),
        )
        for _, optimizer in pairs:
            optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for module, optimizer in pairs:
            th.nn.utils.clip_grad_norm_(module.parameters(), self.max_grad_norm)
            optimizer.step()

    def _log_training(self, seen: list[dict[str, th.Tensor]]) -> None:
        buffer = self._buffer
        for name in seen[0]:
            self.logger.record(f"train/{name}", float(th.stack([found[name] for found in seen]).mean()))
        self.logger.record("train/explained_variance", explained_variance(buffer.values.flatten(), buffer.returns.flatten()))
        if hasattr(self.policy, "log_std"):
            self.logger.record("train/std", float(th.exp(self.policy.log_std.detach()).mean()))
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "cost_critics", *self._scales()]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        modules, variables = super()._get_torch_save_params()
        return [*modules, "cost_critics", "cost_critics.optimizer", *self._scales()], variables

    def _scales(self) -> list[str]:
        """Return the names of the slow scales that are used."""
        return ["cost_scales"] if self.cost_scaling == "slow" else []


def standardized(advantages: th.Tensor) -> th.Tensor:
    """Return advantages (B,) with mean 0 and deviation 1; a single one as it is."""
    return (advantages - advantages.mean()) / (advantages.std() + 1e-8) if len(advantages) > 1 else advantages


class CostCriticSettings(PPOSettings):
    """Settings of PPO, and those that methods with cost critics share; see `CostCriticPPO`."""

    cost_limits: dict[str, float] = {}  # noqa: RUF012 - pydantic copies it
    cost_shapes: dict[str, CostShape] = {}  # noqa: RUF012 - as above
    margins: dict[str, float] = {}  # noqa: RUF012 - as above
    cost_gamma: float | None = Field(None, ge=0, le=1)
    cost_gae_lambda: float | None = Field(None, ge=0, le=1)
    cost_learning_rate: PositiveFloat | None = None
    cost_net_arch: tuple[PositiveInt, ...] = (64, 64)
    cost_scaling: Scaling = "center"
    cost_estimate: Estimate = "rate"
    cost_limit_start: PositiveFloat | None = None
    cost_limit_fraction: float = Field(0.5, gt=0, le=1)

    def arguments(self) -> dict[str, Any]:
        """Return the algorithm's keyword arguments."""
        own = CostCriticSettings.model_fields.keys() - PPOSettings.model_fields.keys()
        arguments = {**super().arguments(), **{key: getattr(self, key) for key in sorted(own)}}
        # one kernel for all parameters: narrow networks spend a tenth of their training in Adam's loop
        arguments["policy_kwargs"]["optimizer_kwargs"] = {"eps": 1e-5, "fused": True}
        return arguments
