"""The classifiers that an attack may mislead."""

from typing import Annotated

from pydantic import Field

from stages.models.classifiers.judge import JudgeOfPairs
from stages.models.classifiers.settings import ClassifierSettings
from stages.models.classifiers.zero_shot import ZeroShotClip

AnyClassifier = Annotated[ZeroShotClip | JudgeOfPairs, Field(discriminator="kind")]

__all__ = ["AnyClassifier", "ClassifierSettings", "JudgeOfPairs", "ZeroShotClip"]
