"""JSON: what it forbids, and what no reader could go on with, is told in one line."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from comat_core.files.json_files import JsonLimits, parse_json, read_json
from comat_core.support.errors import UserError


def refusal(content: bytes | str, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        parse_json(content, "record", "a.json", **options)
    assert "\n" not in str(caught.value)
    str(caught.value).encode()
    return str(caught.value)


def test_a_document_comes_back_as_it_was_written(tmp_path: Path) -> None:
    value = {"a": [1, -2.5e-3, True, None, "\u00e9\U0001f600 \u2028"], "b": {"": [[], {}]}, "c": [2**63 - 1, -(2**63)]}
    for content in (json.dumps(value), json.dumps(value, ensure_ascii=False), "\ufeff" + json.dumps(value, indent=2)):
        (tmp_path / "a.json").write_text(content, encoding="utf-8")
        assert read_json(tmp_path / "a.json", "record") == value


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1,\n "b" 2}', r"malformed JSON: Expecting ':' delimiter (a.json, line 2)"),
        (b"", "malformed JSON: Expecting value (a.json)"),
        (b'{"id": NaN}', "NaN is no number of JSON"),
        (b"[-Infinity]", "-Infinity is no number of JSON"),
        (b"[1e999]", "the number 1e999 does not fit into 64 bits"),
        (b"[1." + b"0" * 5000 + b"]", "does not fit into 64 bits"),
        (b"[" + b"7" * 5000 + b"]", f"the number {'7' * 57}... does not fit into 64 bits"),
        (b"[9223372036854775808]", "the number 9223372036854775808 does not fit"),
        (b'[{"id": 1, "id": 2}]', "'id' is given twice in one object"),
        (rb'{"a": ["\ud83d"]}', r"'\ud83d' holds half a character"),
        (rb'{"\udc00": 1}', r"'\udc00' holds half a character"),
        (b'{"a": "\xff"}', "the record is not UTF-8 text (a.json, byte 7)"),
        (b"[" * 100_000, "malformed JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "more than 64 deep"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "more than 64 deep"),
        (b"[" * 65 + b"]" * 65, "lists and objects inside each other more than 64 deep"),
    ],
)
def test_what_is_refused(content: bytes, message: str) -> None:
    assert message in refusal(content)


def test_a_whole_character_of_two_halves_is_text() -> None:
    assert parse_json(rb'["\ud83d\ude00"]', "record", "a.json") == ["\U0001f600"]


@pytest.mark.parametrize(("content", "shape"), [(b"[1]", "object"), (b'{"a": 1}', "list"), (b"null", "object")])
def test_another_shape_is_told(content: bytes, shape: Any) -> None:
    assert f"the record holds no JSON {shape}" in refusal(content, shape=shape)


def test_more_values_than_allowed_are_told_before_they_take_memory() -> None:
    content = b"[" + b"[]," * 1_000_000 + b"[]]"
    start = time.monotonic()
    assert "the record has more than 1,000 values" in refusal(content, limits=JsonLimits(2**30, 1000))
    assert time.monotonic() - start < 0.5
    assert "the record has more than 1,000 bytes" in refusal(content, limits=JsonLimits(1000, 1000))


def test_a_file_that_is_larger_than_allowed_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(UserError, match="the record cannot be read: it has more than"):
        read_json(tmp_path / "a.json", "record")
