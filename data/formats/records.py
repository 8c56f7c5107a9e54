"""Records: JSON or YAML that has to fit a pydantic model."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from comat_core.files.json_files import SMALL, JsonLimits, parse_json
from comat_core.support.errors import UserError, first_problem
from data.formats.yaml_files import read_yaml_mapping

Record = TypeVar("Record", bound=BaseModel)


def parse_record(
    model: type[Record],
    content: bytes,
    kind: str,
    where: str,
    *,
    advice: str = "correct the file",
    limits: JsonLimits = SMALL,
) -> Record:
    """Parse a JSON object into a model.

    Args:
        kind: what it should be, for the message: "run record".
        where: it stands.

    Raises:
        UserError: it is no JSON, or does not fit the model.
    """
    value = parse_json(content, kind, where, shape="object", advice=advice, limits=limits)
    return fitted(model, value, kind, where, advice=advice)


def read_yaml_record(
    model: type[Record], path: Path, kind: str, *, advice: str = "correct the file", **more: Any
) -> Record:
    """Read a YAML mapping into a model.

    Args:
        kind: what it should be, for the message: "ablation".
        more: values that the file need not hold.

    Raises:
        UserError: it cannot be read, is no YAML, or does not fit the model.
    """
    return fitted(model, read_yaml_mapping(path, kind, advice=advice) | more, kind, str(path), advice=advice)


def fitted(model: type[Record], value: Any, kind: str, where: str, *, advice: str = "correct the file") -> Record:
    """Check parsed values against a model.

    Raises:
        UserError: they do not fit; the first that does not is named.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise UserError(first_problem(error, f"the {kind}"), where, advice) from error
