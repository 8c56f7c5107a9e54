"""What fidelity measures by each extractor: a model's images against real ones, and real ones among themselves."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from comat_core.support.errors import UserError
from stages.evaluate.scoring.images.distances import features_of

if TYPE_CHECKING:
    from comat_core.metrics.bootstrap import Resampled
    from stages.evaluate.fidelity import FidelityConfig

DISTANCE = "frechet_distance"


def measure_model(config: "FidelityConfig", items: pa.Table, real_items: pa.Table) -> "dict[str, Resampled]":
    """Name of a score -> a model's, with density and coverage by extractors of single features.

    Raises:
        UserError: too few images.
    """
    from comat_core.metrics.bootstrap import make_numpy_generator
    from comat_core.metrics.distances.frechet_comparison import measure_distance
    from comat_core.metrics.distances.neighbourhoods import measure_neighbourhoods

    found: dict[str, Resampled] = {}
    for name, real in real_features_of(config, real_items):
        rows, prompts = features_of(items.filter(pc.field("extractor") == name), "fidelity")
        images = rows.reshape(len(rows), real.shape[1], -1)
        generator = make_numpy_generator(config.seed, f"{DISTANCE}/{name}")
        found[f"{DISTANCE}/{name}"] = measure_distance(real, images, prompts, generator, resamples=config.resamples)
        if config.extractors[name].neighbourhoods:
            # As many real images as generated ones: what the coverage of a perfect generator is depends on both.
            chosen = _enough(real[: len(rows), 0], config.neighbours)
            generator = make_numpy_generator(config.seed, f"neighbourhoods/{name}")
            settings = {"resamples": config.resamples, "neighbours": config.neighbours}
            measured = measure_neighbourhoods(chosen, images[:, 0], prompts, generator, **settings)
            found |= {f"{metric}/{name}": resampled for metric, resampled in measured.items()}
    return found


def measure_real(config: "FidelityConfig", real_items: pa.Table) -> "dict[str, Resampled]":
    """The same of one half of the real images against the other."""
    from comat_core.metrics.bootstrap import make_numpy_generator
    from comat_core.metrics.distances.frechet_comparison import distance_between_halves
    from comat_core.metrics.distances.neighbourhoods import neighbourhoods_of_halves

    found: dict[str, Resampled] = {}
    for name, real in real_features_of(config, real_items):
        generator = make_numpy_generator(config.seed, f"real {DISTANCE}/{name}")
        found[f"{DISTANCE}/{name}"] = distance_between_halves(real, generator, resamples=config.resamples)
        if config.extractors[name].neighbourhoods:
            generator = make_numpy_generator(config.seed, f"real neighbourhoods/{name}")
            settings = {"resamples": config.resamples, "neighbours": config.neighbours}
            measured = neighbourhoods_of_halves(real[:, 0], generator, **settings)
            found |= {f"{metric}/{name}": resampled for metric, resampled in measured.items()}
    return found


def real_features_of(config: "FidelityConfig", items: pa.Table) -> Iterator[tuple[str, np.ndarray]]:
    """Each extractor with its items (M, n, D) of the real images."""
    for name in sorted(config.extractors):
        own = items.filter(pc.field("extractor") == name)
        rows = np.stack(own["features"].to_numpy())
        yield name, rows.reshape(len(rows), own["count"][0].as_py(), -1)


def _enough(real: np.ndarray, neighbours: int) -> np.ndarray:
    """The real images (M, D) that are as many as a model's, if each has its neighbours."""
    if len(real) <= neighbours:
        raise UserError(
            f"{len(real)} images of each model are too few for {neighbours} neighbours",
            "evaluate.fidelity.neighbours",
            "lower it, or raise the count of the fidelity prompts",
        )
    return real
