"""What evaluations of how two objects stand to each other record of every image."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from comat_core.language.spatial_prompts import Relation
from comat_core.metrics.spatial import Detection
from stages.evaluate.scoring.image_scores import identity_of, item_schema
from stages.evaluate.scoring.images.generated_images import GeneratedImage
from stages.evaluate.scoring.objects.detected_boxes import BOX


def related_objects_schema(metric: str) -> pa.Schema:
    """Columns of the items table: the image, what its prompt names, the boxes found, and the metric's score."""
    return item_schema(
        ("nouns", pa.list_(pa.string())),
        ("locality", pa.string()),
        ("boxes", pa.list_(BOX)),
        (metric, pa.float64()),
    )


def related_objects_item(
    image: GeneratedImage, relation: Relation | None, boxes: Sequence[Detection], metric: str, score: float | None
) -> dict[str, Any]:
    """One row of that table; `relation` is None for a prompt that names no two objects."""
    return {
        **identity_of(image),
        "nouns": list(relation.nouns) if relation else [],
        "locality": relation.locality if relation else None,
        "boxes": [vars(box) for box in boxes],
        metric: score,
    }
