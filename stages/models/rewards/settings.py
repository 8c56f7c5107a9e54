"""What the settings of all rewards have in common."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from stages.models.variants import Variant
from stages.plan.config import NOT_IN_KEY_IF_EMPTY

if TYPE_CHECKING:
    import torch

    from comat_core.captioners.protocol import ImageToText
    from comat_core.rewards.protocol import Reward


@dataclass(frozen=True)
class RewardSurroundings:
    """What a reward may share with the training that it is made for."""

    captioner: "ImageToText | None"
    """The training's own; None if it has none."""
    dtype: "torch.dtype"
    """Of frozen weights."""
    device: "torch.device"


class RewardSettings(Variant, ABC):
    """A frozen model that scores images against their prompts."""

    needs_captioner: ClassVar[bool] = False
    """It scores with the training's own captioner."""

    @property
    def weighs_failures(self) -> bool:
        """Whether its parts weigh by how often they fail now."""
        return False

    weight: Annotated[float, Field(ge=0, description="of its negative mean score in the total loss")] = 1.0
    as_strong_as: Annotated[
        str | None,
        NOT_IN_KEY_IF_EMPTY,
        Field(description="concept_activation or another reward, to whose size its gradient at the images is brought"),
    ] = None

    def check_packages(self, where: str) -> None:
        """Make sure that the packages are there which not every installation has.

        Args:
            where: the setting, for the reader of an error.

        Raises:
            UserError: one is not.
        """

    @abstractmethod
    def load(self, surroundings: RewardSurroundings) -> "Reward":
        """Load the frozen models.

        Raises:
            UserError: there is no complete checkpoint of this kind.
        """
