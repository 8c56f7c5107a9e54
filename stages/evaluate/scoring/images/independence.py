"""Which measuring networks are independent: neither the judge nor anything that the training looked at."""

from collections.abc import Iterator, Mapping
from typing import Any

from comat_core.support.errors import UserError
from stages.plan.config import ModelReference
from stages.store.artifacts import Artifact


def training_model(reference: ModelReference, train: Artifact) -> str | None:
    """The training's setting that names the same network, dotted; None if none does.

    A model that is named and has no weight in the losses counts as well: the doubt is the reader's to judge.
    """
    return next((name for name, other in _references(train.manifest.config, "") if same_model(reference, other)), None)


def same_model(first: ModelReference, second: ModelReference) -> bool:
    """Whether two references mean one model: the same name, or the same files in two places."""
    if (first.path, first.revision, first.file) == (second.path, second.revision, second.file):
        return True
    try:
        return first.identity() == second.identity()
    except UserError:  # one of them lies on the machine that trained
        return False


def _references(value: Any, name: str) -> Iterator[tuple[str, ModelReference]]:
    """Every model reference in a config as its manifest holds it, with its dotted name."""
    if not isinstance(value, Mapping):
        return
    if value.keys() == ModelReference.model_fields.keys():
        yield name, ModelReference.model_validate(value)
        return
    for key, item in value.items():
        yield from _references(item, f"{name}.{key}".lstrip("."))
