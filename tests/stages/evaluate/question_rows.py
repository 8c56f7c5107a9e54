"""Rows of files of questions, and settings of the evaluations that read them."""

import json

from stages.plan.config import ModelReference

COLUMNS = ("item_id", "text", "proposition_id", "dependency", "tuple", "question_natural_language")
ROWS = [
    ("1", "a red circle", "1", "0", "entity - whole (circle)", "is there a circle?"),
    ("1", "a red circle", "2", "1", "attribute - color (circle, red)", "is the circle red?"),
    ("1", "a red circle", "3", "2", "other - count (circle)", "is there one?"),
    ("2", "a blue square", "1", "0", "entity - whole (square)", "is it blue?"),
    ("2", "a blue square", "2", "1", "attribute - color (square, blue)", "is there one?"),
]
HEADER = ",".join(COLUMNS)


def settings(questions, **changes):
    return {
        "vqa": ModelReference(path="org/vqa"),
        "questions": questions,
        "seed": 1,
        "resamples": 100,
        "device": "cpu",
        "batch_size": 3,
        **changes,
    }


def tifa_lines(*changes):
    row = {"caption": "a red circle", "question": "q?", "choices": ["yes", "no"], "answer": "yes", "element_type": "x"}
    return "\n".join(json.dumps({**row, **change}) for change in changes).encode()
