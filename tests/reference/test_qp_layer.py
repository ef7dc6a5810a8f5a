"""The QP layer: its model learns what is linear exactly, and its corrections are the projections that follow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch as th
from saferl.algorithms.qp_layer import QPLayer
from saferl.experiment.build import make_model, make_vec_env
from saferl.experiment.config import build_config
from saferl.replay import Batch

CONTENT: dict[str, Any] = {
    "env": {"id": "saferl/QuadrotorCircle-v0", "num_envs": 4},
    "method": {"name": "qp_layer", "n_steps": 16, "batch_size": 32, "learning_starts": 64, "net_arch": [8]},
    "threads": 1,
}


def build(**changes: Any) -> QPLayer:
    config = build_config({**CONTENT, "method": {**CONTENT["method"], **changes}}, "test")
    model = make_model(config, make_vec_env(config))
    assert isinstance(model, QPLayer)
    return model


def test_a_linear_world_is_learned() -> None:
    th.manual_seed(0)
    model = build(model_net_arch=[32], learning_rate=1e-2)
    slopes, intercepts = th.randn(3, 2), th.randn(3)
    for k in range(800):
        model._n_updates += 1
        actions = th.rand(64, 2) * 2 - 1
        values = intercepts + actions @ slopes.T
        zeros = th.zeros(64, 1)
        none = th.zeros(64, 2)
        batch = Batch(th.randn(64, 11), actions, th.randn(64, 11), zeros, zeros, none, none, values, actions)
        model.learn_safeguard(batch, actions)
        if k == 700:
            model.model.optimizer.param_groups[0]["lr"] = 1e-3
    with th.no_grad():
        found_intercepts, found_slopes = model.model(th.randn(64, 11))
    scale = model.model.scale
    np.testing.assert_allclose(found_intercepts.mean(dim=0) * scale, intercepts, atol=0.05)
    np.testing.assert_allclose(found_slopes.mean(dim=0) * scale[:, None], slopes, atol=0.05)


def test_corrections_are_projections_onto_all_rows() -> None:
    model = build(margin=0.1)

    class World(th.nn.Module):
        def forward(self, features: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
            n = len(features)
            rows = th.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
            return th.tensor([0.0, 0.2, -1.0]).expand(n, 3), rows.expand(n, 3, 2)

    model.model = World()  # type: ignore[assignment]
    found = model.correct(th.zeros(3, 11), np.array([[0.5, 0.5], [-0.5, -0.5], [0.5, -0.9]]))
    np.testing.assert_allclose(found.action, [[-0.1, -0.3], [-0.5, -0.5], [-0.1, -0.9]], atol=1e-6)
    assert found.intervened.tolist() == [True, False, True]
    assert found.feasible.all()


def test_only_guarded_components_are_modelled() -> None:
    assert build().model.components == 3
    assert build(guarded=["pitch"])._components.tolist() == [2]
    assert build(guarded=["box"])._components.tolist() == [0, 1]


def test_slopes_of_nothing_are_said_to_be_infeasible() -> None:
    model = build(margin=0.0)

    class Hopeless(th.nn.Module):
        def forward(self, features: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
            return th.ones(len(features), 3), th.zeros(len(features), 3, 2)

    model.model = Hopeless()  # type: ignore[assignment]
    found = model.correct(th.zeros(1, 11), np.array([[0.5, 0.5]]))
    assert not found.feasible[0]
    assert found.action[0].tolist() == pytest.approx([0.5, 0.5], abs=1e-6)
