"""Train CaT from Python rather than from the command line, with constraints of one's own, and look at what they say.

python examples/train_in_python.py [steps]
"""

import os
import sys

# before torch is imported: OpenMP's workers must not spin beside the simulation's threads
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

from saferl.algorithms import CaT
from saferl.evaluation.rollout import play
from saferl.vec import ConstrainedVecEnv
from stable_baselines3.common.vec_env import VecNormalize

from saferl_envs.constraints import ActionRate, BaseHeight, JointVelocity
from saferl_envs.make import make_engine

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
task = "saferl/HalfCheetahLimits-v0"
constraints = (
    JointVelocity(name="joint_speed", limit=8.0),
    ActionRate(name="action_rate", limit=1.0),
    BaseHeight(name="belly", limit=0.4, bound="lower", kind="style"),
)

env = VecNormalize(ConstrainedVecEnv(task, 64, constraints=constraints))
model = CaT(
    "MlpPolicy", env, n_steps=64, batch_size=1024, n_epochs=5, policy_kwargs={"log_std_init": -0.5}, device="cpu", seed=0
)
model.learn(steps)

engine = make_engine(task, 10, constraints=constraints)
episodes = play(engine, lambda seen: model.predict(env.normalize_obs(seen), deterministic=True)[0], seed=1_000_000)
print(f"return {episodes.returns.mean():.0f}")
for i, constraint in enumerate(engine.constraints):
    rate = 100 * episodes.violating_steps[:, i].sum() / episodes.lengths.sum()
    print(f"{constraint.name:12s} limit {constraint.limit:g} {constraint.unit:7s} violated on {rate:.1f} % of steps")
