"""A study's folder: what is in it, and what it does not tell."""

import json
import stat
from collections import Counter
from pathlib import Path

import pytest

from comat_core.support.errors import UserError
from stages.plan.presets import load_preset
from stages.store.store import Store
from stages.studies.preference.building import balanced_sides, build_study, default_split, draw_prompts
from stages.studies.preference.folder import IMAGES, KEY, STUDY, read_key, read_study
from tests.stages.studies.preference.made_up_study import HOSTILE, fill_store, made_up_preset, make_study, whose


def test_each_pair_shows_its_prompt_by_both_models_as_the_key_says(tmp_path: Path) -> None:
    folder = make_study(tmp_path, pairs=8)
    study = read_study(folder)
    key = read_key(folder, study)
    assert len(study.pairs) == 8
    for pair in study.pairs:
        secret = key.pairs[pair.pair]
        number = int(secret.prompt_id.removeprefix("p"))
        assert pair.prompt == f"{HOSTILE} {number}"
        other = "right" if secret.tuned == "left" else "left"
        assert whose((folder / IMAGES / pair.image(secret.tuned)).read_bytes()) == ("tuned", number)
        assert whose((folder / IMAGES / pair.image(other)).read_bytes()) == ("base", number)


def test_each_model_is_left_in_half_of_the_pairs(tmp_path: Path) -> None:
    folder = make_study(tmp_path, pairs=10)
    sides = Counter(secret.tuned for secret in read_key(folder, read_study(folder)).pairs.values())
    assert sides == {"left": 5, "right": 5}
    assert {abs(2 * balanced_sides(7, seed).count("left") - 7) for seed in range(20)} == {1}
    assert {balanced_sides(7, seed).count("left") for seed in range(20)} == {3, 4}
    assert len({tuple(balanced_sides(10, seed)) for seed in range(20)}) > 10


def test_what_raters_are_shown_tells_nothing_of_the_models(tmp_path: Path) -> None:
    folder = make_study(tmp_path)
    shown = (folder / STUDY).read_text()
    assert "tuned" not in shown
    assert "base" not in shown
    assert set(json.loads(shown)) == {"resolution", "pairs"}  # the seed would tell the sides
    assert sorted(path.name for path in (folder / IMAGES).iterdir())[:2] == ["0001-left.png", "0001-right.png"]
    assert stat.S_IMODE((folder / KEY).stat().st_mode) == 0o600


def test_the_seed_chooses_prompts_and_sides() -> None:
    texts = {f"p{number}": str(number) for number in range(30)}
    drawn = [tuple(draw_prompts(texts, 10, seed, "test")) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert draw_prompts(dict(reversed(texts.items())), 10, 1, "test") == draw_prompts(texts, 10, 1, "test")
    assert balanced_sides(10, 1) == balanced_sides(10, 1) != balanced_sides(10, 2)


def test_prompts_are_those_of_dsg_where_the_preset_draws_them() -> None:
    assert default_split(load_preset("sd15")) == "dsg"
    assert default_split(load_preset("miniature")) == "test"


def test_more_prompts_than_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there are 12 prompts of the split 'test', not 13 .*--prompts 12 or fewer"):
        make_study(tmp_path, pairs=13)
    assert not (tmp_path / "study").exists()


def test_images_that_are_not_drawn_yet(tmp_path: Path) -> None:
    preset, store = made_up_preset(), Store(str(tmp_path / "store"))
    with pytest.raises(UserError, match=r"holds no finished prompts artifact .*comat run miniature --only prompts"):
        build_study(preset, "miniature", store, tmp_path / "out", split="test", count=2, seed=0)
    with pytest.raises(UserError, match=r"the preset draws no images\.base\.dsg"):
        fill_store(store, preset)
        build_study(preset, "miniature", store, tmp_path / "out", split="dsg", count=2, seed=0)


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    folder = make_study(tmp_path)
    before = (folder / STUDY).read_bytes()
    with pytest.raises(UserError, match="not an empty folder"):
        build_study(
            made_up_preset(), "miniature", Store(str(tmp_path / "store")), folder, split="test", count=2, seed=9
        )
    assert (folder / STUDY).read_bytes() == before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (STUDY, b"{", "malformed JSON"),
        (STUDY, b"{}", "resolution is missing"),
        (STUDY, b'{"resolution": 64, "pairs": [{"pair": "../1", "prompt": "a"}]}', "pairs.0.pair is not allowed"),
        (KEY, b"{}", "preset is missing"),
        (
            KEY,
            b'{"preset": "a", "split": "test", "seed": 1, "artifacts": {}, "pairs": {}}',
            "the key is that of another study",
        ),
    ],
)
def test_damaged_files_are_told(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    folder = make_study(tmp_path)
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as told:
        read_key(folder, read_study(folder))
    assert str(folder / name) in str(told.value)
