"""Which models presets need, where they lie, and under which licence they came."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import data
from data.downloads import PublishedFile
from data.formats.yaml_files import read_yaml_mapping
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
    """"local" for a folder, "installed" for a package, else what the cache of downloads holds."""
    size: int | None
    """Bytes: of the local files, or as published if there are none; None if unknown."""
    licence: str
    reference: ModelReference | PublishedFile | None
    """None for a package."""


def needed_models(presets: Sequence[Preset]) -> list[NeededModel]:
    """List the models that the presets' stages load, in the order of their sections, each once."""
    found: dict[object, tuple[ModelReference | PublishedFile, dict[str, None]]] = {}
    for preset in presets:
        for section, config in preset.sections.items():
            for role, reference in _references(config, section):
                _, roles = found.setdefault(_identity(reference), (reference, {}))
                roles[role] = None
    facts = read_yaml_mapping(FACTS_FILE, "list of models")
    models = [_describe(reference, tuple(roles), facts) for reference, roles in found.values()]
    parsers = dict.fromkeys(getattr(preset.sections.get("entities"), "parser", None) for preset in presets)
    return models + [_describe_parser(parser, facts) for parser in parsers if parser is not None]


def fetch_model(model: NeededModel) -> None:
    """Download what the cache lacks of a published model.

    Raises:
        UserError: it cannot be reached, or there is no such model.
    """
    reference = model.reference
    if isinstance(reference, PublishedFile):
        reference.fetch()
    elif reference is None or reference.local_path() is not None:
        return
    elif reference.file is None:
        fetch_folder(reference.path, reference.revision)
    else:
        fetch_file(reference.path, reference.file, reference.revision)


def _identity(reference: ModelReference | PublishedFile) -> object:
    return reference if isinstance(reference, PublishedFile) else (reference.path, reference.revision, reference.file)


def _references(value: Any, name: str) -> Iterator[tuple[str, ModelReference | PublishedFile]]:
    """Every model reference and published file in a config, with its dotted name."""
    if isinstance(value, ModelReference):
        if name.rsplit(".", 1)[-1] not in IMAGE_FOLDER_FIELDS:
            yield name, value
    elif isinstance(value, BaseModel):
        published = getattr(value, "published_file", lambda: None)()
        if published is not None:
            yield name, published
        for field in type(value).model_fields:
            yield from _references(getattr(value, field), f"{name}.{field}")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _references(item, f"{name}.{key}")


def _describe(reference: ModelReference | PublishedFile, roles: tuple[str, ...], facts: dict[str, Any]) -> NeededModel:
    known = facts.get(reference.name if isinstance(reference, PublishedFile) else reference.path, {})
    licence, published = known.get("licence", "unknown"), known.get("bytes")
    if isinstance(reference, PublishedFile):
        cached = reference.cached()
        size = published if cached is None else cached.stat().st_size
        presence = Presence.MISSING if cached is None else Presence.CACHED
        return NeededModel(roles, reference.name, None, str(presence), size, licence, reference)
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
