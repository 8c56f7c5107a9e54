"""The prompts stage: what it keeps, drops, counts and refuses."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from comat_core.support.errors import UserError
from data.registry import select_sets
from stages.prompts import STAGE, PromptsConfig, run
from stages.prompts.cleaning import is_english, normalise, prompt_id
from stages.prompts.hash_sets import SeenHashes
from stages.store.store import Store

Rows = list[dict[str, str]]
Build = Callable[..., tuple[Rows, dict[str, Any]]]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Run the stage on files written from lists of prompts; returns its rows and its summary."""

    def build(train: Sequence[str], evaluation: Sequence[str] = (), **settings: Any) -> tuple[Rows, dict[str, Any]]:
        for name, prompts in (("train.txt", train), ("evaluation.txt", evaluation)):
            (tmp_path / name).write_text("\n".join(prompts) + "\n", encoding="utf-8")
        evaluated = [{"file": str(tmp_path / "evaluation.txt")}] if evaluation else []
        config = config_of(train=[{"file": str(tmp_path / "train.txt")}], evaluation=evaluated, **settings)
        artifact = run(config, {}, Store(str(tmp_path / "store")))
        return artifact.read_table("prompts.parquet").to_pylist(), artifact.read_json("summary.json")

    return build


def config_of(**settings: Any) -> PromptsConfig:
    return PromptsConfig.model_validate({"seed": 0, **settings})


def texts(rows: Rows, split: str = "train") -> list[str]:
    return [row["text"] for row in rows if row["split"] == split]


def test_rows_have_identity_source_skill_and_split(build: Build) -> None:
    rows, _ = build(["a red cat", "a blue dog"], ["a green bird"])
    assert [row["split"] for row in rows] == ["test", "train", "train"]
    assert rows[1] == {
        "prompt_id": prompt_id("a red cat"),
        "text": "a red cat",
        "source": "train.txt",
        "skill": "user",
        "split": "train",
    }


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a red cat\na blue dog\n")
    config = config_of(train=[{"file": str(tmp_path / "train.txt")}])
    first, second = (run(config, {}, Store(str(tmp_path / name))) for name in ("one", "two"))
    assert first.key == second.key
    assert first.manifest.digest == second.manifest.digest


def test_unicode_and_white_space_are_normalised() -> None:
    assert normalise("  a\tcafe\u0301 \u00a0table\u200b\r\n") == "a caf\u00e9 table"


def test_duplicates_and_near_duplicates_are_dropped_and_counted(build: Build) -> None:
    prompts = ["a red cat", "a  red cat", "A red cat.", "the red cat", "a red cat and a dog"]
    rows, summary = build(prompts)
    assert texts(rows) == ["a red cat", "a red cat and a dog"]
    assert summary["sources"][0]["dropped"] == {"duplicate": 1, "near-duplicate": 2}
    rows, _ = build(prompts, drop_near_duplicates=False)
    assert texts(rows) == ["a red cat", "A red cat.", "the red cat", "a red cat and a dog"]


def test_swapped_colours_are_another_prompt(build: Build) -> None:
    rows, _ = build(["a red cat and a blue dog", "a blue cat and a red dog"])
    assert len(rows) == 2


def test_length_and_language_are_checked(build: Build) -> None:
    german = "eine rote Katze und ein blauer Hund sitzen auf dem Tisch"
    rows, summary = build(["cat", "a red cat", "a " * 130 + "cat", german, "\u4e00\u53ea\u7ea2\u8272\u7684 \u732b"])
    assert texts(rows) == ["a red cat"]
    assert summary["sources"][0]["dropped"] == {"too short": 1, "too long": 1, "not English": 2}
    assert german in texts(build([german, "a red cat"], english_only=False)[0])


def test_the_shortest_and_the_longest_allowed_prompts_are_kept(build: Build) -> None:
    prompts = ["cat", "red cat", "old red cat", "an old red cat"]
    rows, summary = build(prompts, min_words=2, max_words=3)
    assert texts(rows) == ["red cat", "old red cat"]
    assert summary["sources"][0]["dropped"] == {"too short": 1, "too long": 1}


@pytest.mark.parametrize(
    "prompt", ["a red cat", "a caf\u00e9 in Z\u00fcrich", "The dog is on the mat with a ball near the door."]
)
def test_english_prompts_pass_the_language_check(prompt: str) -> None:
    assert is_english(prompt)


def test_leaks_are_dropped_and_counted_per_source(build: Build) -> None:
    evaluation = ["A red cat, and a blue dog."]
    train = ["a red cat and a blue dog", "a blue cat and a red dog", "a green bird"]
    rows, summary = build(train, evaluation)
    assert texts(rows) == train[1:]
    assert texts(rows, "test") == evaluation
    assert summary["sources"][1]["dropped"] == {"in an evaluation set": 1}
    assert summary["leaks_by_evaluation_set"] == {"evaluation.txt": 1}
    assert texts(build(train, evaluation, leakage_guard="same bag of words")[0]) == ["a green bird"]
    assert texts(build(train, evaluation, leakage_guard="off")[0]) == train


def seen_in_training(tmp_path: Path, train: Sequence[str], evaluation: Sequence[str], **settings: Any) -> Rows:
    """Ids of evaluation prompts that the stage found in the training file, with where."""
    for name, prompts in (("train.txt", train), ("evaluation.txt", evaluation)):
        (tmp_path / name).write_text("\n".join(prompts) + "\n")
    selection = {"file": str(tmp_path / "train.txt"), "count": settings.pop("count", None)}
    evaluated = [{"file": str(tmp_path / "evaluation.txt")}]
    config = config_of(train=[selection], evaluation=evaluated, **settings)
    return run(config, {}, Store(str(tmp_path / "store"))).read_table("seen_in_training.parquet").to_pylist()


@pytest.mark.parametrize("guard", ["same words", "off"])
def test_evaluation_prompts_of_training_sources_are_marked_whether_or_not_those_are_dropped(
    tmp_path: Path, guard: str
) -> None:
    evaluation = ["a red cat", "a blue dog", "cat", "a red cat", "a green bird"]
    train = ["A red cat.", "the blue dog", "cat", "a yellow fish"]  # "cat" itself is too short to be trained on
    seen = seen_in_training(tmp_path, train, evaluation, leakage_guard=guard)
    assert [row["prompt_id"] for row in seen] == [prompt_id("a red cat"), prompt_id("a red cat", 1), prompt_id("cat")]
    marks = {"split": "test", "source": "evaluation.txt", "training_source": "train.txt"}
    assert seen[0] == {"prompt_id": prompt_id("a red cat"), **marks}


@pytest.mark.parametrize("count", [1, 3, 6])
def test_marks_are_those_of_the_whole_source_whatever_is_drawn_from_it(tmp_path: Path, count: int) -> None:
    train = [f"a red cat number {index}" for index in range(6)]
    evaluation = [f"a red cat number {index}" for index in range(3, 9)]
    seen = seen_in_training(tmp_path, train, evaluation, count=count, leakage_guard="off")
    assert {row["prompt_id"] for row in seen} == {prompt_id(text) for text in evaluation[:3]}


def test_the_summary_counts_marked_prompts_and_dropped_ones_apart(build: Build) -> None:
    _, summary = build(["a red cat", "A red cat.", "a blue dog"], ["a red cat", "a green bird"])
    assert summary["leaks_by_evaluation_set"] == {"evaluation.txt": 2}
    assert summary["seen_by_evaluation_set"] == {"evaluation.txt": 1}


def test_generated_training_prompts_have_no_end_to_look_through(tmp_path: Path) -> None:
    config = config_of(
        train=[{"source": "miniature/training", "count": 5}], evaluation=[{"source": "miniature/held_out", "count": 5}]
    )
    assert run(config, {}, Store(str(tmp_path))).read_table("seen_in_training.parquet").num_rows == 0


def test_evaluation_prompts_are_kept_as_they_are_with_ids_of_their_own(build: Build) -> None:
    rows, _ = build(["a red cat"], ["dog", "dog", "a red cat"], leakage_guard="off")
    assert texts(rows, "test") == ["dog", "dog", "a red cat"]
    assert len({row["prompt_id"] for row in rows}) == 4


def test_generated_prompts_of_the_miniature_world(tmp_path: Path) -> None:
    config = config_of(
        seed=1,
        train=[{"source": "miniature/training", "count": 50}],
        evaluation=[
            {"source": "miniature/held_out", "count": 20},
            {"source": "miniature/fidelity", "count": 10, "split": "fidelity"},
        ],
    )
    rows = run(config, {}, Store(str(tmp_path))).read_table("prompts.parquet").to_pylist()
    assert [sum(row["split"] == split for row in rows) for split in ("test", "fidelity")] == [20, 10]
    assert {row["skill"] for row in rows} >= {"colour", "spatial", "fidelity"}
    assert len({row["prompt_id"] for row in rows}) == len(rows)


def test_summary_table_has_a_row_per_source(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a red cat\na red cat\n")
    config = config_of(train=[{"file": str(tmp_path / "train.txt")}])
    table = run(config, {}, Store(str(tmp_path / "store"))).read_bytes("summary.md").decode()
    assert "| train | train.txt | 2 | 1 | 1 |" in table


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.txt", b"\n\n", "holds no prompts"),
        ("latin.txt", b"a caf\xe9\n", "not UTF-8"),
        ("huge.txt", b"x" * 100_000, "100,000 characters"),
        ("short.txt", b"cat\n", "no training prompt is left"),
        ("odd.xyz", b"a red cat\n", "unknown format"),
        ("bad.jsonl", b'{"prompt": "a cat"\n', "malformed JSON"),
        ("bad.csv", b"text\na red cat\n", "no column 'prompt'"),
        ("bad.parquet", b"PAR", "no Parquet"),
    ],
)
def test_bad_files_are_told_and_leave_nothing(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    config = config_of(train=[{"file": str(tmp_path / name)}])
    store = Store(str(tmp_path / "store"))
    with pytest.raises(UserError, match=message):
        run(config, {}, store)
    assert store.look_up("prompts", STAGE.key_for(config, {})).artifact is None


def test_columns_of_user_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,caption\n1,"a red cat,\nand a dog"\n', encoding="utf-8-sig")
    (tmp_path / "b.jsonl").write_text(json.dumps({"caption": "a blue car"}) + "\n\n")
    pq.write_table(pa.table({"caption": ["a green hat", None]}), tmp_path / "c.parquet")
    selections = [{"file": str(tmp_path / name), "column": "caption"} for name in ("a.csv", "b.jsonl", "c.parquet")]
    config = config_of(train=selections)
    rows = run(config, {}, Store(str(tmp_path / "store"))).read_table("prompts.parquet").to_pylist()
    assert texts(rows) == ["a red cat, and a dog", "a blue car", "a green hat"]


def test_key_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    for folder, content in (("one", "a red cat\n"), ("two", "a red cat\n"), ("three", "a red dog\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.txt").write_text(content)
    keys = [
        STAGE.key_for(config_of(train=[{"file": str(tmp_path / folder / "mine.txt")}]), {})
        for folder in ("one", "two", "three")
    ]
    assert keys[0] == keys[1] != keys[2]


def test_key_follows_the_checksum_of_a_registered_set_and_not_its_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(train=[{"source": "abc6k/prompts", "count": 5000}])
    ((source, prompt_set),) = select_sets("abc6k/prompts")
    keys = []
    for change in ({}, {"note": "another", "url": "https://example.org"}, {"checksum": f"sha256:{'0' * 64}"}):
        changed = prompt_set.model_copy(update=change)
        monkeypatch.setattr("stages.prompts.config.select_sets", lambda _, changed=changed: [(source, changed)])
        keys.append(STAGE.key_for(config, {}))
    assert keys[0] == keys[1] != keys[2]


def test_missing_file_is_told_before_anything_runs(tmp_path: Path) -> None:
    config = config_of(train=[{"file": str(tmp_path / "none.txt")}])
    with pytest.raises(UserError, match="does not exist"):
        STAGE.key_for(config, {})


@pytest.mark.parametrize("selection", [{}, {"file": "a.txt", "source": "b"}, {"source": "b", "column": "c"}])
def test_selection_names_one_origin(selection: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        config_of(train=[selection])


def test_seen_hashes_within_and_across_batches() -> None:
    seen = SeenHashes()
    assert seen.add([5, 5, 2**64 - 1]).tolist() == [True, False, True]
    for start in range(100, 2000, 10):
        assert seen.add(range(start, start + 10)).all()
    assert seen.add([5, 1999, 7, 7]).tolist() == [False, False, True, False]
