"""What the prompts stage takes in, and what it asks of a training prompt."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from comat_core.files.paths import file_exists, user_path
from comat_core.settings import Settings
from comat_core.support.errors import UserError
from data.registry import listed_checksums, select_sets
from stages.plan.config import NOT_IN_KEY, StageConfig
from stages.plan.digests import digest_file
from stages.plan.splits import TRAIN


class PromptSelection(Settings):
    """Prompts of the registry or of a file."""

    source: Annotated[str | None, Field(description="registered sets as source/name, with * and ?")] = None
    file: Annotated[str | None, NOT_IN_KEY, Field(description="txt, csv, jsonl or Parquet file of your own")] = None
    column: Annotated[str | None, Field(description="field of the file that holds the prompt; default: prompt")] = None
    skill: Annotated[str | None, Field(description="what the prompts of the file test; default: user")] = None
    split: Annotated[
        str,
        Field(
            pattern=r"^[a-z_]+$",
            description="split of evaluation prompts: test, fidelity, …; training prompts are in train",
        ),
    ] = "test"
    count: Annotated[int | None, Field(ge=1, description="prompts to draw from each set; default: all")] = None

    @model_validator(mode="after")
    def _names_one_origin(self) -> Self:
        if (self.source is None) == (self.file is None):
            raise ValueError("give either `source` or `file`")
        if self.source is not None and (self.column or self.skill):
            raise ValueError("`column` and `skill` belong to a `file`; registered sources know theirs")
        return self

    @property
    def name(self) -> str:
        return self.source or Path(self.file or "").name

    def content_identity(self) -> Any:
        """What the selection stands for, independent of where its files lie.

        Raises:
            UserError: no registered set matches, or the file is missing.
        """
        if self.source is not None:
            return [
                [source.name, prompt_set.model_dump(mode="json", exclude={"note", "url"}), listed_checksums(prompt_set)]
                for source, prompt_set in select_sets(self.source)
            ]
        path = user_path(self.file or "")
        if not file_exists(path):
            raise UserError("the prompt file does not exist", str(path), "correct the path in the prompts section")
        return {"format": path.suffix.lower(), "content": digest_file(path)}


class PromptsConfig(StageConfig):
    """Which prompts to train on and to evaluate on."""

    seed: Annotated[int, Field(ge=0, lt=2**63, description="draws and generated prompts follow from it")]
    train: Annotated[tuple[PromptSelection, ...], Field(min_length=1, description="training prompts, in this order")]
    evaluation: Annotated[
        tuple[PromptSelection, ...], Field(description="held-out prompts; kept as they are, in this order")
    ] = ()
    leakage_guard: Annotated[
        Literal["same words", "same bag of words", "off"],
        Field(description="which training prompts an evaluation prompt rules out; the bag of words also catches swaps"),
    ] = "same words"
    drop_near_duplicates: Annotated[bool, Field(description="also what differs in case, articles or punctuation")] = (
        True
    )
    min_words: Annotated[int, Field(ge=1, le=1000, description="shortest training prompt, words")] = 2
    max_words: Annotated[int, Field(ge=1, le=10_000, description="longest training prompt, words")] = 120
    english_only: Annotated[
        bool,
        Field(description="drop training prompts in other scripts, and long ones whose small words are not English"),
    ] = True
    local_dir: Annotated[
        str | None, NOT_IN_KEY, Field(description="folder or fsspec URL with the sources' files; default: download")
    ] = None
    cache_dir: Annotated[str | None, NOT_IN_KEY, Field(description="local folder for downloads")] = None

    @field_validator("train")
    @classmethod
    def _goes_to_train(cls, selections: tuple[PromptSelection, ...]) -> tuple[PromptSelection, ...]:
        return tuple(selection.model_copy(update={"split": TRAIN}) for selection in selections)

    @field_validator("evaluation")
    @classmethod
    def _stays_out_of_train(cls, selections: tuple[PromptSelection, ...]) -> tuple[PromptSelection, ...]:
        if any(selection.split == TRAIN for selection in selections):
            raise ValueError("the split of an evaluation selection cannot be train")
        return selections

    def key_payload(self) -> dict[str, Any]:
        selections = [selection.content_identity() for selection in (*self.train, *self.evaluation)]
        return {**super().key_payload(), "content": selections}
