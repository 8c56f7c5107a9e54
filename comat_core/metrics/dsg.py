"""DSG (Davidsonian Scene Graph): yes/no questions about an image, some of which presuppose others.

A question whose parent is answered "no" counts as wrong: there is no colour of a dog that is not there.

Modes. "official" scores as the authors' scripts do: one dependency cell that cannot be read switches the dependencies
of its whole item off. "corrected" reads all ways to write the numbers down ("[1]", "1.0"), disregards words beside them
("5, right" depends on 5), refuses a cell of words alone, and passes over parents that the item does not have. In both,
parents are looked up in the answers as given: a question two steps below a "no" counts.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal

Mode = Literal["official", "corrected"]
Dependencies = Mapping[int, tuple[int, ...]]
"""Question id -> ids of its parents; 0 in the files means none and does not appear here."""


WITHOUT_PARENTS: Final = frozenset({"", "none", "nan", "null", "-"})
_SEPARATORS: Final = re.compile(r"[\s,;|&]+")
_AROUND_NUMBERS: Final = "[](){}'\""
_NUMBER: Final = re.compile(r"([0-9]{1,9})(\.0*)?")
"""How a question's number may be written: spreadsheets make 1.0 of 1."""


def parse_dependencies(cells: Mapping[int, str], mode: Mode = "corrected") -> dict[int, tuple[int, ...]]:
    """Read the dependency cells of one item.

    Args:
        cells: question id -> the cell, parents' ids joined by commas ("0", "1", "1, 3").

    Raises:
        ValueError: a cell that the corrected mode cannot read.
    """
    if mode == "corrected":
        named = {question: read_dependency(cell) for question, cell in cells.items()}
        return {
            question: tuple(parent for parent in parents if parent != 0 and parent in cells)
            for question, parents in named.items()
        }
    try:
        parsed = {question: [int(part) for part in cell.split(",")] for question, cell in cells.items()}
    except ValueError:
        return {}
    return {question: tuple(parent for parent in parents if parent != 0) for question, parents in parsed.items()}


def read_dependency(cell: str) -> tuple[int, ...]:
    """The ids of questions in one cell; 0 means none.

    Raises:
        ValueError: it says something, and names no question, or something like a number that is none ("1.5").
    """
    parts = [part.strip(_AROUND_NUMBERS) for part in _SEPARATORS.split(cell.strip())]
    found = [_NUMBER.fullmatch(part) for part in parts]
    numbers = [int(one[1]) for one in found if one is not None]
    words = [part for part, one in zip(parts, found, strict=True) if one is None]
    is_nothing = not numbers and any(word.lower() not in WITHOUT_PARENTS for word in words)
    if is_nothing or any(character.isdigit() for word in words for character in word):
        raise ValueError(f"the dependency {cell!r} names no question")
    return tuple(numbers)


def read_question_id(cell: str) -> int:
    """The number of a question.

    Raises:
        ValueError: it is none.
    """
    found = _NUMBER.fullmatch(cell.strip())
    if found is None:
        raise ValueError(f"the proposition_id {cell!r} is no number")
    return int(found[1])


def score_image(answers: Mapping[int, str], dependencies: Dependencies) -> dict[int, float]:
    """Score one image's answers: question id -> 1 if it and its parents are answered "yes", else 0.

    Args:
        answers: question id -> the model's answer; right is exactly "yes".
        dependencies: parents by question. A parent that was not answered counts as "no".
    """
    right = {question for question, answer in answers.items() if answer == "yes"}
    return {
        question: float(question in right and right.issuperset(dependencies.get(question, ()))) for question in answers
    }
