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
    return ((found, reference) for found, reference in _all_references(value, name) if not _is_of_images(found))


def image_folders(value: Any, name: str) -> Iterator[tuple[str, ModelReference]]:
    """Every folder of real images in a config, with its dotted name."""
    for found, reference in _all_references(value, name):
        if _is_of_images(found) and isinstance(reference, ModelReference):
            yield found, reference


def _is_of_images(name: str) -> bool:
    return name.rsplit(".", 1)[-1] in IMAGE_FOLDER_FIELDS


def _all_references(value: Any, name: str) -> Iterator[tuple[str, ModelReference | PublishedFile]]:
    if isinstance(value, ModelReference):
        yield name, value
    elif isinstance(value, BaseModel):
        published = getattr(value, "published_file", lambda: None)()
        if published is not None:
            yield name, published
        for field in type(value).model_fields:
            yield from _all_references(getattr(value, field), f"{name}.{field}")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _all_references(item, f"{name}.{key}")
