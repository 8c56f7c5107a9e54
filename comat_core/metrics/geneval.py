"""GenEval: are the objects there, as many, in the colours and places that the prompt says? Judged on detections."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

COLOURS: Final = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
RELATIONS: Final = ("left of", "right of", "above", "below")
CONFIDENCE: Final = 0.3
COUNTING_CONFIDENCE: Final = 0.9
MAXIMUM_OBJECTS: Final = 16
POSITION_MARGIN: Final = 0.1
"""Objects whose offset is within this share of their summed sizes stand in no relation along that axis."""


@dataclass(frozen=True)
class Detection:
    """One detected object: corners in pixels, y downwards, and the detector's confidence in [0, 1].

    `mask` tells which of the image's pixels, (H, W) bool, are the object's; None if the detector gives boxes only.
    """

    x_min: float
    y_min: float
    x_max: float
    y_max: float
    confidence: float
    mask: NDArray[np.bool_] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Requirement:
    """One clause of a prompt's metadata. `position` is (relation, index of the clause it relates to)."""

    class_name: str
    count: int
    colour: str | None = None
    position: tuple[str, int] | None = None


@dataclass(frozen=True)
class Checks:
    """What a prompt asks for: its task, the clauses that must hold and those that must not be reached."""

    task: str
    include: tuple[Requirement, ...]
    exclude: tuple[Requirement, ...]

    @property
    def class_names(self) -> list[str]:
        """The classes that the clauses name, each once."""
        return list(dict.fromkeys(clause.class_name for clause in (*self.include, *self.exclude)))


@dataclass(frozen=True)
class Verdict:
    """Whether an image is right, and if not, why."""

    correct: bool
    reasons: tuple[str, ...]


ColourClassifier = Callable[[str, Sequence[Detection]], Sequence[str]]
"""(class name, detections) -> the colour of each."""


def read_checks(metadata: Mapping[str, Any]) -> Checks:
    """Read one line of the authors' metadata.

    Raises:
        KeyError: a clause lacks a field.
        ValueError: it is not of their form otherwise; the message names the field.
    """
    clauses = [metadata.get(key) or [] for key in ("include", "exclude")]
    if not all(isinstance(of_key, list) for of_key in clauses):
        raise ValueError("'include' and 'exclude' have to be lists of objects")
    include, exclude = (tuple(_read_clause(clause) for clause in of_key) for of_key in clauses)
    for index, clause in enumerate(include):
        if clause.position is not None and not 0 <= clause.position[1] < index:
            raise ValueError("a position relates to a clause that does not stand before its own")
    if not isinstance(metadata.get("tag"), str):
        raise ValueError("'tag' has to be text")
    return Checks(metadata["tag"], include, exclude)


def select_detections(
    detections: Mapping[str, Sequence[Detection]],
    task: str,
    *,
    confidence: float = CONFIDENCE,
    counting_confidence: float = COUNTING_CONFIDENCE,
) -> dict[str, list[Detection]]:
    """The detections that count, by class, surest first: at most 16 above the threshold, a higher one for counting."""
    threshold = counting_confidence if task == "counting" else confidence
    kept = {}
    for name, found in detections.items():
        sure = [detection for detection in found if detection.confidence > threshold]
        if sure:
            kept[name] = sorted(sure, key=lambda detection: -detection.confidence)[:MAXIMUM_OBJECTS]
    return kept


def relations(first: Detection, second: Detection) -> set[str]:
    """Where the first object stands as seen from the second: any of "left of", "right of", "above", "below".

    The offset of the centres is shortened along each axis by a tenth of both objects' summed size; a relation holds
    when what is left along its axis is more than half of the whole offset's length.
    """
    offsets = (
        (first.x_min + first.x_max - second.x_min - second.x_max) / 2,
        (first.y_min + first.y_max - second.y_min - second.y_max) / 2,
    )
    sizes = (
        first.x_max - first.x_min + second.x_max - second.x_min,
        first.y_max - first.y_min + second.y_max - second.y_min,
    )
    shortened = [
        math.copysign(max(abs(offset) - POSITION_MARGIN * size, 0.0), offset)
        for offset, size in zip(offsets, sizes, strict=True)
    ]
    if all(abs(value) < 1e-3 for value in shortened):
        return set()
    x, y = (value / math.hypot(*offsets) for value in shortened)
    holds = {"left of": x < -0.5, "right of": x > 0.5, "above": y < -0.5, "below": y > 0.5}
    return {relation for relation, is_so in holds.items() if is_so}


def judge_image(
    detections: Mapping[str, Sequence[Detection]],
    include: Sequence[Requirement],
    exclude: Sequence[Requirement],
    classify_colours: ColourClassifier,
) -> Verdict:
    """Check one image: every clause of `include` must hold, none of `exclude` may be reached.

    Of each class only the surest detections are looked at, as many as the clause asks for.

    Args:
        detections: by class, as `select_detections` gives them.
    """
    reasons: list[str] = []
    matched: list[Sequence[Detection] | None] = []
    for requirement in include:
        found = list(detections.get(requirement.class_name, ()))[: requirement.count]
        problem = _problem_with(requirement, found, matched, classify_colours)
        matched.append(None if problem else found)
        if problem:
            reasons.append(problem)
    for requirement in exclude:
        number = len(detections.get(requirement.class_name, ()))
        if number >= requirement.count:
            reasons.append(f"expected {requirement.class_name}<{requirement.count}, found {number}")
    return Verdict(not reasons, tuple(reasons))


def _read_clause(clause: Any) -> Requirement:
    if not isinstance(clause, Mapping):
        raise ValueError("a clause is no object")
    name, count, colour = clause["class"], clause["count"], clause.get("color")
    if not isinstance(name, str) or not name:
        raise ValueError("'class' has to be text")
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ValueError("'count' has to be a whole number, at least 1")
    if colour is not None and colour not in COLOURS:
        raise ValueError(f"'color' has to be one of {', '.join(COLOURS)}")
    return Requirement(name, count, colour, _read_position(clause.get("position")))


def _read_position(position: Any) -> tuple[str, int] | None:
    if position is None:
        return None
    if not isinstance(position, list) or len(position) != 2 or position[0] not in RELATIONS:
        raise ValueError(f"'position' has to be one of {', '.join(RELATIONS)}, and the number of a clause")
    relation, target = position
    if not isinstance(target, int) or isinstance(target, bool):
        raise ValueError("'position' has to end with the number of a clause")
    return relation, target


def _problem_with(
    requirement: Requirement,
    found: Sequence[Detection],
    matched: Sequence[Sequence[Detection] | None],
    classify_colours: ColourClassifier,
) -> str | None:
    name, count = requirement.class_name, requirement.count
    if len(found) < count:
        return f"expected {name}>={count}, found {len(found)}"
    if requirement.colour is not None:
        colours = list(classify_colours(name, found))
        if colours.count(requirement.colour) < count:
            return f"expected {requirement.colour} {name}>={count}, found {', '.join(colours)}"
    if requirement.position is not None:
        relation, target = requirement.position
        others = matched[target]
        if others is None:
            return f"no target for {name} to be {relation}"
        if not all(relation in relations(one, other) for one in found for other in others):
            return f"expected {name} {relation} target"
    return None
