"""Settings of the attack on prompts."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from comat_core.attack.settings import SearchSettings
from comat_core.settings import Settings
from stages.evaluate.scoring.questions.question_files import QuestionFile
from stages.evaluate.scoring.settings import NOT_IN_SCORES, in_scores
from stages.models.classifiers import AnyClassifier
from stages.models.model_references import Vae
from stages.sampling import SamplingConfig


class PromptTemplate(Settings):
    """One prompt for each of the classifier's classes."""

    template: Annotated[str, Field(pattern=r"^[^{}]*\{\}[^{}]*$", description="prompt with {} for the class's name")]


class AttackConfig(SamplingConfig):
    """Which prompts are attacked, and how. What is not said of the sampling is as images are drawn."""

    vae: Vae = None
    classifier: AnyClassifier = Field(description="what is to see another class than the one the prompt names")
    prompts: dict[str, PromptTemplate | QuestionFile] = Field(
        default={
            "short": QuestionFile(source="atm/short_prompts"),
            "long": QuestionFile(source="atm/long_prompts"),
        },
        min_length=1,
        description="kind -> a template, or a CSV file with the columns prompt and classname; default: ATM's",
    )
    classes: int = Field(default=20, ge=1, le=100_000, description="attacked ones, drawn by the seed")
    texts_per_prompt: int = Field(
        default=4, ge=1, le=1000, description="drawn from the words found, with an image each"
    )
    search: SearchSettings = SearchSettings()
    prompts_per_shard: int = Field(default=8, ge=1, le=10_000, description="what a killed run attacks again at most")
    resamples: Annotated[int, NOT_IN_SCORES] = Field(
        default=2000, ge=100, le=100_000, description="bootstrap resamples"
    )

    @model_validator(mode="after")
    def _has_a_step_for_each_gradient(self) -> Self:
        steps = self.sampling.num_inference_steps
        if self.search.gradient_steps > steps:
            raise ValueError(f"search.gradient_steps is {self.search.gradient_steps}, of {steps} denoising steps")
        return self

    def scores_payload(self) -> dict[str, Any]:
        """The JSON value that goes into the keys of scores."""
        return in_scores(type(self), self.key_payload())

    def key_payload(self) -> dict[str, Any]:
        files = [self.prompts[kind] for kind in sorted(self.prompts)]
        contents = [file.content_identity() for file in files if isinstance(file, QuestionFile)]
        return {**super().key_payload(), "files": [self.classifier.files_identity(), *contents]}

    def fetch_files(self) -> None:
        super().fetch_files()
        from stages.evaluate.scoring.prompt_attack.attacked_prompts import attacked_prompts

        attacked_prompts(self)
