"""The benchmark of the brake: a provoked training, judged once more on prompts that the brake never saw."""

import json
from pathlib import Path

import pytest

from benchmarks import brake
from stages.plan.pipeline import make_plan
from stages.plan.presets import load_preset
from stages.train.config import TrainConfig


def test_the_training_is_held_by_nothing_but_the_brake() -> None:
    sections = load_preset("miniature", [*brake.PROVOCATION, "seed=2"]).sections
    config = sections["train"]
    assert isinstance(config, TrainConfig) and config.brake is not None
    assert config.weights.fidelity == 0 and not config.weights.attribute_concentration
    assert config.brake.split != brake.FRESH_SPLIT
    assert config.seed == 2 and "train" in make_plan(sections).by_name


def test_the_table_has_a_row_for_base_delivered_and_last() -> None:
    numbers = {"objects": 0.5, "dino": 2.0, "gain": 0.0, "ratio": 1.0}
    fresh = {"base": numbers, "delivered": numbers | {"step": 20}, "last": numbers | {"step": 80, "objects": 0.25}}
    assert brake.table(3, {"delivered_step": 20, "fresh": fresh}).splitlines() == [
        "| seed 3 | step | objects | dino | gain | ratio |",
        "| --- | --- | --- | --- | --- | --- |",
        "| base | 0 | 0.500 | 2.000 | 0.000 | 1.000 |",
        "| delivered | 20 | 0.500 | 2.000 | 0.000 | 1.000 |",
        "| last | 80 | 0.250 | 2.000 | 0.000 | 1.000 |",
    ]


@pytest.mark.slow
def test_delivered_and_last_are_judged_on_fresh_prompts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(brake, "FRESH_PROMPTS", 3)
    small = {
        "prompts.train": "[{source: miniature/training, count: 4}]",
        "prompts.evaluation": "[{source: miniature/held_out, split: test, count: 3}, "
        "{source: miniature/held_out, split: validation, count: 3}, "
        "{source: miniature/fidelity, split: fidelity, count: 3}]",
        "pairs.count": "2",
        "train.batch_size": "2",
        "train.steps": "2",
        "train.brake.every": "1",
        "train.brake.prompts": "3",
        "train.brake.real.count": "4",
    }
    flags = [part for name, value in small.items() for part in ("--set", f"{name}={value}")]
    monkeypatch.setattr("sys.argv", ["brake", "--store", str(tmp_path), "--seeds", "4", *flags])
    brake.main()
    printed = capsys.readouterr().out.splitlines()
    found = json.loads(printed[-1])["seeds"]["4"]
    assert [one["step"] for one in found["watched"]] == [1, 2]
    assert found["delivered_step"] == found["fresh"]["delivered"]["step"] and found["fresh"]["last"]["step"] == 2
    if found["delivered_step"] == 2:
        assert found["fresh"]["delivered"] == found["fresh"]["last"]
    assert found["fresh"]["base"]["ratio"] == 1 and found["fresh"]["last"]["dino"] > 0
    assert printed[0].startswith("| seed 4 | step | objects | dino")
