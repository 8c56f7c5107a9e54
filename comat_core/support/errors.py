"""The one exception type for mistakes that a user can mend, and what its lines are made of."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

LONGEST_PART = 1000
"""Characters of each of the three parts of a line."""
LONGEST_QUOTE = 60
"""Characters of what a part quotes."""


class UserError(Exception):
    """A mistake in the input, told in one line: what is wrong, where it stands, what to do about it.

    The command line prints it and exits with code 2. Programming errors stay assertions.
    """

    def __init__(self, what: str, where: str, what_to_do: str) -> None:
        self.what = what
        self.where = where
        self.what_to_do = what_to_do
        super().__init__(what, where, what_to_do)

    def __str__(self) -> str:
        return f"{_in_line(self.what)} ({_in_line(self.where)}): {_in_line(self.what_to_do)}"


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its name if it has none."""
    said = error.what if isinstance(error, UserError) else str(error)
    return (said.strip().splitlines() or [type(error).__name__])[0]


def first_problem(error: "ValidationError", whole: str) -> str:
    """The first of the mistakes in values that do not fit a pydantic model.

    Args:
        whole: what the values are together, for a mistake that lies in no one of them: "the plan".
    """
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part)[:LONGEST_QUOTE] for part in first["loc"][:8]) or whole
    return f"{place} is missing" if first["type"] == "missing" else f"{place} is not allowed: {first['msg']}"


def shortened(text: str) -> str:
    """Text of whatever length as a message quotes it."""
    return text if len(text) <= LONGEST_QUOTE else f"{text[: LONGEST_QUOTE - 3]}..."


def _in_line(text: str) -> str:
    """Text of whatever origin as a part of one line: bounded, and nothing in it that a terminal would obey."""
    line = " ".join(text.split())
    if len(line) > LONGEST_PART:
        line = f"{line[: LONGEST_PART // 2]} ... {line[-LONGEST_PART // 2 :]}"
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in line)
