"""Small constrained problems on which plain gradient descent-ascent goes round in circles.

Those with equal reward and cost are paradoxical in the sense of Moskovitz et al. 2023 (ReLOAD, arXiv 2302.01275): what is
wanted is what is limited, the optimum lies on the threshold, and only a stochastic policy gets there. The paper's own
thresholds and sizes are not published; these are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from saferl.tabular.cmdp import CMDP
from saferl_envs.errors import ConfigError, choose


def bandit(threshold: float = 0.5) -> CMDP:
    """Two arms, one of which pays 1 and costs 1. Optimum: pull it with probability `threshold`; its multiplier is 1."""
    pays = np.array([[1.0, 0.0]])
    return CMDP(np.ones((1, 2, 1)), pays, [pays], [threshold], [1.0], 0.0, "bandit")


def three_states(threshold: float = 0.4, stay: float = 0.9, gamma: float = 0.9) -> CMDP:
    """From home to the left, which pays 1 and costs 1 while one is there, or to the right, where nothing happens.

    Either action leads there from home. At both ends action 0 stays with probability `stay`, else it leads home; action 1
    leads home with probability `stay`, else it stays. The multiplier of the optimum is 1.
    """
    home, left, right = 0, 1, 2
    transitions = np.zeros((3, 2, 3))
    transitions[home, 0, left] = transitions[home, 1, right] = 1.0
    for end in (left, right):
        transitions[end, 0, [end, home]] = stay, 1.0 - stay
        transitions[end, 1, [home, end]] = stay, 1.0 - stay
    pays = np.zeros((3, 2))
    pays[left] = 1.0
    return CMDP(transitions, pays, [pays], [threshold], [1.0, 0.0, 0.0], gamma, "three states")


def garnet(
    states: int = 20,
    actions: int = 4,
    branching: int = 3,
    constraints: int = 1,
    threshold: float = 0.5,
    correlation: float = 0.7,
    gamma: float = 0.9,
    seed: int = 1,
) -> CMDP:
    """Random process of Archibald, McKinnon and Thomas 1995: from each pair `branching` random states, random weights.

    Rewards are uniform in [0, 1); costs are ``correlation`` times the reward plus ``1 - correlation`` times uniform noise.

    Raises:
        ConfigError: There are not as many states as branches.
    """
    if not 1 <= branching <= states:
        raise ConfigError(f"garnet: branching must be between 1 and the number of states {states}, got {branching}")
    rng = np.random.default_rng(seed)
    transitions = np.zeros((states, actions, states))
    for state in range(states):
        for action in range(actions):
            reached = rng.choice(states, branching, replace=False)
            transitions[state, action, reached] = rng.dirichlet(np.ones(branching))
    reward = rng.uniform(size=(states, actions))
    costs = [correlation * reward + (1.0 - correlation) * rng.uniform(size=reward.shape) for _ in range(constraints)]
    thresholds = np.full(constraints, threshold)
    return CMDP(transitions, reward, costs, thresholds, np.full(states, 1.0 / states), gamma, "garnet")


def catch(rows: int = 10, columns: int = 5, threshold: float = 0.1, gamma: float = 0.99) -> CMDP:
    """Catch (bsuite, Osband et al. 2020): a ball falls down a board, a paddle moves left, stays or moves right.

    Reward at the lowest row: 1 where the paddle is under the ball, else -1; then a new ball falls in a random column, the
    paddle stays where it is. Cost: 1 for each move, so that catching and keeping still pull apart. Reward and cost are per
    step; dividing them by ``1 / rows`` gives those per ball.
    """
    shape = (rows, columns, columns)  # row and column of the ball, column of the paddle
    states = int(np.prod(shape))
    transitions, reward = np.zeros((states, 3, states)), np.zeros((states, 3))
    cost = np.tile([1.0, 0.0, 1.0], (states, 1))
    for state in range(states):
        row, ball, paddle = (int(i) for i in np.unravel_index(state, shape))
        for action in range(3):
            moved = min(max(paddle + action - 1, 0), columns - 1)
            if row == rows - 1:
                reward[state, action] = 1.0 if paddle == ball else -1.0
                for column in range(columns):
                    transitions[state, action, np.ravel_multi_index((0, column, moved), shape)] += 1.0 / columns
            else:
                transitions[state, action, np.ravel_multi_index((row + 1, ball, moved), shape)] = 1.0
    initial = np.zeros(shape)
    initial[0, :, columns // 2] = 1.0 / columns
    return CMDP(transitions, reward, [cost], [threshold], initial.ravel(), gamma, "catch")


PROBLEMS: Mapping[str, Callable[[], CMDP]] = {"bandit": bandit, "three_states": three_states, "garnet": garnet, "catch": catch}


def make_problem(name: str) -> CMDP:
    """Return a problem by name, with its defaults.

    Raises:
        ConfigError: There is none of that name.
    """
    if name not in PROBLEMS:
        raise ConfigError(choose("problem", name, PROBLEMS, "saferl tabular"))
    return PROBLEMS[name]()
