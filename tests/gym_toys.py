"""Small Gymnasium environments with facts that can be computed by hand; importing this registers them."""

from __future__ import annotations

from typing import ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

from saferl_envs.constraints import ConstraintSet, SignalLimit
from saferl_envs.signals import SignalInfo
from saferl_envs.wrap import Constrained


class Dial(gymnasium.Env):
    """A dial that is turned: observations in a dictionary, numbers, an array and words in the info, random lengths."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 - Gymnasium's declaration
    observation_space = spaces.Dict({"angle": spaces.Box(-9, 9, (2,), np.float32), "level": spaces.Box(-99, 99, (1,))})
    action_space = spaces.Box(-1, 1, (2,), np.float32)
    made: ClassVar[list[Dial]] = []

    def __init__(self, render_mode=None, gain=1.0, forget_at=None, grow_at=None, luck=0.0, shy=False):
        self.render_mode, self.gain, self.luck, self.shy = render_mode, gain, luck, shy
        self.forget_at, self.grow_at = forget_at, grow_at
        self.calls = 0
        Dial.made.append(self)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.calls += 1
        self.angle = self.np_random.uniform(-1, 1, 2)
        self.steps, self.length = 0, int(self.np_random.integers(3, 9))
        return self._observe(), {} if self.shy else {"speed": 0.25, "note": "begun"}

    def step(self, action):
        self.calls += 1
        action *= self.gain  # some environments do write into the caller's array
        self.angle = np.clip(self.angle + action + self.luck * np.random.default_rng().normal(), -9, 9)
        self.steps += 1
        info = {"speed": float(np.abs(action).sum()), "forces": np.array([self.steps, -1.0, action[0]]), "note": "moved"}
        if self.steps == self.forget_at:
            del info["speed"]
        if self.steps == self.grow_at:
            info["forces"] = np.zeros(4)
        reward = float(self.angle[0]) + self.np_random.normal()
        return self._observe(), reward, bool(self.steps >= self.length), False, info

    def _observe(self):
        return {"angle": self.angle.astype(np.float32), "level": np.array([self.steps], np.float32)}

    def render(self):
        """A dark picture, twice as wide as high, whose red is ten times the step."""
        frame = np.zeros((40, 80, 3), np.uint8)
        frame[..., 0] = 10 * self.steps
        return frame


class Unstable(Dial):
    """Its course does not follow from its seed."""

    def __init__(self, **kwargs):
        super().__init__(luck=0.1, **kwargs)


class Picture(gymnasium.Env):
    """Observes a picture; acts with two switches; never ends."""

    observation_space = spaces.Box(0, 255, (4, 5, 3), np.uint8)
    action_space = spaces.MultiDiscrete([2, 3])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.integers(0, 255, (4, 5, 3)).astype(np.uint8), {}

    def step(self, action):
        return np.full((4, 5, 3), 10 * action[0] + action[1], np.uint8), 0.0, False, False, {}


class SaysConstraints(Dial):
    """Has constraints without our wrapper; with `says_values` it evaluates them itself, on what is not seen outside."""

    def __init__(self, says_values=True, **kwargs):
        super().__init__(**kwargs)
        self.says_values = says_values
        names = ("angle_0", "angle_1")
        limit = SignalLimit(name="turned", signal="observation/angle", components=("angle_1",), limit=0.5, cost_limit=2.0)
        self.constraints = ConstraintSet([limit], {"observation/angle": SignalInfo(names, "rad")})

    def _values(self):
        return {"constraint_values": np.array([self.angle[1] - 0.5])} if self.says_values else {}

    def reset(self, **kwargs):
        observation, info = super().reset(**kwargs)
        return observation, info | self._values()

    def step(self, action):
        *rest, info = super().step(action)
        return *rest, info | self._values()


class Halved(gymnasium.ObservationWrapper, gymnasium.utils.RecordConstructorArgs):
    """Shows half of every observation."""

    def __init__(self, env):
        gymnasium.utils.RecordConstructorArgs.__init__(self)
        super().__init__(env)

    def observation(self, observation):
        return {key: part / 2 for key, part in observation.items()}


class SixValues:
    """A CartPole in the interface of Safety-Gymnasium: the cost is how far the cart is from the middle beyond 2 cm, in cm."""

    def __init__(self):
        self.env = gymnasium.make("CartPole-v1")
        self.observation_space, self.action_space = self.env.observation_space, self.env.action_space

    def reset(self, *, seed=None, options=None):
        return self.env.reset(seed=seed, options=options)

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, max(100 * abs(float(observation[0])) - 2, 0), terminated, truncated, info

    def close(self):
        self.env.close()


LEVEL = SignalLimit(name="late", signal="observation/level", limit=2.0, cost="excess", cost_limit=1.0)
OWN = Constrained.wrapper_spec(constraints=[LEVEL.to_spec()])

gymnasium.register("toy/Dial-v0", "gym_toys:Dial")
gymnasium.register("toy/Unstable-v0", "gym_toys:Unstable", nondeterministic=True)
gymnasium.register("toy/Picture-v0", "gym_toys:Picture")
gymnasium.register("toy/SaysConstraints-v0", "gym_toys:SaysConstraints")
gymnasium.register("toy/Constrained-v0", "gym_toys:Dial", max_episode_steps=6, additional_wrappers=(OWN,))
gymnasium.register("toy/Halved-v0", "gym_toys:Dial", additional_wrappers=(OWN, Halved.wrapper_spec()))
