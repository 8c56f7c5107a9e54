"""The models that a stage's settings name."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from data.downloads import PublishedFile
from stages.plan.config import ModelReference

IMAGE_FOLDER_FIELDS = {"folder"}
"""Fields whose reference is a folder of images, not a model."""


def references(value: Any, name: str) -> Iterator[tuple[str, ModelReference | PublishedFile]]:
    """Every model reference and published file in a config, with its dotted name."""
    if isinstance(value, ModelReference):
        if name.rsplit(".", 1)[-1] not in IMAGE_FOLDER_FIELDS:
            yield name, value
    elif isinstance(value, BaseModel):
        published = getattr(value, "published_file", lambda: None)()
        if published is not None:
            yield name, published
        for field in type(value).model_fields:
            yield from references(getattr(value, field), f"{name}.{field}")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from references(item, f"{name}.{key}")
