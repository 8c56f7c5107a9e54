"""The generated images of every held-out prompt, as the page keeps them: small, and only what it shows."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from stages.evaluate.declared.registry import benchmarks, splits
from stages.evaluate.scoring.images.generated_images import (
    MODELS,
    GeneratedImage,
    Prompt,
    artifacts_by_model,
    read_part,
)
from stages.images.image_rows import image_parts
from stages.plan.splits import TEST
from stages.plan.stage import Inputs
from stages.prompts.tables import read_prompts
from stages.report.pictures.pictures import shown_picture, thumbnail


@dataclass(frozen=True)
class ImageFiles:
    """What the page keeps of the generated images."""

    models: list[str]
    shown: dict[tuple[str, str, int], str]  # (model, prompt id, sample) -> data URI
    thumbnails: dict[tuple[str, str], str]  # (model, prompt id) -> data URI
    samples: dict[str, list[int]]  # prompt id -> its samples

    def models_of(self, prompt_id: str, sample: int) -> list[str]:
        """The models whose image of that number the page shows."""
        return [model for model in self.models if (model, prompt_id, sample) in self.shown]


def read_held_out_prompts(inputs: Inputs) -> dict[str, Prompt]:
    """The prompts of every split whose images are looked at one by one, by their ids."""
    splits = [split for split, _ in _image_sets(inputs)]
    rows = read_prompts(inputs["prompts"], splits)
    return {row.prompt_id: Prompt(row.prompt_id, row.text, row.skill) for row in rows}


def read_images(
    inputs: Inputs, shown_ids: Collection[str], thumbnail_ids: Collection[str], shown_samples: int
) -> ImageFiles:
    """Go through all parts once, so that no more than one part's images are in memory.

    Args:
        shown_ids: prompts whose first `shown_samples` images are kept.
        thumbnail_ids: prompts whose first image is kept as a thumbnail.
    """
    models = {model: None for _, of_split in _image_sets(inputs) for model in artifacts_by_model(of_split)}
    files = ImageFiles(list(models), {}, {}, {})

    def keep(image: GeneratedImage, model: str) -> None:
        samples = files.samples.setdefault(image.prompt_id, [])
        if image.sample not in samples:
            samples.append(image.sample)
        if samples[0] == image.sample and image.prompt_id in thumbnail_ids:
            files.thumbnails[model, image.prompt_id] = thumbnail(image.png)
        if image.prompt_id in shown_ids and samples.index(image.sample) < shown_samples:
            files.shown[model, image.prompt_id, image.sample] = shown_picture(image.png)

    for _, of_split in _image_sets(inputs):
        for model, drawn in artifacts_by_model(of_split).items():
            for part in image_parts(drawn):
                for image in read_part(drawn, part):
                    keep(image, model)
    return files


def _image_sets(inputs: Inputs) -> Iterator[tuple[str, Inputs]]:
    """Split -> its images by model, for every split whose images were drawn and are looked at one by one."""
    shown = {TEST, *(benchmark.split for benchmark in benchmarks() if benchmark.of_single_images)}
    for split in splits():
        if split not in shown:
            continue
        suffix = "" if split == TEST else f".{split}"
        own = {role.removesuffix(suffix): artifact for role, artifact in inputs.items() if role.endswith(suffix)}
        if any(model in own for model in MODELS):
            yield split, own
