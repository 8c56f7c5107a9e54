"""What rewards are called. No model library is imported here: planning reads it too."""

from typing import Final

CONCEPT_ACTIVATION: Final = "concept_activation"
"""The paper's own, among the losses."""
ASKED: Final = "_asked"
FAILED: Final = "_failed"
"""Ends of the names under which a reward with parts counts its questions."""


def reward_role(name: str) -> str:
    """What a reward of that name is called among a training's models, and its loss among the losses."""
    return f"reward/{name}"


def part_role(role: str, part: str) -> str:
    """What is logged of one term of a reward in that role."""
    return f"{role}/{part}"
