"""Settings of the brake: which prompts are drawn when, who judges the images, and what follows from it."""

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from comat_core.settings import Settings
from stages.evaluate.scoring.images.feature_extractors import AnyFeatures, JudgeFeatures
from stages.evaluate.scoring.images.frechet_features import FEWEST
from stages.evaluate.scoring.images.real_images import RealImages, check_real_images, identity_of_files
from stages.models.judges import AnyJudge
from stages.plan.config import NOT_IN_KEY
from stages.plan.splits import TRAIN

Name = Annotated[str, Field(pattern=r"^\w+$")]
GAIN = "gain"
"""Name of the curve of all judges together."""


class SteeringSettings(Settings):
    """lambda' = lambda (ratio / budget)^gain at each evaluation, at most doubled or halved at once."""

    gain: Annotated[float, Field(gt=0, le=100, description="exponent: how hard lambda answers to the ratio")] = 4.0
    reach: Annotated[
        float, Field(gt=1, le=1e6, description="lambda stays between weights.fidelity divided by and times this")
    ] = 10.0


class BrakeSettings(Settings):
    """Judges that are no rewards look at the same prompts, drawn from the same noise, again and again."""

    every: Annotated[int, Field(ge=1, description="optimiser steps between two evaluations; the last step has one too")]
    split: Annotated[
        str, Field(min_length=1, description="split of the prompts; better one that nothing else is measured on")
    ] = TRAIN
    prompts: Annotated[int, Field(ge=FEWEST, le=100_000, description="how many of them, drawn by the seed")] = 100
    judges: Annotated[
        dict[Name, AnyJudge],
        Field(min_length=1, description="name -> who scores images; weighs in the combined gain, 0 for a curve alone"),
    ]
    distances: Annotated[
        dict[Name, AnyFeatures],
        Field(default_factory=dict, description="name -> features of which a Frechet distance is taken"),
    ]
    real: Annotated[
        RealImages | None, Field(description="distances are to these; none: to the base's images from other noise")
    ] = None
    budget: Annotated[
        float, Field(gt=0, le=1000, description="largest distance that may be delivered, over the base's own")
    ] = 1.05
    patience: Annotated[
        int | None, Field(ge=1, description="evaluations without a better one after which training ends; none: never")
    ] = None
    steering: Annotated[
        SteeringSettings | None, Field(description="let the weight of fidelity follow the distances; none: do not")
    ] = None
    batch_size: Annotated[int, NOT_IN_KEY, Field(ge=1, le=4096, description="images drawn and judged at once")] = 8

    @property
    def identity_of_real(self) -> list[object]:
        """A JSON value that changes when the real images do."""
        return [] if self.real is None else identity_of_files(self.real)

    def fetch_files(self) -> None:
        """Get the published networks, and check the real images.

        Raises:
            UserError: one cannot be had, or cannot be read.
        """
        for name, judge in self.judges.items():
            judge.check_packages(f"train.brake.judges.{name}")
        if self.real is not None:
            check_real_images(self.real)
        for features in self.distances.values():
            published = features.published_file()
            if published is not None:
                published.fetch()

    @field_validator("judges")
    @classmethod
    def _bring_their_own_models(cls, judges: dict[str, AnyJudge]) -> dict[str, AnyJudge]:
        sharing = next((name for name, judge in judges.items() if judge.needs_captioner), None)
        if sharing is not None:
            kind = judges[sharing].kind
            raise ValueError(f"{sharing} judges with the training's own captioner: {kind} is a reward, no judge")
        scaled = next((name for name, judge in judges.items() if judge.as_strong_as is not None), None)
        if scaled is not None:
            raise ValueError(f"{scaled}.as_strong_as is for rewards: a judge's gradient is not used")
        if not any(judge.weight for judge in judges.values()):
            raise ValueError("one judge at least must have a weight above 0")
        return judges

    @field_validator("distances")
    @classmethod
    def _name_their_models(cls, distances: dict[str, AnyFeatures]) -> dict[str, AnyFeatures]:
        for name, features in distances.items():
            if isinstance(features, JudgeFeatures) and features.model is None:
                raise ValueError(f"{name} needs a model")
        return distances

    @model_validator(mode="after")
    def _names_are_told_apart(self) -> "BrakeSettings":
        names = [GAIN, *self.judges, *self.distances]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"there are two curves named {name!r}: choose another name")
        return self

    @model_validator(mode="after")
    def _has_what_it_steers_by(self) -> "BrakeSettings":
        if self.steering is not None and not self.distances:
            raise ValueError("steering needs one of the distances at least")
        return self
