"""What a run will put on the store's disk, estimated from the preset alone, beside what is free there.

    images       prompts of each split x images of each x models x side^2 x 3 bytes x 0.6, which is how far PNG goes
    latents      training prompts x 4 channels x (side / 8)^2 x 4 bytes
    pairs        real images x 4 channels x (side / 8)^2 x 2 bytes
    checkpoints  (those that stay + 1) x (LoRA, head and optimiser states), where the memory plan knows their size

Prompts are counted as the registry says; those of a user's own file, and what cleaning drops, are not known here.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from data.registry import select_sets
from stages.doctor.findings import Finding, gigabytes, good, note, problem
from stages.images import ImagesConfig
from stages.pairs import PairsConfig
from stages.plan.presets import Preset
from stages.prompts.config import PromptsConfig, PromptSelection
from stages.store.store import Store
from stages.train.config import TrainConfig

PNG_SHARE = 0.6
CHANNELS, SHRINKING = 4, 8
"""Of the latents of Stable Diffusion 1.x, 2.x and SDXL."""
ADVICE = "make room, or choose another place with --store"


class DiskPlan(BaseModel):
    """Bytes by part; checkpoints are None where nobody knows the LoRA's size yet."""

    model_config = ConfigDict(frozen=True)

    images: int
    latents: int
    pairs: int
    checkpoints: int | None = None

    @property
    def total(self) -> int:
        return self.images + self.latents + self.pairs + (self.checkpoints or 0)

    def __str__(self) -> str:
        parts = {"images": self.images, "latents": self.latents, "pairs": self.pairs, "checkpoints": self.checkpoints}
        shown = [f"{name} {'unknown' if size is None else gigabytes(size)}" for name, size in parts.items()]
        return f"about {gigabytes(self.total)} ({', '.join(shown)})"


def plan_disk(preset: Preset) -> DiskPlan:
    """Reckon what a whole run writes, checkpoints left out."""
    prompts, images, pairs = (preset.sections.get(name) for name in ("prompts", "images", "pairs"))
    latent = CHANNELS * (preset.shared.resolution // SHRINKING) ** 2
    selections = (*prompts.train, *prompts.evaluation) if isinstance(prompts, PromptsConfig) else ()
    return DiskPlan(
        images=_images(images, selections) if isinstance(images, ImagesConfig) else 0,
        latents=count_prompts(selections, "train") * latent * 4,
        pairs=(pairs.count or 0) * latent * 2 if isinstance(pairs, PairsConfig) else 0,
    )


def with_checkpoints(plan: DiskPlan, preset: Preset, training_state: int | None) -> DiskPlan:
    """Add what training's checkpoints take.

    Args:
        training_state: bytes of LoRA, head and optimiser states, as the memory plan counts them; None if unknown.
    """
    train = preset.sections.get("train")
    if not isinstance(train, TrainConfig) or training_state is None:
        return plan
    return plan.model_copy(update={"checkpoints": (train.checkpoints.keep + 1) * training_state})


def count_prompts(selections: Sequence[PromptSelection], split: str) -> int:
    """The prompts of a split, as far as the registry or the selection says how many there are."""
    number = 0
    for selection in selections:
        if selection.split != split:
            continue
        if selection.source is None:
            number += selection.count or 0
            continue
        for _, prompt_set in select_sets(selection.source):
            limits = [limit for limit in (selection.count, prompt_set.prompts) if limit is not None]
            number += min(limits, default=0)
    return number


def examine_disk(plan: DiskPlan | None, store: Store) -> Finding:
    """Free bytes beside those that a run writes; None where that is not known."""
    written = "what a run writes is not known yet" if plan is None else f"a run writes {plan}"
    place = store.root.local
    if place is None:
        return note("disk", written, f"see that {store.url} has room for it")
    free = shutil.disk_usage(nearest_folder(place)).free
    told = f"{written}; {gigabytes(free)} are free at {place}"
    return problem("disk", told, ADVICE) if plan is not None and plan.total > free else good("disk", told)


def nearest_folder(place: Path) -> Path:
    """The folder that exists, of a place and those around it."""
    return next(folder for folder in (place.absolute(), *place.absolute().parents) if folder.is_dir())


def _images(config: ImagesConfig, selections: Sequence[PromptSelection]) -> int:
    of_each = int(config.resolution**2 * 3 * PNG_SHARE)
    total = 0
    for split, samples in config.samples.items():
        others = sum(other.splits is None or split in other.splits for other in config.others.values())
        total += count_prompts(selections, split) * samples * (2 + others) * of_each
    return total
