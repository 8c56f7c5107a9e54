"""Which models a preset needs, where they lie, and under which licence they came."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

import data
from stages.config import ModelReference
from stages.hub import Presence, fetch_file, fetch_folder, look_up
from stages.presets import Preset

FACTS_FILE = Path(data.__file__).parent / "models.yaml"
IMAGE_FOLDER_FIELDS = {"folder"}
"""Fields whose reference is a folder of images, not a model."""


@dataclass(frozen=True)
class NeededModel:
    """A model and what is known of it here."""

    roles: tuple[str, ...]
    """The settings that name it, dotted."""
    name: str
    revision: str | None
    presence: str
    """"local" for a folder, "installed" for a package, else what the hub's cache holds."""
    size: int | None
    """Bytes: of the local files, or as published if there are none; None if unknown."""
    licence: str
    reference: ModelReference | None
    """None for a package."""


def needed_models(preset: Preset) -> list[NeededModel]:
    """List the models that a preset's stages load, in the order of its sections, each once."""
    found: dict[ModelKey, tuple[ModelReference, list[str]]] = {}
    for section, config in preset.sections.items():
        for role, reference in _references(config, section):
            key = (reference.path, reference.revision, reference.file)
            found.setdefault(key, (reference, []))[1].append(role)
    facts = yaml.safe_load(FACTS_FILE.read_text(encoding="utf-8"))
    models = [_describe(reference, tuple(roles), facts) for reference, roles in found.values()]
    parser = getattr(preset.sections.get("entities"), "parser", None)
    return models if parser is None else [*models, _describe_parser(parser, facts)]


def fetch_model(model: NeededModel) -> None:
    """Download what the cache lacks of a hub model.

    Raises:
        UserError: the hub cannot be reached, or has no such model.
    """
    reference = model.reference
    if reference is None or reference.local_path() is not None:
        return
    if reference.file is None:
        fetch_folder(reference.path, reference.revision)
    else:
        fetch_file(reference.path, reference.file, reference.revision)


ModelKey = tuple[str, str | None, str | None]


def _references(value: Any, name: str) -> Iterator[tuple[str, ModelReference]]:
    """Every model reference in a config, with its dotted name."""
    if isinstance(value, ModelReference):
        if name.rsplit(".", 1)[-1] not in IMAGE_FOLDER_FIELDS:
            yield name, value
    elif isinstance(value, BaseModel):
        for field in type(value).model_fields:
            yield from _references(getattr(value, field), f"{name}.{field}")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _references(item, f"{name}.{key}")


def _describe(reference: ModelReference, roles: tuple[str, ...], facts: dict[str, Any]) -> NeededModel:
    known = facts.get(reference.path, {})
    licence, published = known.get("licence", "unknown"), known.get("bytes")
    local = reference.local_path()
    if local is not None:
        files = [local] if local.is_file() else local.rglob("*")
        size = sum(file.stat().st_size for file in files if file.is_file())
        return NeededModel(roles, str(reference.path), None, "local", size, licence, reference)
    presence, size = look_up(reference.path, reference.file, reference.revision)
    name = reference.path if reference.file is None else f"{reference.path}/{reference.file}"
    shown = size if presence is Presence.CACHED else published
    return NeededModel(roles, name, reference.revision, str(presence), shown, licence, reference)


def _describe_parser(name: str, facts: dict[str, Any]) -> NeededModel:
    known = facts.get(name, {})
    installed = find_spec(name) is not None
    presence = "installed" if installed else f"not installed: python -m spacy download {name}"
    licence = known.get("licence", "unknown")
    return NeededModel(("entities.parser",), name, None, presence, known.get("bytes"), licence, None)
