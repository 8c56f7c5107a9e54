"""What is wrong with a preset's settings, as one line that names the setting as the preset writes it."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from comat_core.support.errors import UserError, shortened

KIND = "kind"
"""The setting by which the kinds of a union are told apart."""


def setting_error(
    error: ValidationError, model: type[BaseModel], values: Any, section: str, source: str, others: Sequence[str] = ()
) -> UserError:
    """Tell the first of the mistakes.

    Args:
        model: what the values should have been.
        section: of the preset; "" for its top level.
        source: of the values, for the reader.
        others: names that are known at the top level beside the model's own.
    """
    first = error.errors()[0]
    place, models = _locate(model, values, first["loc"])
    name = ".".join([section, *place] if section else place)
    if first["type"] == "extra_forbidden":
        _, around = _locate(model, values, first["loc"][:-1])
        known = dict.fromkeys(field for one in around for field in one.model_fields)
        shown = ", ".join([*known, *(others if len(place) == 1 else ())])
        return UserError(f"unknown setting {name}", source, f"known settings here: {shown}")
    if first["type"] == "missing":
        return UserError(f"setting {name} is missing", source, "give it a value")
    if first["type"] == "union_tag_not_found":
        return UserError(f"setting {name}.{KIND} is missing", source, f"choose one of: {_kinds_shown(models)}")
    if first["type"] == "union_tag_invalid":
        problem = f"{name}.{KIND} = {shortened(repr(first['input'].get(KIND)))} is not known"
        return UserError(problem, source, f"choose one of: {_kinds_shown(models)}")
    problem = f"{name} = {shortened(repr(first['input']))} is not allowed: {first['msg']}"
    return UserError(problem, source, "run `comat show` for the settings in use")


def _locate(
    model: type[BaseModel], values: Any, location: Sequence[int | str]
) -> tuple[list[str], list[type[BaseModel]]]:
    """Follow pydantic's path, in which the kind of a union stands as if it were a setting.

    Returns:
        The names of the settings on the way, and the models that the last one may be.
    """
    names: list[str] = []
    models = [model]
    for part in location:
        if isinstance(values, Mapping) and part not in values and values.get(KIND) == part:
            models = [one for one in models if part in _kinds(one)]
            continue
        names.append(str(part))
        values = _inside(values).get(part)
        fields = [one.model_fields[str(part)] for one in models if part in one.model_fields]
        if fields:
            models = [found for field in fields for found in _models_of(field.annotation)]
    return names, models


def _inside(values: Any) -> Mapping[Any, Any]:
    """What a value holds, by names or numbers."""
    if isinstance(values, Mapping):
        return values
    return dict(enumerate(values)) if isinstance(values, list) else {}


def _models_of(annotation: Any) -> list[type[BaseModel]]:
    """The models that an annotation names, inside unions and containers too."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_of(argument)]


def _kinds(model: type[BaseModel]) -> tuple[str, ...]:
    return get_args(model.model_fields[KIND].annotation) if KIND in model.model_fields else ()


def _kinds_shown(models: Sequence[type[BaseModel]]) -> str:
    return ", ".join(kind for model in models for kind in _kinds(model))
