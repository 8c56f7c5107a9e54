"""What is known of published models without having them: licence and size."""

from pathlib import Path
from typing import Any, Final

import data
from data.downloading.downloads import PublishedFile
from data.formats.yaml_files import read_yaml_mapping
from stages.plan.config import ModelReference

FACTS_FILE: Final = Path(data.__file__).parent / "models.yaml"
UNKNOWN: Final = "unknown"


def published_facts() -> dict[str, Any]:
    """Name -> {licence, bytes}, of the models that presets name.

    Raises:
        UserError: the list is malformed.
    """
    return read_yaml_mapping(FACTS_FILE, "list of models")


def licence_of(reference: ModelReference | PublishedFile | str, facts: dict[str, Any]) -> str:
    """The licence of a model, a file or, by its name, a package."""
    return facts_of(reference, facts).get("licence", UNKNOWN)


def facts_of(reference: ModelReference | PublishedFile | str, facts: dict[str, Any]) -> dict[str, Any]:
    """What is known of one of them; nothing if it is in no list."""
    if isinstance(reference, str):
        return facts.get(reference, {})
    return facts.get(reference.name if isinstance(reference, PublishedFile) else reference.path, {})
