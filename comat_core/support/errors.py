"""The one exception type for mistakes that a user can mend."""

LONGEST_PART = 1000
"""Characters of each of the three parts of a line."""


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


def _in_line(text: str) -> str:
    """Text of whatever origin as a part of one line: bounded, and nothing in it that a terminal would obey."""
    line = " ".join(text.split())
    if len(line) > LONGEST_PART:
        line = f"{line[: LONGEST_PART // 2]} ... {line[-LONGEST_PART // 2 :]}"
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in line)
