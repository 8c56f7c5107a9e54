"""DSG (Davidsonian Scene Graph): yes/no questions about an image, some of which presuppose others.

A question whose parent is answered "no" counts as wrong: there is no colour of a dog that is not there.

Modes. "official" scores as the authors' scripts do: one dependency cell that cannot be read switches the dependencies
of its whole item off. "corrected" reads what can be read of a cell ("5, right" depends on 5) and passes over parents
that the item does not have. In both, parents are looked up in the answers as given: a question two steps below a "no"
counts.
"""

from collections.abc import Mapping
from typing import Literal

Mode = Literal["official", "corrected"]
Dependencies = Mapping[int, tuple[int, ...]]
"""Question id -> ids of its parents; 0 in the files means none and does not appear here."""


def parse_dependencies(cells: Mapping[int, str], mode: Mode = "corrected") -> dict[int, tuple[int, ...]]:
    """Read the dependency cells of one item.

    Args:
        cells: question id -> the cell, parents' ids joined by commas ("0", "1", "1, 3").
    """
    parsed: dict[int, tuple[int, ...]] = {}
    for question, cell in cells.items():
        parts = [part.strip() for part in cell.split(",")]
        numbers = [int(part) for part in parts if _is_integer(part)]
        if mode == "official" and len(numbers) < len(parts):
            return {}
        known = numbers if mode == "official" else [number for number in numbers if number in cells]
        parsed[question] = tuple(number for number in known if number != 0)
    return parsed


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


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").isdecimal()
