from pathlib import Path
from typing import Any, cast

import pytest

from comat_core.support.errors import UserError
from stages.plan.config import ModelReference
from stages.plan.pipeline import make_plan
from stages.plan.presets import load_preset, preset_lineage, preset_names
from stages.studies.ablation.settings import Row, load_ablation
from stages.studies.ablation.variants import Variant, distinct_runs, list_variants, overrides
from stages.train.config import TrainConfig
from tests.scaled_down import SETTINGS

SHARED_STEPS = ("prompts", "entities", "pairs", "latents", "images.base", "images.base.fidelity")


def train_config(variant: Variant) -> TrainConfig:
    config = variant.plan.by_name["train"].config
    assert isinstance(config, TrainConfig)
    return config


def test_shared_rows_of_several_tables_are_one_run():
    variants = list_variants(load_ablation(), "miniature", (), seeds=3)
    assert len(variants) == 3 * (5 + 2 + 3)
    runs = distinct_runs(variants)
    assert len(runs) == 3 * 8
    assert [run.seed for run in runs] == [1] * 8 + [2] * 8 + [3] * 8


def test_variants_differ_in_their_training_alone():
    variants = list_variants(load_ablation(), "miniature", SETTINGS, seeds=2)
    plans = [variant.plan.by_name for variant in distinct_runs(variants)]
    for name in SHARED_STEPS:
        assert len({plan[name].key for plan in plans}) == 1, name
    # One more than in full: the preset's own training takes fewer real images here than the row of real latents does.
    assert len({plan["train"].key for plan in plans}) == 2 * 9


def test_the_full_method_with_the_first_seed_is_the_presets_own_training():
    variants = list_variants(load_ablation().select(["parts"]), "miniature", (), seeds=1)
    own = make_plan(load_preset("miniature").sections).by_name
    full = next(variant for variant in variants if variant.row.name == "activation_concentration")
    assert full.keys == {name: own[name].key for name in full.keys}
    assert set(full.keys) == {"evaluate.attributes", "evaluate.judge", "evaluate.fidelity"}


@pytest.mark.parametrize("preset", preset_names())
def test_the_discriminator_of_real_latents_sees_as_many_of_them_as_generated_ones(preset: str):
    (row,) = load_ablation().select(["fidelity"], ["unet_real"]).tables["fidelity"].rows
    config = load_preset(preset, [*overrides(row, preset_lineage(preset))]).sections["train"]
    assert isinstance(config, TrainConfig)
    assert config.pair_batch_size == config.batch_size


def test_rows_are_what_the_paper_compares():
    variants = list_variants(load_ablation(), "miniature", (), seeds=1)
    configs = {variant.row.name: train_config(variant) for variant in variants}

    def told(name: str) -> tuple[float, str, str, bool, int]:
        config = configs[name]
        judge = config.discriminator
        return (config.weights.fidelity, judge.network.kind, judge.real, config.mixed_latents, config.denoised_pairs)

    assert told("no_discriminator")[0] == 0
    assert told("unet_real")[1:] == ("denoiser", "real", False, 0)
    assert told("unet_generated")[1:] == ("denoiser", "generated", False, 0)
    assert told("dino_generated")[1:] == ("dinov2", "generated", False, 0)
    full = configs["unet_generated_mixed"]
    preset = configs["activation"].weights.fidelity
    assert told("unet_generated_mixed") == (preset, "denoiser", "generated", True, full.pair_batch_size)
    assert preset > 0
    assert full.pair_batch_size > 0
    assert configs["activation"].weights.attribute_region == configs["activation"].weights.attribute_pixel == 0
    assert configs["git"].captioning.kind == "git"
    assert configs["git"].captioner == ModelReference(path="data://miniature/git")
    assert configs["blip"].captioner == ModelReference(path="data://miniature/captioner")
    assert configs["none"].weights.concept_activation == 0
    assert configs["none"].weights.attribute_region > 0


@pytest.mark.parametrize("preset", ["miniature", "sd15", "sd15-small-gpu", "sdxl"])
def test_every_row_is_a_valid_training_of_every_preset(preset: str):
    lineage = preset_lineage(preset)
    for table in load_ablation().tables.values():
        for row in table.rows:
            load_preset(preset, [*overrides(row, lineage)])


def test_a_row_holds_against_the_users_settings():
    ablation = load_ablation().select(rows=["no_discriminator"])
    (variant,) = list_variants(ablation, "miniature", ["train.weights.fidelity=2", "train.seed=7"], seeds=1)
    config = train_config(variant)
    assert (config.weights.fidelity, config.seed) == (0, 7)


def test_lineage_is_the_preset_and_what_it_extends(tmp_path: Path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: sd15-8gpu\n")
    assert preset_lineage(str(mine)) == ("mine", "sd15-8gpu", "sd15")
    row = Row(name="git", label="GIT", presets={"sd15": {"captioner": {"path": "a/b"}}})
    assert list(overrides(row, preset_lineage(str(mine)))) == ['train.captioner={"path": "a/b"}']


def test_a_row_that_does_not_know_the_preset_says_so():
    row = Row(name="git", label="GIT", presets={"sd15": {"captioner": {"path": "a/b"}}})
    with pytest.raises(UserError, match=r"the row 'git' knows no models for the preset 'mine' .* extend one of sd15"):
        list(overrides(row, ("mine",)))


def test_selection_keeps_the_named_tables_and_rows():
    chosen = load_ablation().select(["parts", "fidelity"], ["activation"])
    assert {name: [row.name for row in table.rows] for name, table in chosen.tables.items()} == {
        "parts": ["activation"]
    }


@pytest.mark.parametrize(
    ("tables", "rows", "message"),
    [
        (["fidelty"], [], r"unknown table 'fidelty' \(--table\): choose one of: fidelity, parts, captioner"),
        (["parts"], ["git"], r"unknown row 'git' \(--row\): choose one of: activation, activation_concentration"),
    ],
)
def test_unknown_names_are_refused(tables: list[str], rows: list[str], message: str):
    with pytest.raises(UserError, match=message):
        load_ablation().select(tables, rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tables: [", "malformed YAML"),
        ("metrics: []\ntables: {}", "metrics is not allowed"),
        (
            "metrics: [{evaluation: judge, metric: exact}]\n"
            "tables: {t: {title: T, measured: M, higher_is_better: true,"
            " rows: [{name: a, label: A}, {name: a, label: B}]}}",
            r"tables\.t\.rows is not allowed: .* the same name",
        ),
    ],
)
def test_a_malformed_ablation_is_a_users_mistake(tmp_path: Path, text: str, message: str):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_ablation(str(path))


@pytest.mark.parametrize("preset", ["miniature", "sd15", "sdxl"])
def test_what_is_rewarded_differs_from_row_to_row(preset: str):
    lineage = preset_lineage(preset)
    (table,) = load_ablation("rewards").tables.values()
    configs: dict[str, Any] = {
        row.name: load_preset(preset, [*overrides(row, lineage)]).sections["train"] for row in table.rows
    }
    assert configs["likelihood"] == load_preset(preset).sections["train"]
    rewarded = {name: (config.weights.concept_activation > 0, *config.rewards) for name, config in configs.items()}
    assert rewarded == {
        "likelihood": (True,),
        "contrast": (False, "contrast"),
        "questions": (False, "questions"),
        "likelihood_questions": (True, "questions"),
        "contrast_questions": (False, "contrast", "questions"),
    }


def test_rows_of_concentration_differ_in_its_weights_by_factors():
    (table,) = load_ablation("concentration").tables.values()
    weights = {}
    for row in table.rows:
        config = load_preset("miniature", [*overrides(row, preset_lineage("miniature"))]).sections["train"]
        assert isinstance(config, TrainConfig)
        weights[row.name] = (config.weights.attribute_region, config.weights.attribute_pixel)
    alpha, beta = weights["paper"]
    factors = {"none": 0, "paper": 1, "hundredfold": 100, "thousandfold": 1000}
    assert weights == {name: pytest.approx((factor * alpha, factor * beta)) for name, factor in factors.items()}
    (parts,) = load_ablation().select(["parts"]).tables.values()
    assert table.rows[0].settings == parts.rows[0].settings
    assert weights["paper"] == (1e-3, 5e-5)


def test_rows_of_estimators_differ_in_the_gradient_and_what_costs_more_takes_fewer_steps():
    (table,) = load_ablation("estimators").tables.values()
    rows: dict[str, TrainConfig] = {}
    for row in table.rows:
        config = load_preset("miniature-ablation", [*overrides(row, preset_lineage("miniature-ablation"))])
        rows[row.name] = cast(TrainConfig, config.sections["train"])
    own = cast(TrainConfig, load_preset("miniature-ablation").sections["train"])
    assert rows["strided"] == own
    told = {
        name: (
            config.sampling.gradient_steps,
            config.sampling.gradient_step_draw,
            config.sampling.detach_denoiser_input,
        )
        for name, config in rows.items()
    }
    assert told == {
        "strided": (2, "strided", True),
        "uniform": (2, "uniform", True),
        "one": (1, "strided", True),
        "four": (4, "strided", True),
        "chosen_chain": (2, "strided", False),
        "full_chain": (own.sampling.num_inference_steps, "strided", False),
    }
    steps = {name: config.steps for name, config in rows.items()}
    assert (
        steps["one"]
        > steps["uniform"]
        == steps["strided"]
        > steps["chosen_chain"]
        > steps["four"]
        > steps["full_chain"]
    )


def test_an_unknown_ablation_is_told_with_those_that_are_shipped():
    with pytest.raises(
        UserError,
        match=r"unknown ablation 'reward' \(--ablation\): choose one of: concentration, estimators, paper, rewards; or",
    ):
        load_ablation("reward")
