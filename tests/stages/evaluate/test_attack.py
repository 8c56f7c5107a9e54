"""The attack as a stage: what a row tells, that a killed run goes on, the summary, and its place in the plan."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from comat_core.backbones.adapters import add_lora, lora_parameters, save_lora
from comat_core.backbones.loading import load_backbone
from comat_core.support.randomness import make_generator
from stages.evaluate import attack
from stages.evaluate.scoring.image_scores import ITEMS
from stages.evaluate.scoring.prompt_attack import attacking
from stages.evaluate.scoring.prompt_attack.config import AttackConfig
from stages.images import ImagesConfig
from stages.plan.pipeline import make_plan
from stages.plan.presets import load_preset
from stages.store.artifacts import Artifact, InputRecord
from stages.store.store import Store
from tests.stages.fake_run import make_artifact

JUDGE = {"kind": "judge", "model": "data://miniature/judge"}


def config_of(folder: Path, **changes: Any) -> AttackConfig:
    values = {
        "seed": 3,
        "resolution": 32,
        "base": str(folder),
        "classifier": JUDGE,
        "prompts": {"short": {"template": "a {} and a"}, "long": {"template": "the photographs of a {} and a"}},
        "classes": 2,
        "texts_per_prompt": 2,
        "prompts_per_shard": 3,
        "sampling": {"scheduler": "ddim", "num_inference_steps": 2, "guidance_scale": 2.0},
        "search": {"added_tokens": 2, "iterations": 2, "gradient_steps": 1, "kappa": 1000.0},
        "batch_size": 2,
        "resamples": 100,
        "device": "cpu",
    }
    return AttackConfig.model_validate({**values, **changes})


@pytest.fixture
def trained(store: Store, tiny_sd_folder: Path, tmp_path: Path) -> Artifact:
    """A training that has changed the model."""
    model = load_backbone(tiny_sd_folder)
    add_lora(model, "tuned", rank=2, seed=0)
    with torch.no_grad():
        for index, parameter in enumerate(lora_parameters(model.denoiser, "tuned")):
            parameter.copy_(torch.randn(parameter.shape, generator=make_generator(0, "test LoRA", index)))
    save_lora(model, tmp_path / "lora", "tuned")
    return make_artifact(store, "train", folder=tmp_path / "lora")


def test_both_models_are_attacked_and_compared(store: Store, tiny_sd_folder: Path, trained: Artifact) -> None:
    config = config_of(tiny_sd_folder)
    base = attack.SCORES.run(config, {}, store)
    tuned = attack.SCORES.run(config, {"train": trained}, store)
    rows = base.read_table(ITEMS).to_pylist()
    assert len(rows) == 2 * 2 * 2
    for row in rows:
        own = f"the photographs of a {row['class_name']} and a" if row["kind"] == "long" else None
        prompt = own or f"a {row['class_name']} and a"
        for text in (row["text"], row["control_text"]):
            assert text.startswith(f"{prompt} ") and len(text[len(prompt) + 1 :].split()) == 2
        assert row["attack_success"] == float(row["seen"] != row["class_name"])
        assert row["attack_control"] == float(row["control_seen"] != row["class_name"])
        assert row["attack_unattacked"] == float(row["unattacked_seen"] != row["class_name"])
        assert row["attack_excess"] == row["attack_success"] - row["attack_control"]
        assert (row["attack_any"] is None) == (row["sample"] > 0)
        assert row["skipped_iterations"] == 0
    others = tuned.read_table(ITEMS).to_pylist()
    assert [row["control_text"] for row in others] == [row["control_text"] for row in rows], "random words are shared"
    assert [row["first_loss"] for row in others] != [row["first_loss"] for row in rows], "each model has its own search"

    summary = attack.STAGE.run(config, {"base": base, "tuned": tuned}, store).read_json("summary.json")
    means = summary["models"]["base"]
    assert means["attack_success"]["mean"] == sum(row["attack_success"] for row in rows) / 8
    assert means["attack_success/short"]["n"] == means["attack_any/long"]["n"] == 2
    assert set(summary["delta"]) == set(means) and "attack_excess/long" in means
    assert summary["artifacts"] == {"base": base.key, "tuned": tuned.key, "lora": trained.key}


def test_a_killed_run_goes_on_at_the_first_missing_shard_with_the_same_numbers(
    store: Store, tiny_sd_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(tiny_sd_folder, prompts_per_shard=2)
    whole = attack.SCORES.run(config, {}, Store(str(tmp_path / "another"))).read_table(ITEMS)
    asked: list[Sequence[str]] = []
    own = attacking.attack

    def killed(config: Any, model: Any, classifier: Any, prompts: Any, title: str) -> list[dict[str, Any]]:
        if len(asked) == 1:
            asked.append(["killed"])
            raise KeyboardInterrupt
        asked.append([one.prompt_id for one in prompts])
        return own(config, model, classifier, prompts, title)

    monkeypatch.setattr(attacking, "attack", killed)
    with pytest.raises(KeyboardInterrupt):
        attack.SCORES.run(config, {}, store)
    found = attack.SCORES.run(config, {}, store).read_table(ITEMS)
    assert [len(ids) for ids in asked] == [2, 1, 2]
    assert asked[0] != asked[2]
    assert found.equals(whole)


def made_up(store: Store, key: str, successes: Sequence[tuple[str, str, float]]) -> Artifact:
    rows = [
        {"prompt_id": f"{kind}/{name}", "sample": 0, "kind": kind, "class_name": name}
        | {metric.name: success for metric in attack.METRICS}
        for kind, name, success in successes
    ]
    table = pa.Table.from_pylist(rows, schema=attack.ITEM_SCHEMA)
    train = InputRecord(stage="train", key="lora", digest="")
    writer = store.writer("scores.attack", key, {"version": 1, "config": {}}, {"train": train})
    writer.write_table("items/00000.parquet", table)
    return writer.finish()


def test_rates_are_shares_and_their_difference_is_paired(store: Store, tiny_sd_folder: Path) -> None:
    names = [("short", "cat", 1.0), ("short", "dog", 1.0), ("long", "cat", 0.0), ("long", "dog", 1.0)]
    better = [(kind, name, float(kind == "long" and name == "dog")) for kind, name, _ in names]
    inputs = {"base": made_up(store, "b", names), "tuned": made_up(store, "t", better)}
    summary = attack.STAGE.run(config_of(tiny_sd_folder), inputs, store).read_json("summary.json")
    assert summary["models"]["base"]["attack_success"]["mean"] == 0.75
    assert summary["models"]["tuned"]["attack_success/short"]["mean"] == 0.0
    assert summary["delta"]["attack_success"]["mean"] == -0.5
    # Where both models fare alike, there is nothing to be unsure of: the resamples are the same prompts for both.
    assert summary["delta"]["attack_success/long"] == {"mean": 0.0, "low": 0.0, "high": 0.0}


def test_the_presets_attack_base_and_tuned_as_their_images_are_drawn() -> None:
    assert "evaluate.attack" not in make_plan(load_preset("miniature").sections).by_name
    preset = load_preset("miniature-attack")
    plan = make_plan(preset.sections)
    assert plan.by_name["scores.attack.base"].inputs == {}
    assert plan.by_name["scores.attack.tuned"].inputs == {"train": "train"}
    assert plan.by_name["evaluate.attack"].inputs == {"base": "scores.attack.base", "tuned": "scores.attack.tuned"}
    assert plan.by_name["report"].inputs["evaluate.attack"] == "evaluate.attack"
    images, own = plan.by_name["images.base"].config, plan.by_name["evaluate.attack"].config
    assert isinstance(images, ImagesConfig) and isinstance(own, AttackConfig)
    assert (own.sampling, own.base, own.seed) == (images.sampling, images.base, images.seed)
    unchanged = make_plan(load_preset("miniature").sections).by_name
    assert unchanged["train"].key == plan.by_name["train"].key
    large = load_preset("sd15-attack").sections["evaluate.attack"]
    assert isinstance(large, AttackConfig)
    assert (large.precision, large.resolution, large.sampling.num_inference_steps) == ("fp32", 512, 50)


@pytest.mark.slow
def test_the_miniature_world_is_attacked_end_to_end(store: Store) -> None:
    config = load_preset(
        "miniature-attack",
        [
            "evaluate.attack.classes=1",
            "evaluate.attack.search.iterations=3",
            "evaluate.attack.texts_per_prompt=2",
            "evaluate.attack.device=cpu",
        ],
    ).sections["evaluate.attack"]
    assert isinstance(config, AttackConfig)
    scores = attack.SCORES.run(config, {}, store).read_table(ITEMS).to_pylist()
    assert {(row["kind"], row["sample"]) for row in scores} == {
        (kind, sample) for kind in ("short", "long") for sample in (0, 1)
    }
    labels = config.classifier.class_names()
    assert all(row["seen"] in labels and row["class_name"] in row["text"] for row in scores)
