"""The summary of fidelity: every extractor's scores, and which of them an honest reader looks at first."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from comat_core.support.errors import UserError
from stages.evaluate.images.feature_extractors import JudgeFeatures
from stages.evaluate.images.frechet_features import features_by_model, summarise_distances
from stages.evaluate.images.independence import same_model, training_model
from stages.store.artifacts import Artifact

if TYPE_CHECKING:
    from stages.evaluate.fidelity import FidelityConfig

DISTANCE = "frechet_distance"

Scores = dict[str, Any]
"""Name of a score -> its mean with its interval."""


def summarise_fidelity(
    config: "FidelityConfig", items: pa.Table, real: Mapping[str, np.ndarray], train: Artifact
) -> dict[str, Any]:
    """All of the summary but the keys of what was scored.

    Args:
        items: rows of the items table.
        real: extractor -> items (M, n, D) of the real images.
        train: the training whose model is measured.
    """
    models: dict[str, Scores] = {}
    delta: Scores = {}
    real_to_real: Scores = {}
    names = sorted(config.extractors)
    for name in names:
        own = items.filter(pc.field("extractor") == name)
        for part in _parts(config, name, own, real[name]):
            for model, scores in part["models"].items():
                models.setdefault(model, {}).update(scores)
            delta |= part["delta"]
            real_to_real |= part["real_to_real"]
    facts = {name: describe_extractor(config, name, train) for name in names}
    return {
        "benchmark": "fidelity",
        "protocol": describe(config),
        "models": models,
        "delta": delta,
        "real_to_real": real_to_real,
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


def describe_extractor(config: "FidelityConfig", name: str, train: Artifact) -> dict[str, Any]:
    """What its features are, whether they are independent of what the run was trained and judged by, and if not, why.

    "seen_by" is the training's setting that names the same network, None if training has not looked at it.
    """
    features = config.extractors[name]
    reference = features.checkpoint()
    seen_by = None if reference is None else training_model(reference, train)
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


def _parts(config: "FidelityConfig", name: str, items: pa.Table, real: np.ndarray) -> Iterator[dict[str, Scores]]:
    """The scores of one extractor.

    Args:
        items: its rows of the items table.
        real: (M, n, D).
    """
    rows, prompts = features_by_model(items, "fidelity")
    features = {model: one.reshape(len(one), real.shape[1], -1) for model, one in rows.items()}
    yield _distances(config, name, features, prompts, real)
    if config.extractors[name].neighbourhoods:
        yield _neighbourhoods(config, name, {model: one[:, 0] for model, one in features.items()}, prompts, real[:, 0])


def _distances(
    config: "FidelityConfig", name: str, features: Mapping[str, np.ndarray], prompts: Sequence[str], real: np.ndarray
) -> dict[str, Scores]:
    from comat_core.metrics.bootstrap import make_numpy_generator
    from comat_core.metrics.frechet_comparison import distance_between_halves

    summary = summarise_distances(config, features, prompts, real, DISTANCE, part=f"/{name}")
    generator = make_numpy_generator(config.seed, f"real {DISTANCE}/{name}")
    halves = distance_between_halves(real, generator, resamples=config.resamples)
    return {**summary, "real_to_real": {f"{DISTANCE}/{name}": halves.as_dict()}}


def _neighbourhoods(
    config: "FidelityConfig", name: str, features: Mapping[str, np.ndarray], prompts: Sequence[str], real: np.ndarray
) -> dict[str, Scores]:
    from comat_core.metrics.bootstrap import make_numpy_generator
    from comat_core.metrics.neighbourhoods import compare_neighbourhoods, neighbourhoods_of_halves

    settings = {"resamples": config.resamples, "neighbours": config.neighbours}
    # As many real images as generated ones: what the coverage of a perfect generator is depends on both numbers.
    chosen = real[: len(prompts)]
    if len(chosen) <= config.neighbours:
        raise UserError(
            f"{len(prompts)} images of each model are too few for {config.neighbours} neighbours",
            "evaluate.fidelity.neighbours",
            "lower it, or raise the count of the fidelity prompts",
        )
    parts: dict[str, Any] = {"models": {}, "delta": {}, "real_to_real": {}}
    for model in list(features)[1:]:
        generator = make_numpy_generator(config.seed, f"neighbourhoods/{name}")
        found = compare_neighbourhoods(chosen, features["base"], features[model], prompts, generator, **settings)
        for metric, estimates in found.items():
            parts["models"].setdefault("base", {})[f"{metric}/{name}"] = estimates.base.as_dict()
            parts["models"].setdefault(model, {})[f"{metric}/{name}"] = estimates.tuned.as_dict()
            if model == "tuned":
                parts["delta"][f"{metric}/{name}"] = estimates.difference.as_dict()
    generator = make_numpy_generator(config.seed, f"real neighbourhoods/{name}")
    halves = neighbourhoods_of_halves(real, generator, **settings)
    parts["real_to_real"] = {f"{metric}/{name}": estimate.as_dict() for metric, estimate in halves.items()}
    return parts
