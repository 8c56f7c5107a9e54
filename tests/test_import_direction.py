"""Imports point one way only: flows -> stages -> comat_core, with data beside stages."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "comat_core": {"comat_core"},
    "data": {"data", "comat_core"},
    "stages": {"stages", "data", "comat_core"},
    "flows": {"flows", "stages", "data", "comat_core"},
}
OURS = {*MAY_IMPORT, "tests", "benchmarks"}


def imported_modules(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            modules.add(node.module or "")
    return modules


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_package_imports_only_what_lies_below_it(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        ours = {module.split(".")[0] for module in imported_modules(path)} & OURS
        assert ours <= MAY_IMPORT[package], f"{path.relative_to(ROOT)} imports {sorted(ours - MAY_IMPORT[package])}"


@pytest.mark.parametrize("package", ["comat_core", "stages", "data"])
def test_only_flows_know_prefect(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        assert not any(module.split(".")[0].startswith("prefect") for module in imported_modules(path)), path


def test_kernel_knows_no_store_and_no_tables() -> None:
    for path in (ROOT / "comat_core").rglob("*.py"):
        roots = {module.split(".")[0] for module in imported_modules(path)}
        assert not roots & {"fsspec", "pyarrow"}, path


def test_planning_a_run_imports_no_torch() -> None:
    program = """
import sys
from stages.plan.dag import NODES, load_stage
for node in NODES:
    load_stage(node.module)
import flows.command_line.cli
heavy = sorted({"torch", "diffusers", "transformers", "spacy", "prefect"} & set(sys.modules))
sys.exit(f"imported: {heavy}" if heavy else 0)
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert finished.returncode == 0, finished.stderr
