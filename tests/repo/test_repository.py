"""The repository itself: layers hold, documents run, links lead somewhere, claims follow from their raw rows."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from saferl.experiment.config import build_config, builtin_configs, load_config

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
TOPICS = sorted(p.parent.name for p in (ROOT / "benchmarks/results").glob("*/summary.json"))


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_python_in_documents_runs(page):
    for code in blocks(page, "python"):
        exec(compile(code, str(page), "exec"), {"__name__": "document"})  # noqa: S102 - our own documents
    assert page.read_text().startswith("# ")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_in_documents_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_yaml_in_documents_is_valid_configuration():
    import yaml

    found = [yaml.safe_load(text) for page in PAGES for text in blocks(page, "yaml")]
    assert len(found) >= 2
    for data in found:
        build_config({"method": {"name": "cat"}, **data}, "document")


@pytest.mark.parametrize("name", sorted(builtin_configs()))
def test_every_configuration_loads(name):
    assert load_config(name).method.name == name.split("/")[0]


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.name)
def test_every_example_runs(path):
    result = subprocess.run([sys.executable, path, "4096"], capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    assert "violated on" in result.stdout


@pytest.mark.parametrize("module", ["saferl.termination"])
def test_examples_in_docstrings_are_true(module):
    import doctest

    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted > 0
    assert result.failed == 0


def test_layers_hold():
    lint = Path(sys.executable).parent / "lint-imports"
    result = subprocess.run([lint], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_importing_the_packages_is_quick_and_silent():
    code = "import sys, saferl, saferl_envs; assert 'torch' not in sys.modules; assert 'cvxpy' not in sys.modules"
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("topic", TOPICS)
def test_summaries_follow_from_their_raw_rows(topic):
    from benchmarks import evidence

    module = importlib.import_module(f"benchmarks.{topic}")
    assert evidence.verify(topic, module.claims()) == []


def test_tables_in_documents_are_those_of_the_summaries():
    from benchmarks import tables

    for name in tables.PAGES:
        text = (ROOT / name).read_text()
        assert tables.render(text) == text, f"{name}: run python scripts/benchmark.py --tables"


def test_no_file_is_longer_than_a_reader_bears():
    for path in [*ROOT.glob("saferl/**/*.py"), *ROOT.glob("envs/**/*.py"), *ROOT.glob("controllers/**/*.py")]:
        assert path.read_text().count("\n") <= 400, path
