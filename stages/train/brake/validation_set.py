"""The prompts that are drawn at every evaluation, with the seed of each one's noise."""

from dataclasses import dataclass

from comat_core.support.errors import UserError
from comat_core.support.randomness import derive_seed, make_generator
from stages.plan.splits import TRAIN
from stages.prompts.tables import stream_texts
from stages.store.artifacts import Artifact
from stages.train.brake.settings import BrakeSettings


@dataclass(frozen=True)
class ValidationPrompt:
    """A prompt, and the trajectories that its images are drawn along."""

    text: str
    seed: int
    """Of every image that is judged."""
    other_seed: int
    """Of the base's image that distances are measured to where there are no real ones."""


def choose_prompts(settings: BrakeSettings, prompts: Artifact, *, seed: int) -> list[ValidationPrompt]:
    """Draw the validation prompts of a run; a prompt's noise depends on its id alone.

    Raises:
        UserError: the split has fewer.
    """
    import torch

    total = count_candidates(settings, prompts)
    drawn = torch.randperm(total, generator=make_generator(seed, "brake prompts"))[: settings.prompts].tolist()
    wanted = set(drawn)
    found = {row: one for row, one in enumerate(stream_texts(prompts, settings.split)) if row in wanted}
    return [
        ValidationPrompt(
            found[row].text,
            derive_seed(seed, "brake noise", found[row].prompt_id),
            derive_seed(seed, "brake noise of the base", found[row].prompt_id),
        )
        for row in drawn
    ]


def count_candidates(settings: BrakeSettings, prompts: Artifact) -> int:
    """How many prompts there are that the validation prompts are drawn from.

    Raises:
        UserError: there are fewer than are to be drawn.
    """
    total = sum(1 for _ in stream_texts(prompts, settings.split))
    if total < settings.prompts:
        what = f"the split {settings.split!r} has {total} prompts instead of {settings.prompts}"
        advice = "lower train.brake.prompts" if settings.split == TRAIN else "correct the split, or draw more prompts"
        raise UserError(what, "train.brake", advice)
    return total
