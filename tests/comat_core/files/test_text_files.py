"""Text is UTF-8, and its lines end where files' lines end."""

from pathlib import Path

import pytest

from comat_core.files import text_files
from comat_core.files.text_files import read_lines, read_text
from comat_core.support.errors import UserError


def test_lines_end_at_line_feeds_alone_and_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\xe2\x80\xa8still two\xc2\x85\rtoo\n\nthree")
    assert list(read_lines(path, "list")) == [
        (1, "one\n"),
        (2, "two\u2028still two\x85\rtoo\n"),
        (3, "\n"),
        (4, "three"),
    ]
    assert read_text(path, "list", limit=100).startswith("one")


@pytest.mark.parametrize(("content", "line"), [(b"one\n\xff\n", 2), (b"one\ntwo\ncut \xc3", 3), (b"\xff\xfea\0", 1)])
def test_what_is_not_utf_8_is_told_with_its_line(tmp_path: Path, content: bytes, line: int) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(UserError, match=rf"not UTF-8 \(.*a\.txt, line {line}\)"):
        list(read_lines(tmp_path / "a.txt", "list"))
    with pytest.raises(UserError, match=r"the list is not UTF-8 text \(.*a\.txt, byte \d+\)"):
        read_text(tmp_path / "a.txt", "list", limit=100)


def test_a_line_without_end_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "LONGEST_LINE", 1000)
    (tmp_path / "a.txt").write_bytes(b"one\n" + b"x" * 2000)
    with pytest.raises(UserError, match=r"a line of more than 1,000 bytes is no line of text \(.*line 2\)"):
        list(read_lines(tmp_path / "a.txt", "list"))
