"""The summary of fidelity: every extractor's scores, and which of them an honest reader looks at first."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stages.evaluate.scoring.images.distances import compare_distances, estimates, read_distances
from stages.evaluate.scoring.images.feature_extractors import JudgeFeatures
from stages.evaluate.scoring.images.fidelity_distances import DISTANCE
from stages.evaluate.scoring.images.generated_images import REAL
from stages.evaluate.scoring.images.independence import same_model, training_model
from stages.plan.stage import Inputs
from stages.store.artifacts import Artifact

if TYPE_CHECKING:
    from stages.evaluate.fidelity import FidelityConfig


def summarise_fidelity(config: "FidelityConfig", inputs: Inputs) -> dict[str, Any]:
    """All of the summary but the keys of what was scored."""
    facts = {name: describe_extractor(config, name, inputs.get("train")) for name in sorted(config.extractors)}
    return {
        "benchmark": "fidelity",
        "protocol": describe(config),
        **compare_distances(inputs, DISTANCE),
        "real_to_real": estimates(read_distances(inputs[REAL])),
        "extractors": facts,
        "headline": f"{DISTANCE}/{headline_extractor(facts)}",
    }


def describe(config: "FidelityConfig") -> str:
    """The protocol in one line."""
    features = "; ".join(f"{name}: {config.extractors[name]}" for name in sorted(config.extractors))
    protocol = f"Frechet distance to {config.real.count:,} real images, by features of several networks ({features})"
    if any(one.neighbourhoods for one in config.extractors.values()):
        protocol += f"; density and coverage of Naeem et al. 2020 with {config.neighbours} neighbours"
    return protocol


def describe_extractor(config: "FidelityConfig", name: str, train: Artifact | None) -> dict[str, Any]:
    """What its features are, whether they are independent of what the run was trained and judged by, and if not, why.

    "seen_by" is the training's setting that names the same network, None if training has not looked at it. Of a model
    that was trained elsewhere nobody knows.
    """
    features = config.extractors[name]
    reference = features.checkpoint()
    seen_by = None if reference is None or train is None else training_model(reference, train)
    is_judge = isinstance(features, JudgeFeatures) or (
        reference is not None and config.judge is not None and same_model(reference, config.judge)
    )
    reasons = [
        *([f"training looks at this network (train.{seen_by})"] if seen_by is not None else []),
        *(["the judge's scores stand beside it, and it sees little else than they tell"] if is_judge else []),
    ]
    return {
        "features": str(features),
        "independent": not reasons,
        "is_judge": is_judge,
        "seen_by": seen_by,
        "remark": " and ".join(reasons),
    }


def headline_extractor(facts: Mapping[str, Mapping[str, Any]]) -> str:
    """The first independent extractor by name; where there is none, the first that is not the judge, which is blind."""
    return min(facts, key=lambda name: (not facts[name]["independent"], facts[name]["is_judge"], name))
