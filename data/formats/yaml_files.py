"""YAML: settings that people write. The plain types alone, every name once, and no more than a person would write.

Aliases are counted as what they stand for, so that a few lines cannot grow to gigabytes.
"""

from pathlib import Path
from typing import Any, Final

import yaml

from comat_core.files.regular_files import MEBIBYTE
from comat_core.files.text_files import is_text, read_text
from comat_core.support.errors import UserError, shortened

LARGEST: Final = 2 * MEBIBYTE
MOST_VALUES: Final = 10_000
DEEPEST: Final = 64
TOO_DEEP: Final = f"values inside each other more than {DEEPEST} deep"
LONGEST_NUMBER: Final = 64  # characters

TAG: Final = "tag:yaml.org,2002:"
PLAIN: Final = frozenset(f"{TAG}{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map", "merge"))


def read_yaml(path: Path, kind: str, *, advice: str = "correct the file") -> Any:
    """Read a YAML file.

    Args:
        kind: what it should be, for the message: "preset".

    Raises:
        UserError: it cannot be read, is no YAML, or beyond the limits.
    """
    return parse_yaml(read_text(path, kind, limit=LARGEST, advice=advice), kind, str(path), advice=advice)


def read_yaml_mapping(path: Path, kind: str, *, advice: str = "correct the file") -> dict[Any, Any]:
    """Read a YAML file that has to hold a mapping.

    Raises:
        UserError: as `read_yaml` says, or it holds something else.
    """
    values = read_yaml(path, kind, advice=advice)
    if not isinstance(values, dict):
        raise UserError(f"the {kind} is no mapping of settings", str(path), advice)
    return values


def parse_yaml(text: str, kind: str, where: str, *, advice: str = "correct the file") -> Any:
    """Parse one YAML document. Nothing in the result stands in two places, whatever aliases repeat.

    Dates are text: no setting is one.

    Args:
        where: it stands, for the message.

    Raises:
        UserError: it is no YAML, or beyond the limits.
    """
    if len(text) > LARGEST:
        raise UserError(f"the {kind} has more than {LARGEST:,} characters", where, advice)
    try:
        return _unshared(yaml.load(text, _BoundedLoader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        place = f"{where}, line {mark.line + 1}" if mark else where
        raise UserError(f"malformed YAML: {problem}", place, advice) from error
    # The library lets these pass: an escape or a version beyond what there is, for one.
    except (ValueError, OverflowError, RecursionError) as error:
        raise UserError(f"malformed YAML: {error}", where, advice) from error


class _BoundedLoader(yaml.SafeLoader):
    """Refuses what YAML forbids and the loader lets pass, and what would take more than its share."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._values = 0
        self._depth = 0

    def compose_document(self) -> yaml.Node | None:
        node = super().compose_document()
        _measure(node, {}, set())
        return node

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        self._values += 1
        self._depth += 1
        if self._values > MOST_VALUES:
            raise _refused(f"more than {MOST_VALUES:,} values", event.start_mark)
        if self._depth > DEEPEST:
            raise _refused(TOO_DEEP, event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is not None and node.tag not in PLAIN:
            raise _refused(
                f"a value of type {node.tag.removeprefix(TAG)[:60]!r}, which no setting has", node.start_mark
            )
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        names: set[str] = set()
        for name, _ in node.value:
            if isinstance(name, yaml.ScalarNode) and name.value != "<<":
                if name.value in names:
                    raise _refused(f"{shortened(name.value)!r} is given twice", node.start_mark)
                names.add(name.value)
        return node

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        value = super().construct_scalar(node)
        if isinstance(value, str) and not is_text(value):
            raise _refused(f"{shortened(value)!r} holds half a character", node.start_mark)
        return value

    def construct_plain_value(self, node: yaml.ScalarNode) -> Any:
        """A number or truth value; what its tag promises and its text does not hold is told with its line."""
        if len(node.value) > LONGEST_NUMBER:  # the conversion takes a time that grows with the square of the length
            raise _refused(f"a number of {len(node.value):,} characters", node.start_mark)
        try:
            return _CONVERSIONS[node.tag](self, node)
        except (ValueError, KeyError, IndexError, OverflowError) as error:
            kind = node.tag.removeprefix(TAG)
            raise _refused(f"{shortened(node.value)!r} is no {kind}", node.start_mark) from error


_CONVERSIONS: Final = {
    f"{TAG}bool": yaml.SafeLoader.construct_yaml_bool,
    f"{TAG}int": yaml.SafeLoader.construct_yaml_int,
    f"{TAG}float": yaml.SafeLoader.construct_yaml_float,
}
for _tag in _CONVERSIONS:
    _BoundedLoader.add_constructor(_tag, _BoundedLoader.construct_plain_value)
_BoundedLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in PLAIN]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _measure(node: yaml.Node | None, known: dict[int, tuple[int, int]], around: set[int]) -> tuple[int, int]:
    """How many values a node stands for and how deep they are, aliases followed.

    Args:
        known: id of a node -> both; each node is measured once.
        around: ids of the nodes that this one stands in.
    """
    if not isinstance(node, yaml.CollectionNode):
        return 1, 1
    if id(node) in around:
        raise _refused("an anchor contains itself", node.start_mark)
    if id(node) not in known:
        around.add(id(node))
        inside = [item for entry in node.value for item in (entry if isinstance(entry, tuple) else (entry,))]
        measured = [_measure(item, known, around) for item in inside]
        around.remove(id(node))
        values = 1 + sum(count for count, _ in measured)
        depth = 1 + max((depth for _, depth in measured), default=0)
        if values > MOST_VALUES:
            raise _refused(f"aliases that stand for more than {MOST_VALUES:,} values", node.start_mark)
        if depth > DEEPEST or len(around) > DEEPEST:
            raise _refused(TOO_DEEP, node.start_mark)
        known[id(node)] = values, depth
    return known[id(node)]


def _unshared(value: Any) -> Any:
    """A copy in which nothing stands in two places: what an alias repeats may be overridden in one of them."""
    if isinstance(value, dict):
        return {name: _unshared(item) for name, item in value.items()}
    return [_unshared(item) for item in value] if isinstance(value, list) else value


def _refused(problem: str, mark: yaml.Mark | None) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
