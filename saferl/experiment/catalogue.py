"""What there is: environments with their constraints, methods, safeguards, configurations, grids of benchmarks."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from saferl.algorithms import methods
from saferl.experiment.config import builtin_configs
from saferl.experiment.grid import builtin_grids
from saferl_controllers.registry import safeguards
from saferl_envs.engine import Engine
from saferl_envs.errors import MissingPackageError
from saferl_envs.tasks import make_task, task_ids

_SHOWN = ("name", "unit", "limit", "kind", "sense", "cost_limit", "components")


def catalogue() -> dict[str, Any]:
    """Return environments, methods, safeguards, configurations and grids as JSON data."""
    environments: list[dict[str, Any]] = []
    for env_id in task_ids():
        try:
            engine = Engine(make_task(env_id), threads=1)
        except MissingPackageError as error:
            empty: dict[str, Any] = {"observation_shape": [], "action_shape": [], "constraints": []}
            environments.append({"id": env_id, **empty, "missing": str(error)})
            continue
        environments.append(
            {
                "id": env_id,
                "observation_shape": list(engine.observe().shape[1:]),
                "action_shape": list(engine.action_space.shape),
                "constraints": [{key: getattr(c, key) for key in _SHOWN} for c in engine.constraints],
            }
        )
    return {
        "environments": environments,
        "methods": [{"name": m.name, "summary": m.summary, "paper": m.paper} for m in methods().values()],
        "safeguards": [{"name": s.name, "summary": s.summary, "paper": s.paper} for s in safeguards().values()],
        "configs": sorted(builtin_configs()),
        "grids": sorted(builtin_grids()),
    }


def tables(found: dict[str, Any]) -> list[Table]:
    """Return the catalogue as terminal tables."""
    environments = Table("id", "observation", "action", "constraints", title="environments", title_justify="left")
    for env in found["environments"]:
        limits = [
            f"{c['name']}: limit {c['limit']:g} {c['unit']}"
            + (f", cost {c['sense']} {c['cost_limit']:g} per episode" if c["cost_limit"] is not None else "")
            + (f" x {len(c['components'])}" if len(c["components"]) > 1 else "")
            for c in env["constraints"]
        ]
        sizes = (str(env[k][0]) if env[k] else "-" for k in ("observation_shape", "action_shape"))
        environments.add_row(env["id"], *sizes, "\n".join(limits) or env["missing"])
    described = []
    for kind in ("methods", "safeguards"):
        described.append(Table("name", "what it does", "paper", title=kind, title_justify="left"))
        for item in found[kind]:
            described[-1].add_row(item["name"], item["summary"], item["paper"])
    configs = Table("name", title="configurations (saferl train NAME)", title_justify="left")
    for name in found["configs"]:
        configs.add_row(name)
    grids = Table("name", title="grids (saferl benchmark NAME)", title_justify="left")
    for name in found["grids"]:
        grids.add_row(name)
    return [environments, *described, configs, grids]
