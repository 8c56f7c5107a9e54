"""Preloaded by Dask's workers in the tests: a worker of its own process takes its stages from the fake DAG too."""

from stages.plan import dag
from tests.fakes.dag import NODES

dag.NODES = NODES
