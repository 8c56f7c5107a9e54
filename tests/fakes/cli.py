"""The command line over the fake DAG: python -m tests.fakes.cli run tests/fakes/fake.yaml ..."""

import sys

from flows.command_line.cli import main
from stages.plan import dag
from tests.fakes.dag import NODES

if __name__ == "__main__":
    dag.NODES = NODES
    sys.exit(main())
