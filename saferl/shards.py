"""A policy's evaluation of a minibatch in several threads at once, forward and backward, for networks wide enough to pay.

torch's own threads meet at a barrier after every operation; a small network has many small operations. Here each thread
takes one part of the minibatch through the whole network, and they meet twice. The gradient is the sum of the parts', in a
fixed order: equal from run to run, and equal to the undivided one up to rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy

SMALLEST_SHARD = 256
_Part = tuple[ActorCriticPolicy, Any, th.Tensor]
Evaluated = tuple[th.Tensor, th.Tensor, th.Tensor | None]
"""Values (B, 1), log-probabilities (B,), entropies (B,) or None where the distribution has no closed form."""


class _Evaluate(th.autograd.Function):
    """Values, log-probabilities and entropies of all parts; its gradient with respect to the parameters."""

    @staticmethod
    def forward(ctx: Any, pool: ThreadPoolExecutor, parts: Sequence[_Part], *parameters: th.Tensor) -> Any:
        def one(part: _Part) -> tuple[th.Tensor, ...]:
            policy, observations, actions = part
            with th.enable_grad():
                return tuple(found for found in policy.evaluate_actions(observations, actions) if found is not None)

        ctx.pool, ctx.parameters = pool, parameters
        ctx.graphs = list(pool.map(one, parts))
        return tuple(th.cat([found.detach() for found in column]) for column in zip(*ctx.graphs, strict=True))

    @staticmethod
    def backward(ctx: Any, *slopes: th.Tensor) -> Any:
        def one(job: tuple[tuple[th.Tensor, ...], tuple[th.Tensor, ...]]) -> tuple[th.Tensor | None, ...]:
            found, slope = job
            slopes: tuple[th.Tensor | None, ...] = th.autograd.grad(found, ctx.parameters, slope, allow_unused=True)
            return slopes

        sizes = [len(found[0]) for found in ctx.graphs]
        split = zip(*(th.split(slope, sizes) for slope in slopes), strict=True)
        total, *others = ctx.pool.map(one, zip(ctx.graphs, split, strict=True))
        for other in others:
            total = tuple(b if a is None else a if b is None else a + b for a, b in zip(total, other, strict=True))
        return None, None, *total


def _twin(policy: ActorCriticPolicy) -> ActorCriticPolicy:
    """Return a policy with the same parameters and a distribution of its own, which every evaluation writes to."""
    twin = copy.copy(policy)
    twin.action_dist = copy.copy(policy.action_dist)
    return twin


def _split(batch: Any, n: int) -> Sequence[Any]:
    """Return a minibatch, a tensor or a dictionary of such, in n parts of about equal size."""
    if isinstance(batch, dict):
        columns = {key: part.tensor_split(n) for key, part in batch.items()}
        return [{key: column[i] for key, column in columns.items()} for i in range(n)]
    parts: Sequence[Any] = batch.tensor_split(n)
    return parts


@contextmanager
def evaluated_in_threads(policy: ActorCriticPolicy, n: int, smallest: int = SMALLEST_SHARD) -> Iterator[None]:
    """Let `policy.evaluate_actions` work in n threads, each on at least `smallest` samples; n = 1 leaves it as it is.

    torch gets one thread per operation meanwhile, in this process. The parts run at once on the same modules, so these must
    draw nothing and remember nothing: no dropout, no batch normalisation.
    """
    if n == 1:
        yield
        return
    twins = [_twin(policy) for _ in range(n)]
    parameters = [p for p in policy.parameters() if p.requires_grad]

    def evaluate(observations: Any, actions: th.Tensor) -> Evaluated:
        parts = min(n, len(actions) // smallest)
        if parts < 2 or not th.is_grad_enabled():
            return twins[0].evaluate_actions(observations, actions)
        jobs = list(zip(twins[:parts], _split(observations, parts), _split(actions, parts), strict=True))
        found = _Evaluate.apply(pool, jobs, *parameters)  # type: ignore[no-untyped-call]
        return (*found, None) if len(found) == 2 else found

    vars(policy)["evaluate_actions"] = evaluate
    try:
        with ThreadPoolExecutor(n, initializer=th.set_num_threads, initargs=(1,)) as pool:
            yield
    finally:
        del vars(policy)["evaluate_actions"]
