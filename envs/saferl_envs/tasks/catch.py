"""Catch: a ball falls down a board and a paddle below is to be under it; every move counts.

The board, the actions and the reward are those of bsuite (Osband et al. 2020, arXiv 1908.03568). New balls keep falling, the
paddle stays where the last one left it, and each step's info says whether it moved and whether a ball was caught, for
constraints to limit: catching and keeping still pull apart, and a limit on catching is one on what is wanted.
`saferl.tabular.problems.catch` is the same process as a table.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from saferl_envs.errors import TaskError

Board = NDArray[np.float32]


class Catch(gymnasium.Env[Board, Any]):
    """Observations (rows * columns,) with ones at ball and paddle; actions 0 left, 1 stay, 2 right.

    In the step after the ball has reached the lowest row the reward is 1 where the paddle is under it, else -1, and a new ball
    begins in a random column. ``info["moved"]`` is 1 for actions that are not 1, ``info["caught"]`` 1 where a ball was caught.

    Args:
        rows: Height of the board.
        columns: Width.
        render_mode: ``rgb_array`` or None.

    Raises:
        TaskError: The board is too small.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - as in Gymnasium

    def __init__(self, rows: int = 10, columns: int = 5, render_mode: str | None = None) -> None:
        if rows < 2 or columns < 2:
            raise TaskError(f"saferl/Catch-v0: the board needs at least 2 rows and 2 columns, got {rows} and {columns}")
        self.rows, self.columns, self.render_mode = rows, columns, render_mode
        self.observation_space = spaces.Box(0.0, 1.0, (rows * columns,), np.float32)
        self.action_space = spaces.Discrete(3)
        self._row = self._ball = self._paddle = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Board, dict[str, Any]]:
        """Begin with a ball at the top and the paddle in the middle."""
        super().reset(seed=seed)
        self._row, self._ball, self._paddle = 0, int(self.np_random.integers(self.columns)), self.columns // 2
        return self._board().ravel(), {"moved": 0.0, "caught": 0.0}

    def step(self, action: Any) -> tuple[Board, float, bool, bool, dict[str, Any]]:
        """Move the paddle and let the ball fall."""
        reward = 0.0
        if self._row == self.rows - 1:
            reward = 1.0 if self._paddle == self._ball else -1.0
            self._row, self._ball = 0, int(self.np_random.integers(self.columns))
        else:
            self._row += 1
        self._paddle = min(max(self._paddle + int(action) - 1, 0), self.columns - 1)
        return self._board().ravel(), reward, False, False, {"moved": float(action != 1), "caught": float(reward > 0.0)}

    def _board(self) -> Board:
        board = np.zeros((self.rows, self.columns), np.float32)
        board[self._row, self._ball] = board[self.rows - 1, self._paddle] = 1.0
        return board

    def render(self) -> Any:
        """Return a frame (20 rows, 20 columns, 3) uint8: the ball light, the paddle red."""
        frame = np.zeros((self.rows, self.columns, 3), np.uint8)
        frame[self._row, self._ball] = 230
        frame[self.rows - 1, self._paddle, 0] = 230
        return frame.repeat(20, axis=0).repeat(20, axis=1)


gymnasium.register("saferl/Catch-v0", entry_point="saferl_envs.tasks.catch:Catch", max_episode_steps=100)
