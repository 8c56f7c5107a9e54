"""An evaluation from its images to its summary, wired as a plan does it."""

from types import ModuleType
from typing import Any

from stages.evaluate.scoring.images.generated_images import REAL, artifacts_by_model
from stages.plan.stage import Inputs
from stages.store.artifacts import Artifact
from stages.store.store import Store


def evaluate(benchmark: ModuleType, config: Any, images: Inputs, store: Store) -> Artifact:
    """Score the images of every model, and compare them.

    Args:
        images: the prompts, the images of each model by its role, and what the comparison reads besides.
    """
    compared = scores = scores_of(benchmark, config, images, store)
    if benchmark.BENCHMARK.distances is not None:
        compared = distances_of(benchmark, config, scores, store)
    return benchmark.STAGE.run(config, compared, store)


def distances_of(benchmark: ModuleType, config: Any, scores: Inputs, store: Store) -> dict[str, Artifact]:
    """The same roles with distances in the place of scores."""
    models, found = artifacts_by_model(scores).values(), dict(scores)
    for role, artifact in scores.items():
        if any(artifact is one for one in models):
            found[role] = benchmark.DISTANCES.run(config, {"scores": artifact, "real": scores[REAL]}, store)
    del found[REAL]
    if benchmark.BENCHMARK.real_distances is not None:
        found[REAL] = benchmark.REAL_DISTANCES.run(config, {"scores": scores[REAL]}, store)
    return found


def scores_of(benchmark: ModuleType, config: Any, images: Inputs, store: Store) -> dict[str, Artifact]:
    """What a benchmark's comparison reads: the same roles, with scores in the place of images."""
    prompts, drawn = images["prompts"], {artifact.key for artifact in artifacts_by_model(images).values()}
    scores = {
        role: benchmark.SCORES.run(config, {"prompts": prompts, "images": artifact}, store)
        if artifact.key in drawn
        else artifact
        for role, artifact in images.items()
    }
    if benchmark.BENCHMARK.real_scores is not None:
        scores[REAL] = benchmark.REAL_SCORES.run(config, {}, store)
    return scores


def score_key(benchmark: ModuleType, config: Any, images: Inputs) -> str:
    """The key of the base model's scores."""
    return benchmark.SCORES.key_for(config, {"prompts": images["prompts"], "images": images["base"]})
