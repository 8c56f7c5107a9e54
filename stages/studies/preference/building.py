"""Make a study's folder from a run's images: prompts drawn by seed, one pair of images each, sides balanced by seed."""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from comat_core.support.errors import UserError
from comat_core.support.randomness import derive_seed
from stages.evaluate.scoring.images.generated_images import MODELS
from stages.images import ImagesConfig
from stages.images.finished import find_finished
from stages.images.image_rows import image_parts, read_images
from stages.plan.pipeline import make_plan
from stages.plan.presets import Preset
from stages.plan.splits import TEST, images_node
from stages.prompts.tables import read_texts
from stages.store.artifacts import Artifact
from stages.store.new_folder import new_folder
from stages.store.store import Store
from stages.studies.preference.folder import ANSWERS, IMAGES, KEY, STUDY, Pair, PairKey, Side, Study, StudyKey

BENCHMARK_SPLIT = "dsg"
"""The split that the paper's study draws its prompts from."""
SAMPLE = 0
"""Of a prompt's images, the one that is shown."""


def default_split(preset: Preset) -> str:
    """DSG-1k's prompts where the preset draws images of them, else its test prompts."""
    images = preset.sections.get("images")
    draws_it = isinstance(images, ImagesConfig) and BENCHMARK_SPLIT in images.samples
    return BENCHMARK_SPLIT if draws_it else TEST


def build_study(preset: Preset, name: str, store: Store, output: Path, *, split: str, count: int, seed: int) -> None:
    """Write the folder.

    Args:
        name: of the preset, as the user gave it.
        output: a folder that does not exist, or is empty.
        split: of the run's prompts, whose images both models have drawn.
        count: prompts, and so pairs.
        seed: of the draw and of the sides.

    Raises:
        UserError: the store lacks images, there are fewer prompts than wanted, or the folder cannot be written.
    """
    plan = make_plan(preset.sections)
    prompts = find_finished(plan, "prompts", store, name)
    drawn = {model: find_finished(plan, images_node(model, split), store, name) for model in MODELS}
    chosen = draw_prompts(_texts(prompts, split), count, seed, split)
    sides = balanced_sides(count, seed)
    images = {model: _images(artifact, chosen) for model, artifact in drawn.items()}
    pairs = [Pair(pair=f"{number:04d}", prompt=text) for number, text in enumerate(chosen.values(), start=1)]
    secrets = {
        pair.pair: PairKey(prompt_id=prompt_id, tuned=side)
        for pair, prompt_id, side in zip(pairs, chosen, sides, strict=True)
    }
    keys = {model: artifact.key for model, artifact in drawn.items()}
    with new_folder(output, "study") as folder:
        (folder / ANSWERS).mkdir()
        (folder / IMAGES).mkdir()
        for pair in pairs:
            secret = secrets[pair.pair]
            for side in ("left", "right"):
                model = "tuned" if side == secret.tuned else "base"
                (folder / IMAGES / pair.image(side)).write_bytes(images[model][secret.prompt_id])
        _write(folder / STUDY, Study(resolution=preset.shared.resolution, pairs=pairs))
        key = StudyKey(preset=preset.name, split=split, seed=seed, artifacts=keys, pairs=secrets)
        (folder / KEY).touch(mode=0o600)
        _write(folder / KEY, key)


def draw_prompts(texts: Mapping[str, str], count: int, seed: int, split: str) -> dict[str, str]:
    """Prompt id -> text of the prompts that the seed draws, in the order of the draw.

    Raises:
        UserError: there are fewer.
    """
    if count > len(texts):
        advice = f"give --prompts {len(texts)} or fewer, or another --split"
        raise UserError(f"there are {len(texts)} prompts of the split {split!r}, not {count}", "--prompts", advice)
    generator = random.Random(derive_seed(seed, "prompts of a study"))
    return {prompt_id: texts[prompt_id] for prompt_id in generator.sample(sorted(texts), count)}


def balanced_sides(count: int, seed: int) -> list[Side]:
    """The tuned model's side in each pair: left in half of them, of an odd number in one more or one less."""
    generator = random.Random(derive_seed(seed, "sides of a study"))
    on_the_left = count // 2 + (generator.random() < 0.5 if count % 2 else 0)
    sides: list[Side] = ["left" if place < on_the_left else "right" for place in range(count)]
    generator.shuffle(sides)
    return sides


def _texts(prompts: Artifact, split: str) -> dict[str, str]:
    return {prompt.prompt_id: prompt.text for prompt in read_texts(prompts, split)}


def _images(drawn: Artifact, chosen: Mapping[str, Any]) -> dict[str, bytes]:
    """Prompt id -> PNG file of the prompts that were drawn, by one model."""
    found = {
        image.prompt_id: image.png
        for part in image_parts(drawn)
        for image in read_images(drawn, part)
        if image.sample == SAMPLE and image.prompt_id in chosen
    }
    absent = sorted(set(chosen) - set(found))
    if absent:
        problem = f"the artifact has no image of prompt {absent[0]}"
        raise UserError(problem, drawn.url, "run `comat verify` on the store")
    return found


def _write(path: Path, part: BaseModel) -> None:
    path.write_text(json.dumps(part.model_dump(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
