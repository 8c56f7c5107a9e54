"""Files of questions: what is read of them, and what is told of malformed ones."""

import json
import random

import pytest

from comat_core.support.errors import UserError
from stages.evaluate import dpg, dsg, geneval, tifa
from stages.evaluate.scoring.questions.question_files import QuestionFile
from tests.stages.evaluate.question_rows import HEADER, ROWS, settings, tifa_lines


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{HEADER}\n1,a,one,0,x,y?\n".encode(), "the proposition_id 'one' is no number .*question 1"),
        (f"{HEADER}\n1,a,1,0\n".encode(), "lacks 'tuple' .*line 2"),
        # An open quote takes the questions behind it for a part of its cell.
        (f'{HEADER}\n1,a,1,0,x,y?\n1,"a,2,0,x,y?\n2,b,1,0,x,y?\n'.encode(), "malformed CSV: unexpected end .*line 3"),
        (f'{HEADER}\n1,"a,1,0,x,y?\n2,"b",1,0,x,y?\n'.encode(), "malformed CSV: .*begins in line 2.*quote left open"),
        (f"{HEADER}\n1,a cat, red,1,0,x,y?\n".encode(), "a row of 7 cells under 6 columns .*line 2.*into quotes"),
        (f"{HEADER}\n\n1,a,1,right,x,y?\n".encode(), "the dependency 'right' names no question .*line 3"),
        (f"{HEADER}\n1,a,1,0,x,y?\n1,a,1,0,x,z?\n".encode(), "proposition_id 1 stands twice in one item .*line 3"),
        (f"{HEADER}\n1,a,1,0,x,{'y' * 140_000}\n".encode(), "malformed CSV: field larger .*line 2"),
        (f"{HEADER}\n1,,1,0,x,y?\n".encode(), "'text' is empty .*line 2"),
        (f"{HEADER}\n".encode(), "holds none"),
        (b"", "holds none"),
        (f"{HEADER}\n1,\xfc,1,0,x,y?\n".encode("latin-1"), "is not UTF-8 text .*byte "),
    ],
)
def test_malformed_rows_of_a_csv_file_are_told(tmp_path, content, message):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        dsg.DsgConfig(**settings(QuestionFile(file=str(path)))).read_items()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1, 2]", "no list of JSON objects"),
        (b'{"caption": "a"', "malformed JSON"),
        (b'[{"caption": "\xfc"}]', "is not UTF-8 text .*byte 14"),
        (b'[{"caption": "a red circle"}]', "lacks 'question' .*item 1"),
        (tifa_lines({}, {"choices": []}), "'choices' is an empty list .*line 2"),
        (tifa_lines({}, {}, {"choices": [1, 2]}), "'choices' holds a number among its texts .*line 3"),
        (tifa_lines({"choices": "yes"}), "'choices' is text instead of a list of texts .*line 1"),
        (tifa_lines({"caption": 5}), "'caption' is a number instead of text .*line 1"),
        (tifa_lines({"answer": True}), "'answer' is true or false instead of text .*line 1"),
        (tifa_lines({"id": [1]}), "'id' is a list instead of text or a whole number .*line 1"),
        (tifa_lines({}) + b"\n\n{", "malformed JSON.*line 3"),
        (b"[" * 100_000, "malformed JSON"),
        (b"", "holds none"),
    ],
)
def test_malformed_json_files_are_told(tmp_path, content, message):
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        tifa.TifaConfig(**settings(QuestionFile(file=str(path)))).read_items()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("q" * 5000, "File name too long"),
        ("~nobody-of-this-name/q.csv", "no such home folder"),
        ("a\0b", "the file of questions"),
    ],
)
def test_names_that_no_file_can_have_are_told(name, message):
    with pytest.raises(UserError, match=message):
        QuestionFile(file=name).content_identity()


def test_json_lines_end_at_line_ends_alone_and_may_be_blank(tmp_path):
    path = tmp_path / "tifa.jsonl"
    rows = [{**json.loads(tifa_lines({})), "caption": text} for text in ("a\u2028cat", "a dog")]
    path.write_bytes("\r\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode() + b"\n\n")
    items = tifa.TifaConfig(**settings(QuestionFile(file=str(path)))).read_items()
    assert [item.text for item in items] == ["a cat", "a dog"]


def test_a_malformed_file_of_questions_is_told_before_the_run(tmp_path):
    path = tmp_path / "tifa.json"
    path.write_bytes(tifa_lines({"choices": []}))
    config = tifa.TifaConfig(**settings(QuestionFile(file=str(path))))
    with pytest.raises(UserError, match="'choices' is an empty list"):
        config.fetch_files()
    path.write_text('{"prompt": "a dog", "tag": "x", "include": [{"class": "dog", "count": "1"}]}')
    metadata = geneval.GenEvalConfig(metadata=QuestionFile(file=str(path)), seed=1)
    with pytest.raises(UserError, match=r"'count' has to be a whole number, at least 1 .*line 1"):
        metadata.fetch_files()
    path.write_text(f"{HEADER}\n1,a,1,right,x,y?\n")
    for config in (dsg.DsgConfig, dpg.DpgConfig):
        with pytest.raises(UserError, match="the dependency 'right' names no question"):
            config(**settings(QuestionFile(file=str(path)))).fetch_files()
    with pytest.raises(UserError, match="the authors' script cannot read the dependency 'right'"):
        path.write_text(f"{HEADER}\n0,lost,1,0,x,y?\n1,a,1,right,x,y?\n")
        dpg.DpgConfig(**settings(QuestionFile(file=str(path)), mode="official")).fetch_files()


SEEDS = {
    "csv": "\n".join([HEADER, *(",".join(f'"{cell}"' for cell in row) for row in ROWS)]).encode(),
    "json": b"[" + tifa_lines({}, {"caption": "a blue square"}, {"id": "coco_1"}).replace(b"\n", b",") + b"]",
    "jsonl": b'{"tag": "two", "include": [{"class": "dog", "count": 2, "color": "red"}], "prompt": "a dog"}\n' * 3,
}
PIECES = [b'"', b",", b"\n", b"\0", b"[", b"]", b"{", b"}", b"NaN", b"1e999", b"null", b"true", b"\xff", b"\\ud800"]
PIECES += [
    b"9" * 5000,
    b"[" * 5000,
    b"-1",
    b'"":',
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"1.0",
    b"{}",
    b"\\",
    b"q" * 140_000,
]


@pytest.mark.parametrize("kind", SEEDS)
def test_damaged_files_are_read_or_told(tmp_path, kind):
    path, source = tmp_path / f"damaged.{kind}", random.Random(7)
    shared = settings(QuestionFile(file=str(path)))
    readers = {
        "csv": [
            maker(**shared, mode=mode) for maker in (dsg.DsgConfig, dpg.DpgConfig) for mode in ("official", "corrected")
        ],
        "json": [tifa.TifaConfig(**shared)],
        "jsonl": [geneval.GenEvalConfig(metadata=shared["questions"], seed=1)],
    }
    told = 0
    for _ in range(300):
        content = bytearray(SEEDS[kind])
        for _ in range(source.randint(1, 4)):
            start = source.randrange(len(content) + 1)
            content[start : start + source.choice((0, 0, 1, 3, 20))] = source.choice(PIECES)
        path.write_bytes(content)
        for reader in readers[kind]:
            try:
                reader.read_items()
            except UserError as error:
                assert str(error).encode()
                told += 1
    assert told > 100
