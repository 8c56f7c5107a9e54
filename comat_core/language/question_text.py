"""The wording of questions, as BLIP's own preprocessing leaves it."""

import re
from typing import Final

_DROPPED_SIGNS: Final = re.compile(r'[.!"()*#:;~]')


def clean_question(question: str) -> str:
    """Drop letter case, the signs that BLIP's preprocessing drops, and spaces at the end."""
    return _DROPPED_SIGNS.sub("", question.lower()).rstrip(" ")
