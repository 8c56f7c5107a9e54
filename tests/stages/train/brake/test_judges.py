"""Who may judge, what is needed for it, and what a real judgement is made of."""

from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from comat_core.support.errors import UserError
from comat_core.support.memory.offloading import OffloadedReward
from stages.models.model_references import named_models
from stages.models.rewards import RewardSurroundings
from stages.plan.stage import Inputs
from stages.store.artifacts import Artifact
from stages.store.store import Store
from stages.train import STAGE, TrainConfig, run
from stages.train.brake.bench import load_bench
from stages.train.brake.settings import BrakeSettings
from stages.train.brake.sharing import gathered, own_rows
from stages.train.brake.validation_set import choose_prompts
from stages.train.memory_plan import plan_memory
from stages.train.model_card import write_model_card
from stages.train.models import load_models

MakeConfig = Callable[..., TrainConfig]
CPU = torch.device("cpu")


def test_off_nothing_of_it_is_in_the_key(make_config: MakeConfig) -> None:
    payload = make_config().key_payload()
    assert "brake" not in payload and "average_decay" not in payload["online"]
    assert make_config(online={"average_decay": 0.9}).key_payload() != payload


def test_its_settings_are_part_of_the_key_but_for_the_batches(make_braked: MakeConfig) -> None:
    payload = make_braked().key_payload()
    assert make_braked(brake={"batch_size": 2}).key_payload() == payload
    assert make_braked(brake={"budget": 1.2}).key_payload() != payload
    asking = {"vqa": {"kind": "yes_to_questions", "model": "org/vqa"}}
    assert "parsers" in make_braked(brake={"judges": asking}).key_payload()


def test_a_reward_s_own_checkpoint_cannot_judge_wherever_it_lies(
    make_braked: MakeConfig, inputs: Inputs, judges: dict[str, str], tmp_path: Path
) -> None:
    copy = str(copytree(judges["vqa"], tmp_path / "copy"))
    config = make_braked(rewards={"whole": {"kind": "yes_to_prompt", "model": copy}})
    said = "judge vqa cannot judge: the training's reward/whole is the same checkpoint"
    with pytest.raises(UserError, match=said):
        STAGE.fetch_files(config)
    with pytest.raises(UserError, match=said):
        run(config, inputs, Store(str(tmp_path / "store")))


def test_the_captioner_and_a_network_of_the_features_are_refused_alike(
    make_braked: MakeConfig, judges: dict[str, str], captioner_folder: str
) -> None:
    captioner = {"kind": "caption_likelihood", "captioning": {"kind": "blip"}, "model": captioner_folder}
    with pytest.raises(UserError, match="judge other cannot judge: the training's captioner is the same"):
        STAGE.fetch_files(make_braked(brake={"judges": {"other": captioner}}))
    config = make_braked(rewards={"clip": {"kind": "clip_similarity", "model": judges["clip"]}})
    with pytest.raises(UserError, match="features clip cannot judge: the training's reward/clip is the same"):
        STAGE.fetch_files(config)
    STAGE.fetch_files(make_braked())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"judges": {}}, "at least 1 item"),
        ({"judges": {"one": {"kind": "caption_contrast"}}}, "one judges with the training's own captioner"),
        ({"judges": {"one": {"kind": "yes_to_prompt", "model": "org/a", "weight": 0}}}, "must have a weight above 0"),
        ({"distances": {"one": {"kind": "judge"}}}, "one needs a model"),
        ({"distances": {"vqa": {"kind": "pooled", "model": "org/a"}}}, "two curves named 'vqa'"),
        ({"distances": {}, "steering": {}}, "steering needs one of the distances"),
        ({"steering": {}}, "brake.steering multiplies weights.fidelity"),
    ],
)
def test_settings_that_cannot_be_are_refused(make_braked: MakeConfig, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_braked(brake=changes)


def test_prompts_are_drawn_by_the_seed_and_each_keeps_its_noise(make_braked: MakeConfig, inputs: Inputs) -> None:
    settings = brake_of(make_braked())
    few, again = (choose_prompts(settings, inputs["prompts"], seed=5) for _ in range(2))
    every = choose_prompts(settings.model_copy(update={"prompts": 4}), inputs["prompts"], seed=5)
    assert few == again == every[:3]
    assert len({prompt.text for prompt in every}) == 4 and "a cross" not in {prompt.text for prompt in every}
    assert len({seed for prompt in every for seed in (prompt.seed, prompt.other_seed)}) == 8
    orders = {tuple(one.text for one in choose_prompts(settings, inputs["prompts"], seed=seed)) for seed in range(9)}
    assert len(orders) > 1


def test_too_few_prompts_are_told_before_anything_is_made_of_them(make_braked: MakeConfig, inputs: Inputs) -> None:
    with pytest.raises(UserError, match="the split 'train' has 4 prompts instead of 5"):
        make_braked(brake={"prompts": 5}).check_prompts(inputs["prompts"])
    with pytest.raises(UserError, match="the split 'validation' has 0 prompts"):
        make_braked(brake={"split": "validation"}).check_prompts(inputs["prompts"])


def test_the_plan_the_card_and_the_list_of_models_name_the_judges(make_braked: MakeConfig) -> None:
    config = make_braked()
    models, plain = load_models(config, CPU), config.model_copy(update={"brake": None})
    bench = load_bench(config, brake_of(config), CPU)
    plan, before = plan_memory(config, models, bench.networks), plan_memory(plain, models)
    assert set(plan.parameters) - set(before.parameters) == {"judge vqa", "features clip"}
    assert plan.peak - before.peak == plan.parameters["judge vqa"] + plan.parameters["features clip"] + plan.adapters
    card = write_model_card(config, adapted=False, usage=())
    assert "| judge vqa | yes_to_prompt times 1: vqa |" in card and "| features clip | pooled: clip |" in card
    named = {one.setting for one in named_models(config, "train")}
    assert {"train.brake.judges.vqa.model", "train.brake.distances.clip.model"} <= named


def test_offloaded_they_visit_with_the_same_verdict(make_braked: MakeConfig) -> None:
    images = (torch.rand(2, 3, 40, 40) * 255).byte()
    found = []
    for offload in (False, True):
        config = make_braked(hardware={"offload": offload})
        bench = load_bench(config, brake_of(config), CPU)
        assert all(isinstance(judge, OffloadedReward) is offload for judge in bench.judges.values())
        with torch.no_grad():
            found.append((bench.scores_of(images, ["a red circle", "a star"]), bench.features_of(images)))
        if offload:
            plan = plan_memory(config, load_models(config, CPU), bench.networks)
            assert {"judge vqa", "features clip"} <= set(plan.visiting)
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)


def test_a_judgement_says_what_the_judges_say_of_the_model_s_images(
    make_braked: MakeConfig, inputs: Inputs, judges: dict[str, str], tmp_path: Path
) -> None:
    """Two judges and a distance to real images, none of which a LoRA that has not moved can tell from the base."""
    brake = {
        "judges": {
            "vqa": {"kind": "yes_to_prompt", "model": judges["vqa"]},
            "git": {"kind": "caption_likelihood", "captioning": {"kind": "git"}, "model": judges["git"], "weight": 0},
        }
    }
    config = make_braked(steps=1, brake=brake, online={"learning_rate": 1e-12})
    base, after = run(config, inputs, Store(str(tmp_path / "store"))).read_table("evaluations.parquet").to_pylist()
    for name in ("score/vqa", "score/git", "distance/clip"):
        assert after[name] == pytest.approx(base[name], rel=1e-3)
    assert base["distance/clip"] > 0, "to the base's images of the same prompts from other noise"
    assert base["score/git"] < 0
    assert after["ratio"] == pytest.approx(1, rel=1e-2)


@pytest.mark.parametrize("metric", ["object_accuracy", "attribute_accuracy", "all_right"])
def test_the_classifier_of_pairs_scores_drawn_scenes_and_has_nothing_to_say_of_others(metric: str) -> None:
    from data.miniature_world.pairs import base_world_pair
    from stages.models.judges import DescribedObjectsSettings

    pairs = [base_world_pair(3, "validation", number) for number in range(6)]
    images = torch.stack([torch.from_numpy(image.copy()).permute(2, 0, 1) for image, _ in pairs]).float() / 255
    settings = DescribedObjectsSettings.model_validate(
        {"kind": "described_objects", "model": "data://miniature/judge", "metric": metric}
    )
    judge = settings.load(RewardSurroundings(None, torch.float32, CPU))
    captions = [caption for _, caption in pairs]
    right = judge.prepare(captions, CPU)(images)
    wrong = judge.prepare([*captions[1:], "a table"], CPU)(images)
    assert right.mean() > 0.8
    assert wrong[-1].isnan() and wrong[:-1].mean() < right.mean()


class Ranks:
    """Three processes that gather what each has."""

    num_processes = 3

    def __init__(self, rank: int, everyone: list[torch.Tensor]) -> None:
        self.process_index = rank
        self.device = CPU
        self.everyone = everyone

    def gather(self, own: torch.Tensor) -> torch.Tensor:
        assert torch.equal(own, self.everyone[self.process_index])
        return torch.cat(self.everyone)


@pytest.mark.parametrize("total", [2, 3, 7, 9])
def test_processes_share_an_evaluation_and_all_know_all_of_it(total: int) -> None:
    values = torch.randn(total, 2, 5)
    ranks: list[Any] = [Ranks(rank, []) for rank in range(3)]
    shares = [values[own_rows(total, rank)] for rank in ranks]
    for rank, share in zip(ranks, shares, strict=True):
        rank.everyone = shares
        assert torch.equal(gathered(share, total, rank), values)
    alone = Accelerator(cpu=True)
    assert own_rows(total, alone) == list(range(total))
    assert torch.equal(gathered(values, total, alone), values)


@pytest.mark.slow
def test_two_processes_judge_as_one_does(make_braked: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path) -> None:
    found = []
    for processes, batch_size in ((1, 2), (2, 1)):
        config = make_braked(steps=2, processes=processes, batch_size=batch_size, pair_batch_size=0)
        trained = run(config, inputs, Store(str(tmp_path / str(processes))))
        found.append(trained.read_table("evaluations.parquet").to_pylist())
    for one, two in zip(*found, strict=True):
        assert one == pytest.approx(two, rel=1e-2)


def brake_of(config: TrainConfig) -> BrakeSettings:
    assert config.brake is not None
    return config.brake
