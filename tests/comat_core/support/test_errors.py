"""The one line of a user's mistake."""

from comat_core.support.errors import UserError


def test_the_parts_stand_in_one_line() -> None:
    error = UserError("what\n is wrong", "a file,\tline 2", "do\u2028that")
    assert str(error) == "what is wrong (a file, line 2): do that"


def test_nothing_in_the_line_is_obeyed_by_a_terminal_or_cannot_be_printed() -> None:
    line = str(UserError("\x1b[31mred", "a\ud800b\u202ec", "caf\u00e9 \U0001f600"))
    assert line == r"\x1b[31mred (a\ud800b\u202ec): " + "caf\u00e9 \U0001f600"


def test_the_line_is_bounded_and_keeps_both_ends() -> None:
    line = str(UserError("x" * 10**6 + "!", "y" * 999, "z"))
    assert len(line) < 2100
    assert line.startswith("xxx")
    assert f"x! ({'y' * 999}): z" in line
