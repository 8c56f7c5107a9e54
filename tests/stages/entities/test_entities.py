"""The entities stage: rows that training can use, in streams, with the reasons for what is left out."""

import json
from pathlib import Path
from typing import Any

import pytest

from comat_core.backbones.families import FAMILIES
from comat_core.support.errors import UserError
from stages.entities import STAGE, EntitiesConfig, run
from stages.prompts import PromptsConfig
from stages.prompts import run as run_prompts
from stages.store.artifacts import Artifact
from stages.store.store import Store
from tests.comat_core.parsed import clip_tokenizer

LENGTH = 32


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model of which there are only the index and the tokenizer."""
    folder = indexed(tmp_path_factory.mktemp("base"))
    tokenizer = clip_tokenizer()
    tokenizer.model_max_length = LENGTH
    tokenizer.save_pretrained(folder / "tokenizer")
    return folder


def indexed(folder: Path) -> Path:
    """Write a Stable Diffusion's index."""
    parts = FAMILIES["StableDiffusionPipeline"].parts
    index = {name: ["transformers" if "t" in name[:1] else "diffusers", classes[0]] for name, classes in parts.items()}
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline", **index}))
    return folder


def prompts_artifact(folder: Path, texts: list[str]) -> Artifact:
    (folder / "mine.txt").write_text("\n".join(texts) + "\n")
    config = PromptsConfig.model_validate({"seed": 0, "train": [{"file": str(folder / "mine.txt")}]})
    return run_prompts(config, {}, Store(str(folder / "store")))


def config_of(base: Path, **settings: Any) -> EntitiesConfig:
    return EntitiesConfig.model_validate({"base": str(base), **settings})


def entities_of(folder: Path, base: Path, texts: list[str], **settings: Any) -> Artifact:
    prompts = prompts_artifact(folder, texts)
    return run(config_of(base, **settings), {"prompts": prompts}, Store(str(folder / "store")))


def test_rows_tell_words_spans_and_tokens(tmp_path: Path, base: Path) -> None:
    text = "a striped blue square and a circle that is red"
    square, circle = entities_of(tmp_path, base, [text]).read_table("entities.parquet").to_pylist()
    assert (square["noun"], square["attributes"]) == ("square", ["striped", "blue"])
    assert (circle["noun"], circle["attributes"]) == ("circle", ["red"])
    assert square["noun_span"] == [15, 21]
    assert square["kept"] and circle["kept"]
    tokenizer = clip_tokenizer()
    ids = tokenizer(text, padding="max_length", max_length=LENGTH, truncation=True).input_ids
    assert str(tokenizer.decode([ids[token] for token in square["noun_tokens"]])).replace(" ", "") == "square"
    assert str(tokenizer.decode([ids[token] for token in circle["attribute_tokens"]])).replace(" ", "") == "red"


def test_removed_nouns_stay_in_the_table_with_their_reason(tmp_path: Path, base: Path) -> None:
    texts = ["a black square and a white square", "a red star to the left of a cross"]
    rows = entities_of(tmp_path, base, texts).read_table("entities.parquet").to_pylist()
    assert [row["noun"] for row in rows if row["kept"]] == ["star", "cross"]
    reasons = {row["noun"]: row["removed_because"] for row in rows if not row["kept"]}
    assert reasons == {"square": "repeated: 2 nouns are named square", "left": "hard to locate: left"}


def test_objects_of_one_name_are_rows_with_attributes_and_tokens_of_their_own(tmp_path: Path, base: Path) -> None:
    text = "a red circle to the left of a striped blue circle"
    config = {"same_nouns": "keep"}
    rows = entities_of(tmp_path, base, [text], **config).read_table("entities.parquet").to_pylist()
    first, second = (row for row in rows if row["kept"])
    assert (first["noun"], first["attributes"]) == ("circle", ["red"])
    assert (second["noun"], second["attributes"]) == ("circle", ["striped", "blue"])
    assert not {*first["noun_tokens"], *first["attribute_tokens"]} & {
        *second["noun_tokens"],
        *second["attribute_tokens"],
    }
    tokenizer = clip_tokenizer()
    ids = tokenizer(text).input_ids
    for row in (first, second):
        assert str(tokenizer.decode([ids[token] for token in row["noun_tokens"]])).replace(" ", "") == "circle"
    (tmp_path / "again").mkdir()
    again = entities_of(tmp_path / "again", base, [text], processes=2, **config).read_table("entities.parquet")
    assert again.to_pylist() == rows


def test_nouns_beyond_the_last_token_are_removed_with_the_reason(tmp_path: Path, base: Path) -> None:
    text = "a red cup and " + "a very very big " * 8 + "box"
    cup, *_, box = entities_of(tmp_path, base, [text]).read_table("entities.parquet").to_pylist()
    assert cup["kept"]
    assert not box["kept"]
    assert box["noun_tokens"] == []
    assert box["removed_because"].startswith("cut off")


def test_summary_counts_what_was_found_and_removed(tmp_path: Path, base: Path) -> None:
    artifact = entities_of(tmp_path, base, ["a red star in the morning", "in the morning", "a red cup and a box"])
    summary = artifact.read_json("summary.json")
    assert summary["prompts"] == 3
    assert summary["prompts_without_entities"] == 1
    assert summary["removed"] == {"background": 2}
    assert summary["nouns"] == {"star": 1, "cup": 1, "box": 1}
    assert summary["attributes"] == {"red": 2}
    assert "| removed: background | 2 |" in artifact.read_bytes("summary.md").decode()


def test_groups_and_processes_do_not_change_the_table(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"a red cup and {number} blue boxes" for number in range(30)]
    whole = entities_of(tmp_path, base, texts).read_table("entities.parquet")
    monkeypatch.setattr("stages.entities.PROMPTS_PER_BATCH", 3)
    monkeypatch.setattr("stages.entities.BATCHES_PER_GROUP", 2)
    (tmp_path / "again").mkdir()
    parts = entities_of(tmp_path / "again", base, texts, processes=2, batch_size=4).read_table("entities.parquet")
    assert whole.equals(parts)


def test_key_follows_the_word_lists_and_not_the_speed(tmp_path: Path, base: Path) -> None:
    (tmp_path / "words.yaml").write_text("remove: {silly: [cup]}\n")
    keys = [
        STAGE.key(config_of(base, **settings), {"prompts": "x"})
        for settings in (
            {},
            {"processes": 2, "batch_size": 9, "same_nouns": None},
            {"noun_filter": str(tmp_path / "words.yaml")},
            {"same_nouns": "keep"},
        )
    ]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_word_lists_of_the_user_replace_the_shipped_ones(tmp_path: Path, base: Path) -> None:
    (tmp_path / "words.yaml").write_text("remove: {silly: [cup]}\n")
    artifact = entities_of(tmp_path, base, ["a cup in the morning"], noun_filter=str(tmp_path / "words.yaml"))
    rows = artifact.read_table("entities.parquet").to_pylist()
    assert {row["noun"]: row["removed_because"] for row in rows} == {"cup": "silly: cup", "morning": None}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("remove: [a, b]", "mapping"),
        ("silly: [a]", "unknown section 'silly'"),
        ("remove: {x: [yes]}", "list of words"),
        ("[", "malformed YAML"),
    ],
)
def test_malformed_word_lists_are_told(tmp_path: Path, base: Path, content: str, message: str) -> None:
    (tmp_path / "words.yaml").write_text(content)
    with pytest.raises(UserError, match=message):
        entities_of(tmp_path, base, ["a red cup"], noun_filter=str(tmp_path / "words.yaml"))


def test_parser_that_is_not_installed_is_told(base: Path) -> None:
    with pytest.raises(UserError, match=r"en_core_web_none.*spacy download"):
        STAGE.key(config_of(base, parser="en_core_web_none"), {"prompts": "x"})


def test_model_without_a_tokenizer_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no tokenizer"):
        entities_of(tmp_path, indexed(tmp_path / "empty"), ["a red cup"])
