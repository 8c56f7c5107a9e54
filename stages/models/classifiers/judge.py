"""Settings of the judge of colour-shape pairs as a classifier."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from comat_core.support.checkpoint_files import read_config
from comat_core.support.errors import UserError
from stages.models.classifiers.settings import ClassifierSettings
from stages.models.model_checks import CONFIG_FILE
from stages.plan.config import ModelReference

if TYPE_CHECKING:
    import torch

    from comat_core.attack.classifiers import JudgeClassifier


class JudgeOfPairs(ClassifierSettings):
    """What evaluate.judge scores with, its likeliest pair taken for its class."""

    kind: Literal["judge"] = "judge"
    model: Annotated[ModelReference, Field(description='a multi-label ResNet classifier of "colour shape" pairs')]

    def class_names(self) -> Sequence[str]:
        labels = read_config(Path(self.model.resolve_folder()) / CONFIG_FILE).get("id2label")
        if not isinstance(labels, dict) or not all(isinstance(label, str) for label in labels.values()):
            raise UserError("the classifier's config names no classes", self.model.path, "name one with an id2label")
        return tuple(labels[number] for number in sorted(labels, key=int))

    def load(self, device: "torch.device") -> "JudgeClassifier":
        from comat_core.attack.classifiers import JudgeClassifier
        from comat_core.scorers.judge import Judge

        return JudgeClassifier(Judge.load(self.model.resolve(), revision=self.model.revision, device=device))
