"""Which prompts are attacked: classes by the seed, templates and files, and what a key holds of them."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from comat_core.support.errors import UserError
from stages.evaluate.scoring.prompt_attack.attacked_prompts import attacked_prompts
from stages.evaluate.scoring.prompt_attack.config import AttackConfig
from stages.models.classifiers import JudgeOfPairs

JUDGE = {"kind": "judge", "model": "data://miniature/judge"}
CLIP = {"kind": "clip", "model": "org/clip"}
CSV = '''prompt,label,classname
"The tench, a fish with ""barbels""",0,tench
A great white shark and a,2,Great White Shark
about tenches,0,tench
goldfishes swim,1,goldfish
A crane,3,crane
'''


def config_of(**changes: Any) -> AttackConfig:
    values = {"seed": 3, "resolution": 32, "base": "org/base", "classifier": JUDGE, "classes": 5}
    values["prompts"] = {"short": {"template": "a {} and a"}}
    return AttackConfig.model_validate({**values, **changes})


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "prompts.csv"
    file.write_text(CSV)
    return file


def test_the_seed_draws_the_classes_and_every_kind_has_the_same() -> None:
    prompts = {"short": {"template": "a {} and a"}, "long": {"template": "the picture of a {} with a"}}
    found = attacked_prompts(config_of(prompts=prompts))
    assert [one.kind for one in found] == ["long"] * 5 + ["short"] * 5
    assert [one.class_name for one in found[:5]] == [one.class_name for one in found[5:]]
    assert len({one.prompt_id for one in found}) == 10
    labels = JudgeOfPairs.model_validate(JUDGE).class_names()
    assert len(labels) == 48
    for one in found:
        assert labels[one.class_number] == one.class_name
        assert one.class_name in one.text
        assert one.prompt_id == f"{one.kind}/{one.class_name}"
    other = attacked_prompts(config_of(seed=4))
    assert {one.class_name for one in other} != {one.class_name for one in found}
    fewer = attacked_prompts(config_of(classes=2))
    assert [one.class_name for one in fewer] == [one.class_name for one in found[:2]]
    assert len(attacked_prompts(config_of(classes=1000))) == 48


def test_a_file_gives_each_class_the_first_prompt_that_names_it(table: Path) -> None:
    classifier = {**CLIP, "classes": ["goldfish", "tench", "tench", "Great White Shark"]}
    config = config_of(classifier=classifier, prompts={"long": {"file": str(table)}})
    found = {one.class_name: one for one in attacked_prompts(config)}
    assert set(found) == {"tench", "Great White Shark"}, "goldfishes are no goldfish, and the crane is no class"
    assert found["tench"].text == 'The tench, a fish with "barbels"'
    assert (found["tench"].class_number, found["Great White Shark"].class_number) == (1, 2)


def test_classes_may_come_from_the_same_file(table: Path) -> None:
    classifier = {**CLIP, "classes": {"file": str(table)}}
    config = config_of(classifier=classifier, prompts={"long": {"file": str(table)}})
    assert config.classifier.class_names() == ("tench", "Great White Shark", "goldfish", "crane")


def test_prompts_of_no_class_are_an_error_before_anything_runs(table: Path) -> None:
    config = config_of(classifier={**CLIP, "classes": ["cat"]}, prompts={"long": {"file": str(table)}})
    with pytest.raises(UserError, match=r"none of the prompts names one of the classifier's 1 classes.*prompts\.long"):
        config.fetch_files()


def test_a_key_follows_what_files_hold_and_not_where_they_lie(table: Path, tmp_path: Path) -> None:
    def payload(file: Path, **changes: Any) -> dict[str, Any]:
        return config_of(prompts={"long": {"file": str(file)}}, **changes).scores_payload()

    same, other = tmp_path / "same.csv", tmp_path / "other.csv"
    same.write_text(CSV)
    other.write_text(CSV.replace("crane", "heron"))
    assert payload(table) == payload(same) != payload(other)
    assert payload(table) == payload(table, resamples=100, batch_size=3, device="cpu")
    assert payload(table) == payload(table, search={"checkpoint_denoiser": True})
    for changed in ({"classes": 6}, {"search": {"kappa": 3.0}}, {"texts_per_prompt": 5}, {"seed": 5}):
        assert payload(table) != payload(table, **changed)
    named = [config_of(classifier={**CLIP, "classes": {"file": str(file)}}).scores_payload() for file in (same, other)]
    assert named[0] != named[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": {"short": {"template": "no place"}}}, "template"),
        ({"prompts": {}}, "prompts"),
        ({"search": {"gradient_steps": 51}}, "gradient_steps is 51, of 50 denoising steps"),
        ({"classifier": {"kind": "clip"}}, "model"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config_of(**changes)


def test_atms_own_prompts_are_the_default() -> None:
    config = AttackConfig.model_validate({"seed": 1, "resolution": 512, "base": "org/base", "classifier": CLIP})
    first, *rest = config.scores_payload()["files"]
    assert [name for name, *_ in first] == ["atm"]
    assert [path for files in rest for _, path, _ in files] == ["imageNet_long_prompt.csv", "imageNet_short_prompt.csv"]
