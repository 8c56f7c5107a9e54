"""Chooses an offset: reproducibly, unless the test asks for another one each time."""

import os

from stages.artifacts import ArtifactWriter
from stages.config import StageConfig
from stages.stage import Inputs, Stage
from tests.fakes.tally import tally


class OffsetConfig(StageConfig):
    offset: int = 5


def build(config: OffsetConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    assert "numbers" in inputs
    tally("offset")
    writer.write_json("offset.json", config.offset + int(os.environ.get("COMAT_TEST_NOISE", "0")))


STAGE = Stage(name="offset", version=1, config_type=OffsetConfig, inputs=("numbers",), build=build)
