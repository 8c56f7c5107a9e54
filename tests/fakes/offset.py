"""Chooses an offset: reproducibly, unless the test asks for another one each time, or to be waited for."""

import os
import time

from stages.plan.config import StageConfig
from stages.plan.stage import Inputs, Stage
from stages.store.artifact_writer import ArtifactWriter
from stages.train.processes.termination import TrainingStopped, termination_noticed
from tests.fakes.tally import tally


class OffsetConfig(StageConfig):
    offset: int = 5
    patience: float = 0.0  # seconds to wait for SIGTERM, as a training does between its steps


def build(config: OffsetConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    assert "numbers" in inputs
    with termination_noticed() as noticed:
        tally("offset")
        end = time.monotonic() + config.patience
        while time.monotonic() < end:
            if noticed:
                raise TrainingStopped("training stopped by a signal after step 3; run again to go on")
            time.sleep(0.02)
    writer.write_json("offset.json", config.offset + int(os.environ.get("COMAT_TEST_NOISE", "0")))


STAGE = Stage(name="offset", version=1, config_type=OffsetConfig, inputs=("numbers",), build=build)
