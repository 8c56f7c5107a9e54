"""The table of what a training logged: one row per step, one column per value."""

from collections.abc import Sequence
from typing import Final

import pyarrow as pa

from stages.store.artifacts import Artifact
from stages.store.typed_tables import check_columns

METRICS: Final = "metrics.parquet"
STEP: Final = "step"


def metrics_table(history: Sequence[dict[str, float]]) -> pa.Table:
    """The table of a training's history; what only some steps have is null at the others."""
    names = dict.fromkeys(name for row in history for name in row)
    columns = {name: [row.get(name) for row in history] for name in names}
    return pa.table({**columns, STEP: [int(row[STEP]) for row in history]})


def read_metrics(train: Artifact) -> tuple[list[int], dict[str, list[float | None]]]:
    """The steps in their order, and name -> value at each of them, None where there is none.

    Raises:
        DamagedArtifactError: the table is not what the stage wrote.
    """
    table = train.read_table(METRICS)
    check_columns(train, METRICS, table.schema, [STEP])
    columns = table.sort_by(STEP).to_pydict()
    return columns.pop(STEP), columns
