"""A QP safety layer on TD3: constraint values are learned as linear in the action, and actions projected onto where they hold.

Dalal et al. 2018 (safety layer, arXiv 1801.08757) learn how much an action moves each safety signal, and correct by the closed
form for the one constraint that is broken most. Here the model of every constraint's value after the step is::

    g(s') ~ b(s) + G(s) a

and the closest action with ``b + G a <= -margin`` for all of them together is found by a quadratic program. The rungs of its
ladder: 0 the proposal, 1 the projection, 2 the action that exceeds the rows least. **Ours:** the
intercept b is learned too, where the paper takes the signal's present value, so that a policy needs its observation alone; the
model learns while the policy does, from the replay buffer, where the paper's is trained beforehand on random actions.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch as th
from pydantic import Field, PositiveInt
from torch import nn
from torch.nn import functional

from saferl.algorithms.guarded_td3 import GuardedTD3, GuardedTD3Settings
from saferl.algorithms.off_policy import ConstrainedOffPolicy
from saferl.algorithms.registry import register_method
from saferl.replay import Batch
from saferl_controllers.projection.fast import PolytopeProjection
from saferl_controllers.safeguard import Safeguarded

Array = np.ndarray[Any, Any]
LEAST_DEVIATION = 1e-3
"""Of a component in its unit: one that has not moved for long must not outweigh all others when it first does."""


class LinearModel(nn.Module):
    """Constraint values after a step: b(s) + G(s) a, in units of a running scale of each component.

    Args:
        inputs: Number of features.
        actions: Number of actions.
        components: Number K of constraint components.
        hidden: Widths of the hidden layers.
        learning_rate: Of Adam.
    """

    scale: th.Tensor

    def __init__(self, inputs: int, actions: int, components: int, hidden: tuple[int, ...], learning_rate: float) -> None:
        super().__init__()
        self.components, self.actions = components, actions
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Linear(inputs, width), nn.ReLU()]
            inputs = width
        self.network = nn.Sequential(*layers, nn.Linear(inputs, components * (1 + actions)))
        self.register_buffer("scale", th.ones(components))
        self.optimizer = th.optim.Adam(self.parameters(), lr=learning_rate, fused=True)

    def forward(self, features: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        """Return intercepts (B, K) and slopes (B, K, na), scaled."""
        found = self.network(features).reshape(len(features), self.components, 1 + self.actions)
        return found[..., 0], found[..., 1:]


class QPLayer(GuardedTD3):
    """TD3 behind a learned linear model of its constraints.

    Args:
        policy: As for SB3's TD3.
        env: An environment with constraints.
        margin: How far below zero constraint values must stay, in units of their running scale.
        model_net_arch: Hidden widths of the model.
        **kwargs: Further arguments of `GuardedTD3`.
    """

    rungs = 3
    model: LinearModel

    def __init__(
        self,
        policy: Any,
        env: Any,
        *args: Any,
        margin: float = 0.1,
        model_net_arch: tuple[int, ...] = (128, 128),
        **kwargs: Any,
    ) -> None:
        self.margin, self.model_net_arch = margin, tuple(model_net_arch)
        super().__init__(policy, env, *args, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        sizes = [len(spec["components"]) for spec in self.constraint_specs]
        starts = np.concatenate(([0], np.cumsum(sizes)))
        self._components = np.concatenate([np.arange(starts[c], starts[c + 1]) for c in self._columns])
        width = int(np.prod(self.action_space.shape or ()))
        self.model = LinearModel(
            self.actor.features_dim, width, len(self._components), self.model_net_arch, self.lr_schedule(1)
        ).to(self.device)  # fmt: skip
        self._project = PolytopeProjection(-np.ones(width), np.ones(width))

    def correct(self, observations: Any, proposed: Array, plays: bool = False, rounds: int | None = None) -> Safeguarded:
        """Return what is executed in place of proposed actions; see `GuardedTD3.correct`."""
        with th.no_grad():
            intercepts, slopes = self.model(self._features(observations))
        rows, offsets = slopes.cpu().double().numpy(), -self.margin - intercepts.cpu().double().numpy()
        wanted = np.asarray(proposed, np.float64)
        found = self._project(wanted, rows, offsets)
        intervened, slack = (found.point != wanted).any(axis=1), found.slack.max(axis=1, initial=0.0)
        rung = np.where(found.feasible, intervened.astype(np.intp), 2)
        action = found.point.astype(np.float32)
        return Safeguarded(action, found.feasible, slack, intervened, np.zeros(len(wanted), np.bool_), rung)

    def learn_safeguard(self, batch: Batch, following: th.Tensor) -> dict[str, th.Tensor]:
        """Take a gradient step of the model."""
        values = batch.values[:, self._components]
        with th.no_grad():
            self.model.scale.lerp_(values.std(dim=0, unbiased=False).clamp(min=LEAST_DEVIATION), 0.01)
        intercepts, slopes = self.model(self._features(batch.observations))
        expected = intercepts + th.einsum("bka,ba->bk", slopes, batch.executed)
        loss = functional.mse_loss(expected, values / self.model.scale)
        self.model.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.model.optimizer.step()
        return {"model_loss": loss.detach()}

    def _own_optimizers(self) -> list[th.optim.Optimizer]:
        return [self.model.optimizer]

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "model", "_project"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        modules, variables = super()._get_torch_save_params()
        return [*modules, "model", "model.optimizer"], variables


@register_method(
    "qp_layer",
    "QP safety layer on TD3: constraint values learned as linear in the action, actions projected onto where they hold",
    "Dalal et al. 2018, arXiv 1801.08757",
)
class QPLayerSettings(GuardedTD3Settings):
    """Settings of the QP layer: TD3's, and the class's arguments."""

    algorithm: ClassVar[type[ConstrainedOffPolicy]] = QPLayer

    name: str = "qp_layer"
    margin: float = Field(0.1, ge=0)
    model_net_arch: tuple[PositiveInt, ...] = (128, 128)
