"""Readers, one by one: which prompts and skills they find in a file of their layout, and what they say of a bad one."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from comat_core.support.errors import UserError
from data.prompt_sources import read_user_file
from data.readers import (
    Prompt,
    read_coco_captions,
    read_csv,
    read_json,
    read_json_lines,
    read_lines,
    read_parquet,
    read_whole_files,
)


def written(folder: Path, name: str, content: str | bytes) -> Path:
    """A file with the given content, line ends as they stand."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def without_skill(*texts: str) -> list[Prompt]:
    return [(text, None) for text in texts]


def test_lines_with_any_line_end_and_blank_ones_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, "a.txt", b"\xef\xbb\xbfa red cat\r\n\r\n  a blue dog \na caf\xc3\xa9")
    assert list(read_lines(path)) == without_skill("a red cat", "a blue dog", "a caf\u00e9")


def test_the_first_lines_alone(tmp_path: Path) -> None:
    path = written(tmp_path, "a.txt", "one cat\n\ntwo cats\nthree cats\n")
    assert list(read_lines(path, first=3)) == without_skill("one cat", "two cats")


def test_a_unicode_line_separator_ends_no_line(tmp_path: Path) -> None:
    path = written(tmp_path, "a.txt", "a cat\u2028and a dog\u0085here\n")
    assert len(list(read_lines(path))) == 1


def test_a_whole_file_is_one_prompt(tmp_path: Path) -> None:
    path = written(tmp_path, "a.txt", " a red cat\non a  mat\r\n")
    assert list(read_whole_files(path)) == without_skill("a red cat on a mat")


def test_csv_takes_prompts_of_several_lines_and_the_skill_of_each(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", 'text,tag\r\n"a cat,\nred",color\r\n,empty\r\na dog,shape\r\n')
    assert list(read_csv(path, column="text", skill_column="tag")) == [("a cat,\nred", "color"), ("a dog", "shape")]
    assert list(read_csv(path, column="text")) == without_skill("a cat,\nred", "a dog")


def test_csv_drops_a_prefix_and_rows_that_repeat_a_prompt(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "text\nDescribe a cat\nDescribe a dog\nDescribe a cat\n")
    assert list(read_csv(path, "text", prefix_to_drop="Describe ")) == without_skill("a cat", "a dog", "a cat")
    assert list(read_csv(path, "text", prefix_to_drop="Describe ", unique=True)) == without_skill("a cat", "a dog")


def test_csv_keeps_items_apart_that_have_the_same_prompt(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "item,text\n1,a cat\n1,a cat\n2,a dog\n3,a cat\n3,a cat\n")
    prompts = read_csv(path, "text", unique=True, item_column="item")
    assert list(prompts) == without_skill("a cat", "a dog", "a cat")
    with pytest.raises(UserError, match="no column 'id'"):
        list(read_csv(path, "text", unique=True, item_column="id"))


def test_json_lines_take_the_skill_of_each_object(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", '{"prompt": "a cat", "tag": "one"}\n\n{"prompt": "a dog"}\n')
    assert list(read_json_lines(path, skill_column="tag")) == [("a cat", "one"), ("a dog", None)]


def test_a_json_list_takes_the_skill_of_each_object(tmp_path: Path) -> None:
    path = written(tmp_path, "a.json", json.dumps([{"caption": "a cat", "tag": "one"}, {"caption": "a dog"}]))
    assert list(read_json(path, column="caption", skill_column="tag")) == [("a cat", "one"), ("a dog", None)]


def test_captions_of_cocos_archive(tmp_path: Path) -> None:
    annotations = [{"image_id": 1, "caption": caption} for caption in (" a cat\n", " ", "a dog")]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("annotations/captions_val2014.json", json.dumps({"annotations": annotations}))
        archive.writestr("annotations/captions_train2014.json", json.dumps({"annotations": annotations[:1]}))
    captions = read_coco_captions(tmp_path / "a.zip", member="annotations/captions_val2014.json")
    assert list(captions) == without_skill("a cat", "a dog")


def test_parquet_is_read_to_its_end_from_the_named_columns(tmp_path: Path) -> None:
    texts = [f"{number} cats" for number in range(5000)]
    table = pa.table({"prompt": ["no"] * 5000, "caption": texts, "tag": ["even", "odd"] * 2500})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1500)
    prompts = list(read_parquet(tmp_path / "a.parquet", column="caption", skill_column="tag"))
    assert prompts == [(text, ("even", "odd")[number % 2]) for number, text in enumerate(texts)]


def test_parquet_columns_of_numbers_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": [1, 2]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"column 'prompt' holds no text.*row 1"):
        list(read_parquet(tmp_path / "a.parquet"))


def test_damaged_parquet_pages_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"prompt": [f"a cat of {number} kg" for number in range(3000)]}), path)
    content = bytearray(path.read_bytes())
    content[4:2000] = bytes(1996)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"the Parquet file is damaged.*a\.parquet"):
        list(read_parquet(path))


@pytest.mark.parametrize(
    ("reader", "content", "message"),
    [
        (read_json, "[", r"malformed JSON.*bad"),
        (read_json, '{"caption": "a cat"}', r"no list of objects.*bad"),
        (read_json, '[{"text": "a cat"}]', r"no text field 'caption'.*item 1.*\(text\)"),
        (read_json_lines, "3\n", r"no text field 'caption'.*line 1"),
        (read_csv, "caption\n" + "x" * 200_000 + "\n", r"malformed CSV: field larger"),
        (read_csv, "x" * 200_000, r"malformed CSV: field larger"),
        (read_csv, 'caption\na cat\n"a dog\na bird\n', r"malformed CSV: unexpected end.*begins in line 3.*left open"),
        (read_csv, "", r"no column 'caption'.*none"),
    ],
)
def test_malformed_files_are_told_with_the_place(tmp_path: Path, reader: Any, content: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(reader(written(tmp_path, "bad", content), column="caption"))


@pytest.mark.parametrize("content", [b"no archive", None])
def test_an_archive_without_the_captions_is_told(tmp_path: Path, content: bytes | None) -> None:
    if content is None:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("other.json", "{}")
    else:
        written(tmp_path, "a.zip", content)
    with pytest.raises(UserError, match=r"no captions archive.*a\.zip"):
        list(read_coco_captions(tmp_path / "a.zip", member="annotations/captions_val2014.json"))


def test_a_column_of_a_text_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a text file has no columns.*a\.txt"):
        list(read_user_file(written(tmp_path, "a.txt", "a cat\n"), seed=0, column="caption"))
