"""Imports point one way only: flows -> stages -> comat_core, with data beside stages."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from stages.evaluate.declared.registry import MODULE, benchmarks
from stages.plan.dag import NODES

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


def modules() -> dict[str, Path]:
    """Name -> file of every module of the project."""
    found = {}
    for package in MAY_IMPORT:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported_when_loaded(path: Path, names: set[str]) -> set[str]:
    """Modules of the project that a module imports while it is loaded itself: not in functions, not for types alone."""
    found: set[str] = set()

    def visit(body: list[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                found.update({node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)})
            elif isinstance(node, (ast.If, ast.Try, ast.With, ast.ClassDef)):
                visit(node.body)

    visit(ast.parse(path.read_text()).body)
    return found & names


def test_there_is_no_import_circle_with_what_the_dag_loads_by_name() -> None:
    files = modules()
    graph = {name: imported_when_loaded(path, set(files)) - {name} for name, path in files.items()}
    graph["stages.plan.dag"] |= {node.module for node in NODES}
    graph["stages.evaluate.declared.registry"] |= {MODULE.format(name=benchmark.name) for benchmark in benchmarks()}
    # A package is loaded before what is in it, and only what it imports itself can come back to it.
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_no_other_module_is_loaded_by_a_name_that_this_test_cannot_see() -> None:
    loaders = {name for name, path in modules().items() if "import_module" in path.read_text()}
    assert loaders == {"stages.plan.dag", "stages.evaluate.declared.registry"}


def test_planning_a_run_imports_no_torch() -> None:
    program = """
import sys
from stages.plan.dag import NODES, load_stage
for node in NODES:
    load_stage(node.module, node.stage)
import flows.command_line.cli
heavy = sorted({"torch", "diffusers", "transformers", "spacy", "prefect"} & set(sys.modules))
sys.exit(f"imported: {heavy}" if heavy else 0)
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert finished.returncode == 0, finished.stderr
