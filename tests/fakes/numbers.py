"""Writes the numbers 0 to count - 1; refuses 13 of them, as a stage refuses bad input."""

from typing import Annotated

import pyarrow as pa
from pydantic import Field

from comat_core.support.errors import UserError
from stages.plan.config import NOT_IN_KEY, StageConfig
from stages.plan.stage import Inputs, Stage
from stages.store.artifact_writer import ArtifactWriter
from tests.fakes.tally import tally


class NumbersConfig(StageConfig):
    seed: int
    count: Annotated[int, Field(ge=1, le=100, description="how many")] = 6
    speed: Annotated[int, NOT_IN_KEY, Field(ge=1, description="changes nothing")] = 1


def build(config: NumbersConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    assert not inputs
    tally("numbers")
    if config.count == 13:
        raise UserError("13 numbers are too many", "numbers.count", "choose another count")
    writer.write_table("numbers.parquet", pa.table({"number": list(range(config.count))}))


STAGE = Stage(name="numbers", version=1, config_type=NumbersConfig, build=build)
