"""Settings of HPS v2.1 and other models of open_clip as a reward."""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from comat_core.support.errors import UserError
from stages.models.rewards.settings import RewardSettings, RewardSurroundings
from stages.plan.config import ModelReference

if TYPE_CHECKING:
    from comat_core.rewards.clip_similarity import ClipSimilarity

PACKAGE: Final = "open_clip"


class HumanPreferenceSettings(RewardSettings):
    """HPS v2.1: a CLIP trained on people's choices between images, which open_clip loads."""

    kind: Literal["human_preference"] = "human_preference"
    model: Annotated[ModelReference, Field(description="its file of weights: a path, or a hub id and a file")] = (
        ModelReference(path="xswu/HPSv2", file="HPS_v2.1_compressed.pt")
    )
    architecture: Annotated[str, Field(min_length=1, description="the model's name in open_clip")] = "ViT-H-14"

    def check_packages(self, where: str) -> None:
        if find_spec(PACKAGE) is None:
            what = "rewards of the kind human_preference need open_clip, which is not installed"
            raise UserError(what, where, "pip install open_clip_torch (the extra `hps`), or leave the reward out")

    def load(self, surroundings: RewardSurroundings) -> "ClipSimilarity":
        self.check_packages("human_preference")
        from comat_core.rewards.clip_similarity import ClipSimilarity
        from comat_core.scorers.open_clip_score import OpenClipScorer

        scorer = OpenClipScorer.load(
            self.model.resolve(),
            architecture=self.architecture,
            dtype=surroundings.dtype,
            device=surroundings.device,
        )
        return ClipSimilarity(scorer)
