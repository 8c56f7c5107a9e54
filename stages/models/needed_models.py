"""Which models presets need, where they lie, and under which licence they came."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from comat_core.support.errors import UserError
from data.downloading.downloads import PublishedFile
from stages.models.folder_files import files_below
from stages.models.hub import Presence, cached_folder, fetch_file, fetch_folder, look_up
from stages.models.model_checks import check_folder
from stages.models.model_references import NamedModel, Use, named_models, spacy_pipelines
from stages.models.published_facts import facts_of, licence_of, published_facts
from stages.plan.config import ModelReference
from stages.plan.presets import Preset


@dataclass(frozen=True)
class NeededModel:
    """A model and what is known of it here."""

    roles: tuple[str, ...]
    """The settings that name it, dotted."""
    name: str
    revision: str | None
    presence: str
    """"local" for a folder, "installed" for a package, else what the cache of downloads holds; and what is amiss."""
    size: int | None
    """Bytes: of the local files, or as published if there are none; None if unknown."""
    licence: str
    reference: ModelReference | PublishedFile | None
    """None for a package."""


def needed_models(presets: Sequence[Preset]) -> list[NeededModel]:
    """List the models that the presets' stages load, in the order of their sections, each once."""
    models: dict[object, dict[str, NamedModel]] = {}
    parsers: dict[str, dict[str, None]] = {}
    for preset in presets:
        for section, config in preset.sections.items():
            for named in named_models(config, section):
                models.setdefault(_identity(named.reference), {})[named.setting] = named
            for setting, parser in spacy_pipelines(config, section):
                parsers.setdefault(parser, {})[setting] = None
    facts = published_facts()
    described = [_describe(list(named.values()), facts) for named in models.values()]
    return described + [_describe_parser(parser, tuple(settings), facts) for parser, settings in parsers.items()]


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


def _describe(named: Sequence[NamedModel], facts: dict[str, Any]) -> NeededModel:
    """Of one model under all settings that name it."""
    reference, names = named[0].reference, tuple(one.setting for one in named)
    licence, published = licence_of(reference, facts), facts_of(reference, facts).get("bytes")
    if isinstance(reference, PublishedFile):
        cached = reference.cached()
        size = published if cached is None else cached.stat().st_size
        presence = Presence.MISSING if cached is None else Presence.CACHED
        return NeededModel(names, reference.name, None, str(presence), size, licence, reference)
    local = reference.local_path()
    if local is not None:
        size = sum(file.stat().st_size for file in ([local] if local.is_file() else files_below(local)))
        presence = "local" + ("" if local.is_file() else _drawback(local, named))
        return NeededModel(names, str(reference.path), None, presence, size, licence, reference)
    presence, size = look_up(reference.path, reference.file, reference.revision)
    name = reference.path if reference.file is None else f"{reference.path}/{reference.file}"
    shown = size if presence is Presence.CACHED else published
    is_whole = reference.file is None and presence is Presence.CACHED
    folder = cached_folder(reference.path, reference.revision) if is_whole else None
    drawback = "" if folder is None else _drawback(folder, named)
    return NeededModel(names, name, reference.revision, f"{presence}{drawback}", shown, licence, reference)


def _drawback(folder: Path, named: Sequence[NamedModel]) -> str:
    """What is to be said of a model whose files are at hand, but cannot be used as they are."""
    try:
        variants = [check_folder(folder, one.use, one.absent) for one in named if one.use is not Use.LORA]
    except UserError as error:
        return f", but unusable: {error.what}"
    return " (fp16)" if any(variants) else ""


def _describe_parser(name: str, roles: tuple[str, ...], facts: dict[str, Any]) -> NeededModel:
    installed = find_spec(name) is not None
    presence = "installed" if installed else f"not installed: python -m spacy download {name}"
    size = facts_of(name, facts).get("bytes")
    return NeededModel(roles, name, None, presence, size, licence_of(name, facts), None)
