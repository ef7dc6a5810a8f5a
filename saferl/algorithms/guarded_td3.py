"""TD3 behind a safeguard that it learns: what is executed is a correction of what the actor proposes.

Critics learn from what was executed and look ahead to what would be, the target actor's actions with their corrections;
exploration noise comes before the correction, and the trained policy brings its safeguard along: `predict` corrects too. The
replay buffer keeps what was executed; no critic here learns from proposals, which only steps' infos tell.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import Any

import numpy as np
import torch as th
from pydantic import Field
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.torch_layers import FlattenExtractor

from saferl.algorithms.learned_safeguard import LearnedSafeguard, untouched
from saferl.algorithms.td3 import ConstrainedTD3, TD3Settings
from saferl.replay import Batch
from saferl_controllers.safeguard import Safeguarded
from saferl_envs.errors import ConfigError, choose

Array = np.ndarray[Any, Any]


class GuardedTD3(LearnedSafeguard, ConstrainedTD3):
    """TD3 whose actions are corrected once a first part of the training is over.

    Args:
        policy: As for SB3's TD3.
        env: An environment with constraints.
        warmup_fraction: Part of the training before corrections begin, while what they go by is learned.
        guarded: Names of the constraints that are guarded, or None for all.
        **kwargs: Further arguments of `ConstrainedTD3`.

    Raises:
        ConfigError: A name is of no constraint, or a guarded constraint is not one to stay below.
    """

    def __init__(
        self,
        policy: Any,
        env: Any,
        *args: Any,
        warmup_fraction: float = 0.1,
        guarded: tuple[str, ...] | None = None,
        **kwargs: Any,
    ) -> None:
        self.warmup_fraction, self.guarded = warmup_fraction, guarded
        self._proposes, self._begun = False, False
        super().__init__(policy, env, *args, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        names = [spec["name"] for spec in self.constraint_specs]
        for name in self.guarded or ():
            if name not in names:
                raise ConfigError(choose("constraint", name, names, "method.guarded"))
        self._columns = [c for c, name in enumerate(names) if self.guarded is None or name in self.guarded]
        for c in self._columns:
            if (sense := self.constraint_specs[c].get("sense", "<=")) != "<=":
                raise ConfigError(f"constraint {names[c]!r} has the sense {sense}: a safeguard can only keep costs low")

    @abstractmethod
    def correct(self, observations: Any, proposed: Array, plays: bool = False, rounds: int | None = None) -> Safeguarded:
        """Return what is executed in place of proposed actions, all scaled to [-1, 1].

        Args:
            observations: (N, ...) as the learner sees them.
            proposed: (N, na).
            plays: Whether a policy is played, past all schedules, rather than trained.
            rounds: How often a correction may be taken anew, None for as often as usual.
        """

    @abstractmethod
    def learn_safeguard(self, batch: Batch, following: th.Tensor) -> dict[str, th.Tensor]:
        """Take a gradient step of what corrections go by; return what is logged.

        Args:
            batch: Transitions.
            following: (B, na) what would be executed in the next states, by the target actor.
        """

    def pressure_loss(self, batch: Batch, actions: th.Tensor) -> th.Tensor:
        """Return what draws the actor to actions that need no correction; by default nothing."""
        return actions.new_zeros(())

    def follow_safeguard(self) -> None:
        """Move slow copies of what corrections go by, after every gradient step."""

    def following(self, batch: Batch) -> th.Tensor:
        """Return what would be executed in a batch's next states, (B, na): the target actor's actions, corrected once."""
        proposed = self.target_actions(batch)
        if not self.begun:
            return proposed
        found = self.correct(batch.next_observations, proposed.cpu().numpy(), rounds=1)
        return th.as_tensor(found.action, dtype=th.float32, device=self.device)

    @property
    def begun(self) -> bool:
        """Whether corrections have begun; a second `learn` does not put them off again."""
        return self._begun or self.progress >= self.warmup_fraction

    @property
    def progress(self) -> float:
        """The share of the training that is done; all of it where no training is known of."""
        total = getattr(self, "_total_timesteps", 0)
        return min(self.num_timesteps / total, 1.0) if total else 1.0

    def predict(self, observation: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the actor's actions, corrected unless `corrects` says otherwise or corrections have not begun."""
        actions, state = super().predict(observation, *args, **kwargs)
        if self._proposes or not self.corrects or not self.begun:
            return actions, state
        seen, several = self.policy.obs_to_tensor(observation)
        scaled = self.policy.scale_action(np.atleast_2d(actions))
        executed = self.policy.unscale_action(self.correct(seen, scaled, plays=True).action)
        return (executed if several else executed[0]), state

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[Array, Array]:
        self._proposes = True
        try:
            action, proposed = super()._sample_action(learning_starts, action_noise, n_envs)
        finally:
            self._proposes = False
        if not self.begun or self.num_timesteps < learning_starts:
            self.tell(untouched(action), action)
            return action, proposed
        began = time.perf_counter()
        found = self.correct(self.policy.obs_to_tensor(np.asarray(self._last_obs))[0], proposed)
        self.meter(found, proposed, time.perf_counter() - began)
        executed = self.policy.unscale_action(found.action)
        self.tell(found._replace(action=executed), action)
        return executed, found.action

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Take gradient steps of critics, of what corrections go by, and of the actor."""
        self.policy.set_training_mode(True)
        self._begun = self.begun
        self._update_learning_rate([self.actor.optimizer, self.critic.optimizer, *self._own_optimizers()])
        seen = []
        for _ in range(gradient_steps):
            self._n_updates += 1
            seen.append(self._step(self._buffer.draw(batch_size, self._vec_normalize_env)))
        for name in dict.fromkeys(key for found in seen for key in found):
            values = [found[name] for found in seen if name in found]
            self.logger.record(f"train/{name}", float(th.stack(values).mean()))
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.record_safeguard(self.logger)

    def _own_optimizers(self) -> list[th.optim.Optimizer]:
        return []

    def _step(self, batch: Batch) -> dict[str, th.Tensor]:
        """Take one gradient step of everything; the actor's is delayed."""
        following = self.following(batch)
        critic_loss, _ = self.critic_step(batch, following)
        found = {"critic_loss": critic_loss, **self.learn_safeguard(batch, following)}
        self.follow_safeguard()
        if self._n_updates % self.policy_delay == 0:
            actions = self.actor(batch.observations)
            actor_loss = -self.critic.q1_forward(batch.observations, actions).mean() + self.pressure_loss(batch, actions)
            self.actor_step(actor_loss)
            found["actor_loss"] = actor_loss.detach()
        return found

    def _features(self, observations: Any) -> th.Tensor:
        if isinstance(self.actor.features_extractor, FlattenExtractor):  # a fifth of a correction's time if called as a module
            flat: th.Tensor = observations.float().flatten(1)
            return flat
        with th.no_grad():
            return self.actor.extract_features(observations, self.actor.features_extractor)


class GuardedTD3Settings(TD3Settings):
    """What the settings of such methods share.

    Attributes:
        warmup_fraction: See `GuardedTD3`.
        guarded: See `GuardedTD3`.
    """

    warmup_fraction: float = Field(0.1, ge=0, le=1)
    guarded: tuple[str, ...] | None = Field(None, min_length=1)

    def arguments(self) -> dict[str, Any]:
        """Return the algorithm's keyword arguments: every setting that TD3 does not have is one."""
        own = type(self).model_fields.keys() - TD3Settings.model_fields.keys()
        return {**super().arguments(), **{key: getattr(self, key) for key in sorted(own)}}
