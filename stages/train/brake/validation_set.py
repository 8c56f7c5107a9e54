"""The prompts that are drawn at every evaluation, with the seed of each one's noise."""

from dataclasses import dataclass

from comat_core.support.errors import UserError
from comat_core.support.randomness import derive_seed, make_generator
from stages.plan.splits import TRAIN
from stages.prompts.tables import PromptText, read_texts
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

    found = read_candidates(settings, prompts)
    order = torch.randperm(len(found), generator=make_generator(seed, "brake prompts"))
    return [
        ValidationPrompt(
            found[row].text,
            derive_seed(seed, "brake noise", found[row].prompt_id),
            derive_seed(seed, "brake noise of the base", found[row].prompt_id),
        )
        for row in order[: settings.prompts].tolist()
    ]


def read_candidates(settings: BrakeSettings, prompts: Artifact) -> list[PromptText]:
    """The prompts that the validation prompts are drawn from.

    Raises:
        UserError: there are fewer than are to be drawn.
    """
    found = read_texts(prompts, settings.split)
    if len(found) < settings.prompts:
        what = f"the split {settings.split!r} has {len(found)} prompts instead of {settings.prompts}"
        advice = "lower train.brake.prompts" if settings.split == TRAIN else "correct the split, or draw more prompts"
        raise UserError(what, "train.brake", advice)
    return found
