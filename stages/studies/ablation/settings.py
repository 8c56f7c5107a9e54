"""What an ablation consists of: tables of rows, each row some other settings of the train section."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

import data
from comat_core.settings import Settings
from comat_core.support.errors import UserError
from data.formats.records import read_yaml_record

ABLATION_FOLDER = Path(data.__file__).parent / "ablations"
PAPER = "paper"

TrainSettings = Annotated[
    dict[str, Any], Field(description="dotted names inside the train section, and their values; none are the preset's")
]


class Part(Settings):
    """A group of an ablation's settings."""


class MetricChoice(Part):
    """One column: a metric of an evaluation. A preset without that evaluation has no such column."""

    evaluation: Annotated[str, Field(min_length=1, description="attributes for evaluate.attributes")]
    metric: Annotated[str, Field(min_length=1, description="its name in the evaluation's summary")]

    @property
    def node(self) -> str:
        return f"evaluate.{self.evaluation}"


class Row(Part):
    """One way to train."""

    name: Annotated[str, Field(pattern=r"^\w+$", description="for the command line and the numbers' file")]
    label: Annotated[str, Field(min_length=1, description="for the tables")]
    settings: TrainSettings = Field(default={})
    presets: dict[str, TrainSettings] = Field(
        default={}, description="settings that depend on the preset; none: as good for any"
    )
    paper: Annotated[float | None, Field(description="what the paper measured; none where it has no such row")] = None


class Table(Part):
    """Rows that compare with each other."""

    title: Annotated[str, Field(min_length=1)]
    note: str = ""
    measured: Annotated[
        str | None,
        Field(min_length=1, description="what the paper's numbers are, and of which model, if any"),
    ] = None
    higher_is_better: Annotated[bool, Field(description="of the paper's numbers")] = True
    base: Annotated[float | None, Field(description="the paper's number of the base model")] = None
    rows: Annotated[tuple[Row, ...], Field(min_length=1)]

    @field_validator("rows")
    @classmethod
    def _names_differ(cls, rows: tuple[Row, ...]) -> tuple[Row, ...]:
        names = [row.name for row in rows]
        if len(set(names)) < len(names):
            raise ValueError("two rows have the same name")
        return rows


class Ablation(Part):
    """A set of tables, and the metrics that all of them show."""

    metrics: Annotated[tuple[MetricChoice, ...], Field(min_length=1)]
    tables: Annotated[dict[str, Table], Field(min_length=1)]

    def select(self, tables: Sequence[str] = (), rows: Sequence[str] = ()) -> "Ablation":
        """Keep the named tables, or all, and in them the named rows, or all. A table without rows is left out.

        Raises:
            UserError: a name that means none.
        """
        _check_known(tables, list(self.tables), "table", "--table")
        kept = {name: table for name, table in self.tables.items() if not tables or name in tables}
        _check_known(rows, [row.name for table in kept.values() for row in table.rows], "row", "--row")
        if rows:
            chosen = {name: tuple(row for row in table.rows if row.name in rows) for name, table in kept.items()}
            kept = {
                name: table.model_copy(update={"rows": chosen[name]}) for name, table in kept.items() if chosen[name]
            }
        return self.model_copy(update={"tables": kept})


def load_ablation(name: str = PAPER) -> Ablation:
    """Read an ablation.

    Args:
        name: one that is shipped, or the path of a YAML file.

    Raises:
        UserError: there is none, the file is malformed, or says something that has no meaning.
    """
    shipped = {path.stem: path for path in ABLATION_FOLDER.glob("*.yaml")}
    path = shipped.get(name, Path(name))
    if not path.is_file():
        advice = f"choose one of: {', '.join(sorted(shipped))}; or give the path of a YAML file"
        raise UserError(f"unknown ablation {name!r}", "--ablation", advice)
    return read_yaml_record(Ablation, path, "ablation")


def _check_known(names: Sequence[str], known: list[str], kind: str, option: str) -> None:
    for name in names:
        if name not in known:
            advice = f"choose one of: {', '.join(dict.fromkeys(known))}"
            raise UserError(f"unknown {kind} {name!r}", option, advice)
