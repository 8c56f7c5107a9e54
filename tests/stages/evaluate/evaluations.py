"""An evaluation from its images to its summary, wired as a plan does it."""

from types import ModuleType
from typing import Any

from stages.evaluate.images.generated_images import REAL, artifacts_by_model
from stages.plan.stage import Inputs
from stages.store.artifacts import Artifact
from stages.store.store import Store


def evaluate(benchmark: ModuleType, config: Any, images: Inputs, store: Store) -> Artifact:
    """Score the images of every model, and compare them.

    Args:
        images: the prompts, the images of each model by its role, and what the comparison reads besides.
    """
    return benchmark.STAGE.run(config, scores_of(benchmark, config, images, store), store)


def scores_of(benchmark: ModuleType, config: Any, images: Inputs, store: Store) -> dict[str, Artifact]:
    """What a benchmark's comparison reads: the same roles, with scores in the place of images."""
    prompts, drawn = images["prompts"], {artifact.key for artifact in artifacts_by_model(images).values()}
    scores = {
        role: benchmark.SCORES.run(config, {"prompts": prompts, "images": artifact}, store)
        if artifact.key in drawn
        else artifact
        for role, artifact in images.items()
    }
    if REAL in benchmark.STAGE.inputs:
        scores[REAL] = benchmark.REAL_SCORES.run(config, {}, store)
    return scores


def score_key(benchmark: ModuleType, config: Any, images: Inputs) -> str:
    """The key of the base model's scores."""
    return benchmark.SCORES.key_for(config, {"prompts": images["prompts"], "images": images["base"]})
