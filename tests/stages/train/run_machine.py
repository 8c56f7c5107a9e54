"""The train stage on one of several machines, in a process of its own, for tests that send it signals.

`python -m tests.stages.train.run_machine REQUEST.json ENDPOINT MACHINES RANK` prints the artifact's digest on the first
machine; a RANK of "-" leaves it to the rendezvous. It ends on mistakes as `comat` does.
"""

import sys
from pathlib import Path

from comat_core.support.errors import UserError
from stages.store.store import Store
from stages.train.processes.machines import MachineLostError, Meeting, met
from stages.train.processes.node import run_on_machines
from tests.stages.train.run_stage import Request

WAIT_SECONDS = 1500


def main(path: str, endpoint: str, count: str, rank: str) -> int:
    request = Request.model_validate_json(Path(path).read_text())
    meeting = Meeting(endpoint, int(count), None if rank == "-" else int(rank), "127.0.0.1", WAIT_SECONDS)
    try:
        with met(meeting) as machines:
            artifact = run_on_machines(request.config, request.inputs, Store(request.store), machines)
        if machines.is_first:
            print(artifact.manifest.digest)
    except UserError as error:
        print(f"comat: {error}", file=sys.stderr)
        return 2
    except MachineLostError as error:
        print(f"comat: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
