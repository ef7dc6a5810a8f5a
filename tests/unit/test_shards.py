"""Gradients computed in several threads are the undivided ones."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from saferl.shards import evaluated_in_threads
from stable_baselines3.common.policies import ActorCriticPolicy, MultiInputActorCriticPolicy

SPACES = {
    "box": spaces.Box(-1, 1, (5,)),
    "dict": spaces.Dict({"a": spaces.Box(-1, 1, (3,)), "b": spaces.Box(-1, 1, (2,))}),
}


def gradients(policy: ActorCriticPolicy, observations: object, actions: th.Tensor, threads: int) -> list[th.Tensor]:
    policy.optimizer.zero_grad()
    with evaluated_in_threads(policy, threads, smallest=10):
        values, log_prob, entropy = policy.evaluate_actions(observations, actions)
        assert entropy is not None
        weights = th.linspace(-1, 1, len(actions))
        (values.flatten().square() * weights + log_prob.exp() * weights - 0.1 * entropy).mean().backward()
    return [p.grad.clone() for p in policy.parameters() if p.grad is not None]


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("threads", [2, 3])
def test_divided_gradients_are_the_undivided(name: str, discrete: bool, threads: int) -> None:
    th.manual_seed(3)
    kind = MultiInputActorCriticPolicy if name == "dict" else ActorCriticPolicy
    action_space: gymnasium.Space = spaces.Discrete(4) if discrete else spaces.Box(-1, 1, (2,))
    policy = kind(SPACES[name], action_space, lambda _: 1e-3)
    n = 101
    observations = {"a": th.randn(n, 3), "b": th.randn(n, 2)} if name == "dict" else th.randn(n, 5)
    actions = th.randint(4, (n,)) if discrete else th.randn(n, 2)
    whole, divided = (gradients(policy, observations, actions, k) for k in (1, threads))
    assert len(whole) == len(divided) == len(list(policy.parameters()))
    for a, b in zip(whole, divided, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    again = gradients(policy, observations, actions, threads)
    assert all(th.equal(a, b) for a, b in zip(divided, again, strict=True))
    assert "evaluate_actions" not in vars(policy)


def test_small_minibatches_stay_whole() -> None:
    policy = ActorCriticPolicy(SPACES["box"], spaces.Box(-1, 1, (2,)), lambda _: 1e-3)
    with evaluated_in_threads(policy, 2, smallest=100):
        values, _, _ = policy.evaluate_actions(th.randn(150, 5), th.randn(150, 2))
        assert "_Evaluate" not in type(values.grad_fn).__name__
