"""T2I-CompBench's spatial score: are both objects there, and does the first stand to the second as the prompt says?

Modes. "official" repeats the authors' script, which knows the words "on top of" but scores no place for them, so that
such a prompt never scores. "corrected" reads them as "on the top of", and likewise "above", "to the left of" and so on,
which the official prompts do not use.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

Mode = Literal["official", "corrected"]

LOCALITIES: Final = (
    "on side of",
    "next to",
    "near",
    "on the left of",
    "on the right of",
    "on the bottom of",
    "on the top of",
    "on top of",
    "to the left of",
    "to the right of",
    "above",
    "below",
)
"""In the order in which a prompt is searched for them."""

FRAME: Final = 479
"""Side in pixels of the frame that boxes are given in."""
NEAR_DISTANCE: Final = 150.0  # pixels of that frame
OVERLAP: Final = 0.1  # intersection over union from which a place counts less
LEAST_SCORE: Final = 0.5
PEOPLE: Final = frozenset({"girl", "boy", "man", "woman"})
_BESIDE: Final = frozenset({"on side of", "next to", "near"})
_SYNONYMS: Final = {
    "on top of": "on the top of",
    "to the left of": "on the left of",
    "to the right of": "on the right of",
    "above": "on the top of",
    "below": "on the bottom of",
}


@dataclass(frozen=True)
class Detection:
    """One detected object: its label, its confidence in [0, 1] and its corners in the frame, y downwards."""

    label: str
    confidence: float
    x_min: float
    y_min: float
    x_max: float
    y_max: float


def locality_of(prompt: str, localities: Sequence[str] = LOCALITIES, mode: Mode = "official") -> str | None:
    """The words that tell the place, the first of the list that the prompt contains.

    For the official script "nearly" contains "near"; the corrected mode takes whole words.
    """
    return next((locality for locality in localities if find_locality(prompt, locality, mode) is not None), None)


def find_locality(prompt: str, locality: str, mode: Mode) -> int | None:
    """Where the words for a place begin in a prompt, in characters; None if it does not contain them."""
    words = re.escape(locality) if mode == "official" else rf"\b{re.escape(locality)}\b"
    found = re.search(words, prompt)
    return None if found is None else found.start()


def detector_label(noun: str) -> str:
    """The detector's word for a noun of a prompt."""
    return "person" if noun in PEOPLE else noun


def position_score(locality: str | None, first: Detection, second: Detection, mode: Mode = "corrected") -> float:
    """How well the first object stands to the second, in [0, 1].

    Beside each other: 1 within 150 px along either axis, then falling with the larger distance. To one side: the offset
    must point that way more than across; 1, or less where the boxes overlap by a tenth or more.
    """
    x = (second.x_min + second.x_max - first.x_min - first.x_max) / 2
    y = (second.y_min + second.y_max - first.y_min - first.y_max) / 2
    if locality in _BESIDE:
        is_near = abs(x) < NEAR_DISTANCE or abs(y) < NEAR_DISTANCE
        return 1.0 if is_near else NEAR_DISTANCE / max(abs(x), abs(y))
    if mode == "corrected" and locality is not None:
        locality = _SYNONYMS.get(locality, locality)
    holds = {
        "on the right of": x < 0 and abs(x) > abs(y),
        "on the left of": x > 0 and abs(x) > abs(y),
        "on the bottom of": y < 0 and abs(y) > abs(x),
        "on the top of": y > 0 and abs(y) > abs(x),
    }
    if not holds.get(locality or "", False):
        return 0.0
    overlap = intersection_over_union(first, second)
    return 1.0 if overlap < OVERLAP else OVERLAP / overlap


def spatial_score(
    detections: Sequence[Detection], nouns: tuple[str, str], locality: str | None, mode: Mode = "corrected"
) -> float:
    """Score one image, in [0, 1]: a quarter of each object's confidence, half of the place; below 0.5 it is 0.

    Args:
        detections: surest first; of each noun the first with exactly its label counts.
        nouns: the prompt's first and last noun.
    """
    found = [
        next((detection for detection in detections if detection.label == detector_label(noun)), None) for noun in nouns
    ]
    score = sum(0.25 * detection.confidence for detection in found if detection is not None)
    first, second = found
    if first is not None and second is not None:
        score += 0.5 * position_score(locality, first, second, mode)
    return score if score >= LEAST_SCORE else 0.0


def intersection_over_union(first: Detection, second: Detection) -> float:
    """Overlap of two boxes in [0, 1]; two boxes without area do not overlap."""
    width = max(0.0, min(first.x_max, second.x_max) - max(first.x_min, second.x_min))
    height = max(0.0, min(first.y_max, second.y_max) - max(first.y_min, second.y_min))
    intersection = width * height
    union = _area(first) + _area(second) - intersection
    return intersection / union if union else 0.0


def _area(box: Detection) -> float:
    return (box.x_max - box.x_min) * (box.y_max - box.y_min)
