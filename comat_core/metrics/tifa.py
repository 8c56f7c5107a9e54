"""TIFA: multiple-choice questions about an image, answered by a model that answers freely."""

from collections.abc import Callable, Sequence

Similarities = Callable[[str, Sequence[str]], Sequence[float]]
"""(answer, choices) -> how near each choice is to the answer; the official one is SBERT's (all-mpnet-base-v2)."""


def choose(answer: str, choices: Sequence[str], similarities: Similarities) -> str:
    """Turn a free answer into one of the choices: itself if it is one, else the nearest."""
    if answer in choices:
        return answer
    nearness = similarities(answer, choices)
    assert len(nearness) == len(choices), "one similarity per choice"
    return choices[max(range(len(choices)), key=nearness.__getitem__)]
