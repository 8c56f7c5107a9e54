"""What the evaluations' settings have in common, and the images that they choose."""

from collections.abc import Container, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from comat_core.settings import Precision
from stages.batches import BatchSize
from stages.evaluate.scoring.images.generated_images import GeneratedImage, Prompt, read_part, read_prompts
from stages.images.image_rows import image_parts
from stages.models.devices import AUTO
from stages.plan.config import NOT_IN_KEY, NOT_IN_KEY_IF_EMPTY, NotInKeyIf, StageConfig
from stages.plan.splits import TEST
from stages.plan.stage import Inputs
from stages.store.artifacts import Artifact


class _NotInScores:
    """Marks a field that no score of a single image depends on."""


NOT_IN_SCORES: Final = _NotInScores()
"""Annotation for settings of the comparison alone: changing them scores nothing again."""


ScorerPrecision = Annotated[
    Precision,
    NotInKeyIf("fp32"),
    Field(description="of the scoring model; half precision makes scores of its own"),
]
"""The setting of scorers that may run in half precision."""


class EvaluationConfig(StageConfig):
    """Settings of every evaluation that looks at images. `split` is the split of the prompts that they show.

    Its scores and their comparison are artifacts of stages that share these settings.
    """

    split: ClassVar[str] = TEST

    skills: tuple[str, ...] | None = Field(
        default=None, description="score prompts of these skills only; none means all"
    )
    seed: Annotated[int, NOT_IN_SCORES] = Field(ge=0, lt=2**63, description="of the bootstrap")
    resamples: Annotated[int, NOT_IN_SCORES] = Field(
        default=2000, ge=100, le=100_000, description="bootstrap resamples"
    )
    leakage_free: Annotated[Literal[True] | None, NOT_IN_SCORES, NOT_IN_KEY_IF_EMPTY] = Field(
        default=None, description="average each skill also without the prompts that training sources hold"
    )
    batch_size: BatchSize = Field(default=64, description="images or questions at once; auto takes as many as fit")
    device: Annotated[str, NOT_IN_KEY] = Field(default=AUTO, min_length=1, description="torch device; auto takes a GPU")

    def scores_payload(self) -> dict[str, Any]:
        """The JSON value that goes into the keys of scores: what those of a model's images depend on."""
        return in_scores(type(self), super().key_payload())

    def key_payload(self) -> dict[str, Any]:
        return {**super().key_payload(), **self.scores_payload()}


def in_scores(config_type: type[StageConfig], payload: Mapping[str, Any]) -> dict[str, Any]:
    """A key's payload without the settings that are marked as not in scores."""
    fields = config_type.model_fields
    return {
        name: value
        for name, value in payload.items()
        if name not in fields or NOT_IN_SCORES not in fields[name].metadata
    }


def reads_no_files(_config: EvaluationConfig) -> None:
    """What stages fetch that share the settings of an evaluation and read nothing but their inputs."""


def chosen_prompts(config: EvaluationConfig, inputs: Inputs) -> dict[str, Prompt]:
    """The evaluated prompts by their ids."""
    return prompts_of(config, inputs["prompts"])


def prompts_of(config: EvaluationConfig, prompts: Artifact) -> dict[str, Prompt]:
    """Those of a run's prompts that are evaluated, by their ids."""
    of_split = read_prompts(prompts, config.split)
    return {key: prompt for key, prompt in of_split.items() if config.skills is None or prompt.skill in config.skills}


def images_of(images: Artifact, prompt_ids: Container[str]) -> list[GeneratedImage]:
    """The images of an artifact, or of a part of one, that belong to the given prompts."""
    rows = (image for part in image_parts(images) for image in read_part(images, part))
    return [image for image in rows if image.prompt_id in prompt_ids]


def count_parts(_config: EvaluationConfig, inputs: Inputs) -> int:
    """One shard for each part of the images."""
    return len(image_parts(inputs["images"]))


def skills_of(prompts: dict[str, Prompt]) -> dict[str, str]:
    """Prompt id -> skill."""
    return {key: prompt.skill for key, prompt in prompts.items()}
