"""The command line over the fake DAG: python -m tests.fakes.cli run tests/fakes/fake.yaml ..."""

import sys

from flows.cli import main
from stages import registry
from tests.fakes.dag import NODES

if __name__ == "__main__":
    registry.NODES = NODES
    sys.exit(main())
