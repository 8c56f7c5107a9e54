"""Settings of CLIP as a classifier of any list of names."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from stages.evaluate.scoring.questions.question_files import QuestionFile
from stages.models.classifiers.settings import ClassifierSettings
from stages.plan.config import ModelReference

if TYPE_CHECKING:
    import torch

    from comat_core.attack.classifiers import ZeroShotClassifier

NAME = "classname"
"""The column of class names in ATM's files."""


class ZeroShotClip(ClassifierSettings):
    """Takes the class whose sentence is nearest to the image."""

    kind: Literal["clip"] = "clip"
    model: Annotated[ModelReference, Field(description="a CLIPModel, folder or hub id")]
    template: Annotated[str, Field(pattern=r"^[^{}]*\{\}[^{}]*$", description="sentence with {} for the name")] = (
        "a photo of a {}."
    )
    classes: Annotated[
        tuple[str, ...] | QuestionFile,
        Field(description=f"names, or a CSV file with a column {NAME!r}; default: ImageNet's, from ATM's prompts"),
    ] = QuestionFile(source="atm/short_prompts")

    def class_names(self) -> Sequence[str]:
        if isinstance(self.classes, QuestionFile):
            names = [row.text(NAME) for row in self.classes.read_csv([NAME])]
        else:
            names = list(self.classes)
        return tuple(dict.fromkeys(names))

    def files_identity(self) -> object:
        return self.classes.content_identity() if isinstance(self.classes, QuestionFile) else None

    def load(self, device: "torch.device") -> "ZeroShotClassifier":
        from comat_core.attack.classifiers import ZeroShotClassifier

        return ZeroShotClassifier.load(
            self.model.resolve(),
            revision=self.model.revision,
            device=device,
            classes=self.class_names(),
            template=self.template,
        )
