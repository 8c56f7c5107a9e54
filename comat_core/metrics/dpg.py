"""DPG-Bench: yes/no questions about four images of a long prompt, with dependencies that cascade.

A question counts only if its parents count, and so on upwards.

Modes. "official" repeats the authors' script, faults included: the first row of the question file is lost, with it
every prompt whose questions depend on that row, without a word; parents are tested in the order of the file, so that a
parent further down is tested before its own parents are; category scores look at the last image alone and disregard
dependencies. "corrected" uses every row, tests all ancestors in any order, and averages categories over all images with
dependencies counted.
"""

from collections.abc import Mapping

from comat_core.metrics.dsg import Dependencies, Mode


def score_image(answers: Mapping[int, str], dependencies: Dependencies, mode: Mode = "corrected") -> dict[int, float]:
    """Score one image's answers: question id -> 1 if it counts, else 0.

    Args:
        answers: question id -> the model's answer, in the file's order; right is exactly "yes".
        dependencies: parents by question.

    Raises:
        KeyError: a question depends on one that the prompt does not have. The authors' script fails there as well.
    """
    scores = {question: float(answer == "yes") for question, answer in answers.items()}
    if mode == "official":
        for question, parents in dependencies.items():
            # In place, so that a question further down sees what has become of its parents.
            if any(scores[parent] == 0 for parent in parents):
                scores[question] = 0.0
        return scores
    return {question: float(_holds(question, scores, dependencies, frozenset())) for question in scores}


def _holds(question: int, scores: Mapping[int, float], dependencies: Dependencies, below: frozenset[int]) -> bool:
    """Whether a question and all its ancestors are answered "yes"; a circle of questions ends where it began."""
    if scores[question] == 0:
        return False
    parents = (parent for parent in dependencies.get(question, ()) if parent not in below)
    return all(_holds(parent, scores, dependencies, below | {question}) for parent in parents)
