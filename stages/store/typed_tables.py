"""Tables as rows of a dataclass, whose fields are the columns that are read.

Every stage that writes a table has its row types and readers beside it, so that nobody else spells its names.
"""

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from stages.store.artifacts import Artifact, DamagedArtifactError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

RowT = TypeVar("RowT", bound="DataclassInstance")


def read_rows(
    artifact: Artifact, name: str, kind: type[RowT], only: Mapping[str, Collection[Any]] | None = None
) -> list[RowT]:
    """Read the rows of one Parquet file, of each row the columns that `kind` has fields for.

    Args:
        only: column -> the values that it may have; other rows are left out.

    Raises:
        DamagedArtifactError: the artifact lacks the table or the table a column, or it is not what the stage wrote.
    """
    if name not in artifact.manifest.files:
        raise DamagedArtifactError(artifact.stage, f"{artifact.url}/{name}", "the artifact has no such table")
    table, columns, conditions = artifact.read_table(name), column_names(kind), only or {}
    check_columns(artifact, name, table.schema, [*columns, *conditions])
    for column, values in conditions.items():
        allowed = pa.array(list(values), table.schema.field(column).type)
        table = table.filter(pc.field(column).isin(allowed))
    return [kind(**row) for row in table.select(columns).to_pylist()]


def column_names(kind: "type[DataclassInstance]") -> list[str]:
    """The columns that rows of that kind are read from."""
    return [field.name for field in fields(kind)]


def check_columns(artifact: Artifact, name: str, schema: pa.Schema, columns: Collection[str]) -> None:
    """Make sure that a table has its columns.

    Raises:
        DamagedArtifactError: it lacks one.
    """
    missing = [column for column in columns if column not in schema.names]
    if missing:
        problem = f"the table has no column {missing[0]!r}"
        raise DamagedArtifactError(artifact.stage, f"{artifact.url}/{name}", problem)
