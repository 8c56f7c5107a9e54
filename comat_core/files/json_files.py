"""JSON that others wrote: bounded in size, depth and number of values, and taken at its word.

Beyond what the format forbids, these are refused: NaN and infinities (the latter unless they are asked for), numbers
that 64 bits cannot hold, a name that stands twice in one object, halves of characters. Whatever reads on may rely on
it.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

from comat_core.files.regular_files import MEBIBYTE, read_file
from comat_core.files.text_files import decode_text, is_text
from comat_core.support.errors import UserError, shortened

Shape = Literal["object", "list", "any"]


@dataclass(frozen=True)
class JsonLimits:
    """What a document may have at most."""

    size: int
    """Bytes."""
    values: int
    """Of all kinds, as estimated by the commas and brackets."""
    depth: int = 64
    """Lists and objects inside each other."""


SMALL: Final = JsonLimits(size=32 * MEBIBYTE, values=2_000_000)
"""Settings and records."""
LARGE: Final = JsonLimits(size=1024 * MEBIBYTE, values=50_000_000)
"""Lists that come with a data set. Parsed, they take up to 64 bytes a value."""

_LARGEST: Final = 2**63
_LONGEST_NUMBER: Final = 400  # digits of the longest float
_HALF_CHARACTER: Final = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(
    path: Path,
    kind: str,
    *,
    shape: Shape = "any",
    advice: str = "correct the file",
    limits: JsonLimits = SMALL,
    infinities: bool = False,
) -> Any:
    """Read a JSON file.

    Args:
        kind: what it should be, for the message: "captions file".
        shape: what the document has to be.
        infinities: whether Infinity and -Infinity are taken, which Python writes though they are no JSON.

    Raises:
        UserError: it cannot be read, is no JSON, of another shape, or beyond the limits.
    """
    content = read_file(path, kind, limit=limits.size, advice=advice)
    return parse_json(content, kind, str(path), shape=shape, advice=advice, limits=limits, infinities=infinities)


def parse_json(
    content: bytes | str,
    kind: str,
    where: str,
    *,
    shape: Shape = "any",
    advice: str = "correct the file",
    limits: JsonLimits = SMALL,
    infinities: bool = False,
) -> Any:
    """Parse a JSON document: UTF-8, with or without a byte order mark.

    Args:
        where: it stands, for the message.
        infinities: whether Infinity and -Infinity are taken.

    Raises:
        UserError: it is no JSON, of another shape, or beyond the limits.
    """
    if len(content) > limits.size:
        raise UserError(f"the {kind} has more than {limits.size:,} bytes", where, advice)
    text = decode_text(content, kind, where, advice=advice) if isinstance(content, bytes) else content
    if sum(map(text.count, ",[{")) > limits.values:
        raise UserError(f"the {kind} has more than {limits.values:,} values", where, advice)
    try:
        value = json.loads(
            text,
            parse_int=_integer,
            parse_float=_finite_number,
            parse_constant=_infinity if infinities else _refuse_constant,
            object_pairs_hook=_without_repetition,
        )
        _check_depth(value, limits.depth)
        if _HALF_CHARACTER.search(text):
            _check_texts(value)
    except json.JSONDecodeError as error:
        place = f"{where}, line {error.lineno}" if error.lineno > 1 else where
        raise UserError(f"malformed JSON: {error.msg}", place, advice) from error
    except _RefusedError as error:
        raise UserError(f"malformed JSON: {error}", where, advice) from error
    except RecursionError as error:
        raise UserError(f"malformed JSON: {_too_deep(limits.depth)}", where, advice) from error
    _check_shape(value, shape, kind, where, advice)
    return value


class _RefusedError(Exception):
    """A value that the parser would take."""


def _integer(digits: str) -> int:
    # Digits are counted first: the conversion takes a time that grows with their square.
    if len(digits) > 20 or not -_LARGEST <= (value := int(digits)) < _LARGEST:
        raise _RefusedError(f"the number {shortened(digits)} does not fit into 64 bits")
    return value


def _finite_number(digits: str) -> float:
    if len(digits) > _LONGEST_NUMBER or not math.isfinite(value := float(digits)):
        raise _RefusedError(f"the number {shortened(digits)} does not fit into 64 bits")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise _RefusedError(f"{name} is no number of JSON")


def _infinity(name: str) -> float:
    return float(name) if name != "NaN" else _refuse_constant(name)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names: set[str] = set()
        repeated = next(name for name, _ in pairs if name in names or names.add(name))
        raise _RefusedError(f"{shortened(repeated)!r} is given twice in one object")
    return values


def _check_depth(value: Any, limit: int) -> None:
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(limit):
        if not level:
            return
        level = [
            item
            for container in level
            for item in (container.values() if isinstance(container, dict) else container)
            if isinstance(item, (dict, list))
        ]
    if level:
        raise _RefusedError(_too_deep(limit))


def _check_texts(value: Any) -> None:
    for text in _texts(value):
        if not is_text(text):
            raise _RefusedError(f"{shortened(text)!r} holds half a character")


def _texts(value: Any) -> Iterator[str]:
    """All texts of a document, names included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _too_deep(limit: int) -> str:
    return f"lists and objects inside each other more than {limit} deep"


def _check_shape(value: Any, shape: Shape, kind: str, where: str, advice: str) -> None:
    if shape == "object" and not isinstance(value, dict):
        raise UserError(f"the {kind} holds no JSON object", where, advice)
    if shape == "list" and not isinstance(value, list):
        raise UserError(f"the {kind} holds no JSON list", where, advice)
