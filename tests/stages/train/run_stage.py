"""The train stage in a process of its own, for tests that send it signals.

`python -m tests.stages.train.run_stage REQUEST.json` prints the artifact's digest; it ends on mistakes as `comat` does.
"""

import sys
from pathlib import Path

from pydantic import BaseModel

from comat_core.support.errors import UserError
from stages.store.artifacts import Artifact
from stages.store.store import Store
from stages.train import TrainConfig, run


class Request(BaseModel):
    config: TrainConfig
    inputs: dict[str, Artifact]
    store: str


def main(path: str) -> int:
    request = Request.model_validate_json(Path(path).read_text())
    try:
        print(run(request.config, request.inputs, Store(request.store)).manifest.digest)
    except UserError as error:
        print(f"comat: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
