"""The frame of all distances to real images: between the features and their comparison.

What a bootstrap draws depends on the prompts alone. So each model's distances are resampled once, whatever model they
are compared with, and so are those of the real images among themselves; a comparison finds all resamples paired.

A model's artifact holds the distances, and of its scores all but the features: what a comparison asks of scores.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from comat_core.support.errors import UserError
from stages.evaluate.scoring.comparisons import items_by_model
from stages.evaluate.scoring.image_scores import ITEMS, ORIGIN, part_name
from stages.evaluate.scoring.images.frechet_features import FEATURES, FEWEST, FeaturesConfig
from stages.evaluate.scoring.images.generated_images import REAL, artifacts_by_model
from stages.evaluate.scoring.settings import reads_no_files
from stages.plan.stage import Inputs, Stage
from stages.store.artifact_writer import ArtifactWriter
from stages.store.artifacts import Artifact

if TYPE_CHECKING:
    from comat_core.metrics.bootstrap import Resampled

SCORES = "scores"
"""Role of the scores whose features are measured."""
DISTANCES = "distances.parquet"
SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("point", pa.float64()),
        ("values", pa.list_(pa.float64())),
        ("n", pa.int64()),
        ("is_inflated", pa.bool_()),
    ]
)

Distances = Mapping[str, "Resampled"]
"""Name of a score -> what it is, and is in each resample."""


def model_distances(
    *,
    benchmark: str,
    version: int,
    config_type: type[FeaturesConfig],
    measure: Callable[[Any, pa.Table, pa.Table], Distances],
) -> Stage:
    """Make the stage that measures one model's distances to the real images.

    Args:
        measure: (config, items of the model's scores, items of the real images' scores) -> the distances.
    """

    def build(config: FeaturesConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
        scores = inputs[SCORES]
        items = scores.read_table(ITEMS).sort_by([("prompt_id", "ascending"), ("sample", "ascending")])
        if not items.num_rows:
            raise UserError(
                "no image of the chosen prompts to score",
                f"evaluate.{benchmark}",
                "let the prompts stage have prompts of that split and skill",
            )
        _write(writer, measure(config, items, inputs[REAL].read_table(ITEMS)))
        writer.write_table(part_name(0), items.drop_columns(FEATURES[0]))
        writer.write_json(ORIGIN, scores.read_json(ORIGIN))

    return _stage(f"distances.{benchmark}", (SCORES, REAL), version, config_type, build)


def distances_among_real(
    *,
    benchmark: str,
    version: int,
    config_type: type[FeaturesConfig],
    measure: Callable[[Any, pa.Table], Distances],
) -> Stage:
    """Make the stage that measures real images against each other: what a perfect generator would reach.

    Args:
        measure: (config, items of the real images' scores) -> the distances.
    """

    def build(config: FeaturesConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
        _write(writer, measure(config, inputs[SCORES].read_table(ITEMS)))

    return _stage(f"distances.{benchmark}.{REAL}", (SCORES,), version, config_type, build)


def features_of(items: pa.Table, benchmark: str) -> tuple[np.ndarray, list[str]]:
    """Features (N, D) of a model's images, and their prompts.

    Raises:
        UserError: a single image, which no distribution can be fitted to.
    """
    if items.num_rows < FEWEST:
        raise UserError(
            f"{items.num_rows} image of each model is too few for a distance between distributions",
            f"evaluate.{benchmark}",
            f"draw {FEWEST} or more: raise the count of the fidelity prompts, or images.samples.fidelity",
        )
    return np.stack(items[FEATURES[0]].to_numpy()), items["prompt_id"].to_pylist()


def compare_distances(inputs: Inputs, ratios_of: str) -> dict[str, Any]:
    """Each model's distances, and the changes from base to tuned where both were measured.

    Args:
        ratios_of: the score whose ratio, tuned over base, is told too, as "<score>_ratio".

    Returns:
        The parts "models" and "delta" of a summary.
    """
    measured = {model: read_distances(artifact) for model, artifact in artifacts_by_model(inputs).items()}
    items_by_model(inputs)  # which finds them paired
    delta: dict[str, Any] = {}
    for name, tuned in measured.get("tuned", {}).items():
        base, (score, slash, part) = measured["base"][name], name.partition("/")
        delta[name] = tuned.change_from(base).as_dict()
        if score == ratios_of:
            delta[f"{score}_ratio{slash}{part}"] = tuned.ratio_to(base).as_dict()
    return {"models": {model: estimates(distances) for model, distances in measured.items()}, "delta": delta}


def estimates(distances: Distances) -> dict[str, Any]:
    """Name of a score -> its mean with its interval."""
    return {name: resampled.estimate().as_dict() for name, resampled in distances.items()}


def read_distances(artifact: Artifact) -> Distances:
    """What one of the two stages wrote."""
    from comat_core.metrics.bootstrap import Resampled

    rows = artifact.read_table(DISTANCES).to_pylist()
    return {row.pop("name"): Resampled(**{**row, "values": np.asarray(row["values"])}) for row in rows}


def _stage(
    name: str,
    inputs: tuple[str, ...],
    version: int,
    config_type: type[FeaturesConfig],
    build: Callable[[Any, Inputs, ArtifactWriter], None],
) -> Stage:
    return Stage(
        name=name,
        version=version,
        config_type=config_type,
        inputs=inputs,
        payload=config_type.distances_payload,
        fetch=reads_no_files,
        loads_models=False,
        build=build,
    )


def _write(writer: ArtifactWriter, distances: Distances) -> None:
    rows = [{"name": name, **vars(resampled)} for name, resampled in distances.items()]
    writer.write_table(DISTANCES, pa.Table.from_pylist(rows, schema=SCHEMA))
