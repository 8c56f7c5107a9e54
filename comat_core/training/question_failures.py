"""How often the questions of each kind fail now, and how much the kinds weigh because of it."""

from collections.abc import Collection, Mapping

from pydantic import BaseModel, ConfigDict

from comat_core.rewards.names import ASKED, FAILED, part_role
from comat_core.training.reward_strengths import running_means


class QuestionFailures(BaseModel):
    """Running means, over a training's steps, of the questions that an image is asked, and of the wrong answers.

    A question's own gradient says how far it fails on one image (p(no) with respect to its log-odds); this says which
    kind of question fails most often by now, and lets that kind weigh more than those that are learned.
    """

    model_config = ConfigDict(frozen=True)

    steps: int = 0
    counts: dict[str, float] = {}
    """Name of what is logged of a part -> mean."""

    def after(self, metrics: Mapping[str, float], roles: Collection[str]) -> "QuestionFailures":
        """The running means after a further step.

        Args:
            metrics: what the step logs, averaged over all processes and micro-batches.
            roles: of the rewards concerned.
        """
        starts = tuple(part_role(role, "") for role in roles)
        counts = {
            name: value for name, value in metrics.items() if name.startswith(starts) and name.endswith((ASKED, FAILED))
        }
        return QuestionFailures(steps=self.steps + 1, counts=running_means(self.counts, counts, self.steps))

    def weights(self, role: str) -> dict[str, float]:
        """Part -> share of its questions that fail, over the share of all; 1 on average over the questions.

        Nothing before the first step, and where nothing fails: all parts then weigh 1.
        """
        start = part_role(role, "")
        asked = {
            name.removeprefix(start).removesuffix(ASKED): count
            for name, count in self.counts.items()
            if name.startswith(start) and name.endswith(ASKED)
        }
        failed = {part: self.counts[f"{start}{part}{FAILED}"] for part in asked}
        if not sum(failed.values()):
            return {}
        overall = sum(failed.values()) / sum(asked.values())
        return {part: failed[part] / count / overall if count else 0.0 for part, count in asked.items()}
