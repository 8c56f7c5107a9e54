"""Records: parsed values that fit a model, or one line that names the first that does not."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from comat_core.support.errors import UserError
from data.formats.records import parse_record, read_yaml_record


class Note(BaseModel):
    name: str
    sizes: list[int] = []


def test_a_record_is_a_model(tmp_path: Path) -> None:
    assert parse_record(Note, b'{"name": "a", "sizes": [1]}', "note", "a.json") == Note(name="a", sizes=[1])
    (tmp_path / "a.yaml").write_text("sizes: [2]")
    assert read_yaml_record(Note, tmp_path / "a.yaml", "note", name="b") == Note(name="b", sizes=[2])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"name": "a", "sizes": [1, "x"]}', r"sizes\.1 is not allowed: Input should be a valid integer.*\(a\.json\)"),
        (b"{}", r"name is missing"),
        (b"[]", r"the note holds no JSON object"),
        (b"[" * 10_000, r"malformed JSON"),
        (b'{"name": "\\ud800"}', r"half a character"),
    ],
)
def test_what_does_not_fit_is_told(content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_record(Note, content, "note", "a.json")
