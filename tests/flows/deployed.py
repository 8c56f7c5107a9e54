"""What prefect.yaml says of the evaluations, held against the benchmarks that there are."""

from typing import Any

import yaml

from stages.evaluate.declared.registry import benchmarks
from tests.flows.conftest import ROOT


def deployments() -> list[dict[str, Any]]:
    """The deployments of prefect.yaml."""
    return yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]


def evaluation_deployments() -> list[str]:
    """Names of the deployments that evaluate."""
    nodes = {benchmark.node for benchmark in benchmarks()}
    return [one["name"] for one in deployments() if nodes & set(one["parameters"].get("only", []))]


def undeployed() -> list[str]:
    """The evaluations that no deployment measures every night."""
    nightly = {node for one in deployments() if one.get("schedules") for node in one["parameters"].get("only", [])}
    return [benchmark.node for benchmark in benchmarks() if benchmark.node not in nightly]
