"""Published results that a run is compared with, from `paper_results.yaml`."""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from data.formats.records import read_yaml_record

FILE = Path(__file__).parent / "paper_results.yaml"


class Publication(BaseModel):
    """Where a number was published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    url: str


class PublishedModel(BaseModel):
    """A model that the publications scored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    source: str
    tuned_from: Annotated[str | None, Field(description="the model that it is a fine-tuning of")] = None


class PublishedRow(BaseModel):
    """One score of several models."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    benchmark: str
    label: str
    metric: Annotated[str, Field(description="what our summaries call the score")]
    skills: Annotated[tuple[str, ...], Field(description="names that the skill goes by; none: all prompts")] = ()
    prompts: Annotated[str, Field(description="pattern of the registered sets that the score is of, source/name")]
    source: Annotated[str, Field(description="key of the publication")] = "comat"
    scores: dict[str, float]
    note: Annotated[str | None, Field(description="what else differs from a score of ours")] = None


class PublishedResults(BaseModel):
    """Everything that was published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: dict[str, Publication]
    models: dict[str, PublishedModel]
    rows: tuple[PublishedRow, ...]

    @model_validator(mode="after")
    def _refers_to_what_there_is(self) -> Self:
        sources = {model.source for model in self.models.values()} | {row.source for row in self.rows}
        models = {name for row in self.rows for name in row.scores}
        models |= {model.tuned_from for model in self.models.values() if model.tuned_from}
        unknown = (sources - self.sources.keys()) | (models - self.models.keys())
        if unknown:
            raise ValueError(f"names that stand nowhere: {sorted(unknown)}")
        return self


@lru_cache
def load_paper_results() -> PublishedResults:
    """Read the file, once."""
    return read_yaml_record(PublishedResults, FILE, "published results")
