"""T2I-CompBench++'s 3D-spatial score: are both objects there, and does one hide the other as the prompt says?

Modes. "official" repeats the authors' script, faults included: it reads the depth of a box with rows and columns
exchanged, gives boxes that overlap by exactly a half no score, may take an object's worse box where its other one is
found late, and knows people as persons only. "corrected" mends these.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from comat_core.metrics.spatial import Detection, Mode, detector_label, intersection_over_union

LOCALITIES: Final = ("in front of", "behind", "hidden")
"""In the order in which a prompt is searched for them."""
FULL_OVERLAP: Final = 0.5  # intersection over union from which a place counts whole


def label_of(noun: str, mode: Mode) -> str:
    """What the detector is asked for in place of a noun."""
    return detector_label(noun) if mode == "official" else noun


def depth_score(
    locality: str | None,
    first: Detection,
    second: Detection,
    nearness: NDArray[np.floating],
    mode: Mode = "corrected",
) -> float:
    """How well the first object stands to the second, in [0, 1].

    Its mean nearness must be greater (in front of) or smaller (behind, hidden); then boxes that overlap by a half of
    their union or more count 1, others their overlap over that half. Boxes apart hide nothing: 0.

    Args:
        nearness: (H, W), larger is nearer to the viewer; boxes are in pixels of it.
    """
    if locality not in LOCALITIES:
        return 0.0
    difference = mean_nearness(nearness, first, mode) - mean_nearness(nearness, second, mode)
    holds = difference > 0 if locality == "in front of" else difference < 0
    overlap = intersection_over_union(first, second)
    if not holds or (mode == "official" and overlap == FULL_OVERLAP):
        return 0.0
    return min(overlap / FULL_OVERLAP, 1.0)


def spatial_3d_score(
    detections: Sequence[Detection],
    nouns: tuple[str, str],
    locality: str | None,
    nearness: NDArray[np.floating],
    mode: Mode = "corrected",
) -> float:
    """Score one image, in [0, 1]: a quarter of each object's confidence, half of the place. No score is too low.

    Args:
        detections: labelled by `label_of`, surest first.
        nouns: the prompt's first and last noun.
    """
    found = choose_boxes(detections, nouns, mode)
    score = sum(0.25 * detection.confidence for detection in found if detection is not None)
    first, second = found
    if first is not None and second is not None:
        score += 0.5 * depth_score(locality, first, second, nearness, mode)
    return score


def choose_boxes(
    detections: Sequence[Detection], nouns: tuple[str, str], mode: Mode = "corrected"
) -> tuple[Detection | None, Detection | None]:
    """The boxes that stand for the two nouns: the surest of each.

    The official script looks for the noun inside the label, and, going through the boxes until it has met both, keeps
    the last one that it saw of each.
    """
    if mode == "corrected":
        first, second = (next((box for box in detections if box.label == label_of(noun, mode)), None) for noun in nouns)
        return first, second
    seen = [[index for index, box in enumerate(detections) if label_of(noun, mode) in box.label] for noun in nouns]
    if all(seen):
        until = max(indices[0] for indices in seen)
        first, second = (detections[max(index for index in indices if index <= until)] for indices in seen)
        return first, second
    first, second = (detections[indices[0]] if indices else None for indices in seen)
    return first, second


def mean_nearness(nearness: NDArray[np.floating], box: Detection, mode: Mode = "corrected") -> float:
    """Mean of (H, W) values inside a box; not a number if none lies inside."""
    columns, rows = slice(int(box.x_min), int(box.x_max)), slice(int(box.y_min), int(box.y_max))
    inside = nearness[columns, rows] if mode == "official" else nearness[rows, columns]
    return float(inside.mean()) if inside.size else float("nan")
