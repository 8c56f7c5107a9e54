"""JSON lines: one document per line, with the line's number."""

from pathlib import Path

import pytest

from comat_core.support.errors import UserError
from data.formats.json_lines import read_json_lines


def test_documents_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('\ufeff{"a": "one\u2028two"}\r\n\n  \n{"a": 2}', encoding="utf-8")
    assert list(read_json_lines(path, "list")) == [(1, {"a": "one\u2028two"}), (4, {"a": 2})]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "malformed JSON: Expecting property name"),
        ("3", "the line holds no JSON object"),
        ('{"a": NaN}', "NaN is no number"),
        ("[" * 9000, "malformed JSON"),
    ],
)
def test_a_bad_line_is_told_with_its_number(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"a": 1}}\n\n{line}\n')
    with pytest.raises(UserError, match=rf"{message}.*a\.jsonl, line 3\)"):
        list(read_json_lines(tmp_path / "a.jsonl", "list"))
