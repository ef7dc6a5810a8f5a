"""Run a benchmark topic, or verify its summary against its raw files: ``benchmark.py cat``, ``benchmark.py --verify cat``."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

TOPICS = (
    "acs",
    "ant_run",
    "barrier",
    "calibration",
    "cat",
    "catch",
    "composition",
    "correctness",
    "foreign",
    "fresh",
    "in_training",
    "method_speed",
    "off_policy",
    "projection",
    "recovery",
    "reproducible",
    "senses",
    "several",
    "solo12",
    "solo12_alternatives",
    "solo12_speed",
    "solo12_terrain",
    "speed",
    "speed_bound",
    "threads",
    "training_speed",
    "velocity",
)


def main() -> int:
    """Run or verify; return 1 when a summary does not follow from its raw files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("topic", choices=TOPICS, nargs="?")
    parser.add_argument("--tables", action="store_true", help="write the tables of claims into README and docs")
    parser.add_argument("--quick", action="store_true", help="a smaller version, in a few minutes; changes no summary")
    parser.add_argument("--verify", action="store_true", help="recompute the claims from the raw files and compare")
    options = parser.parse_args()
    from benchmarks import evidence, tables

    if options.tables:
        for path in tables.write():
            print(f"wrote {path.name}")
        return 0
    if options.topic is None:
        parser.error(f"name a topic ({', '.join(TOPICS)}) or give --tables")
    topic = importlib.import_module(f"benchmarks.{options.topic}")
    if options.verify:
        problems = evidence.verify(topic.TOPIC, topic.claims())
        for problem in problems:
            print(problem)
        print(f"{options.topic}: {'summary follows from the raw files' if not problems else 'DIFFERS'}")
        return 1 if problems else 0
    topic.run(options.quick)
    if options.quick:
        return 0
    for row in evidence.write_summary(topic.TOPIC, topic.claims()):
        print(
            f"{'holds' if row['holds'] else 'FALLS SHORT'}  {row['id']}: {row['measured']:.4g} {row['unit']} ({row['target']})"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
