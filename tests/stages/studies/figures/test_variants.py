"""Which trainings a figure shows: those of the ablation that the store holds, in order, and what is said of others."""

from pathlib import Path

import pytest

from comat_core.support.errors import UserError
from stages.plan.pipeline import make_plan
from stages.plan.presets import load_preset
from stages.sampling import TUNED
from stages.store.store import Store
from stages.studies.figures.variants import (
    ROWS_OF_FIGURES,
    Column,
    ImageRow,
    find_columns,
    held_out_prompts,
    list_rows,
    variants_of,
)
from tests.stages.fake_run import make_artifact, prompts_table


def trained(store: Store, figure: str, *names: str, preset: str = "miniature") -> None:
    """Put finished trainings of some rows into a store."""
    for variant in variants_of(figure, names, preset, ()):
        key = variant.plan.by_name["train"].key
        make_artifact(store, "train", key=key, documents={"row.json": variant.row.name})


def labels(columns: list[Column]) -> list[str]:
    return [column.label for column in columns]


@pytest.mark.parametrize("figure", ROWS_OF_FIGURES)
def test_columns_are_the_base_model_and_the_figures_trainings(figure: str, store: Store) -> None:
    trained(store, figure)
    columns, missing = find_columns(variants_of(figure, (), "miniature", ()), store)
    expected = {
        "parts": ["concept activation", "concept activation, attribute concentration"],
        "fidelity": ["no discriminator", "UNet, generated latents"],
    }
    assert labels(columns) == ["base model", *expected[figure]]
    assert [column.adapter for column in columns] == [None, TUNED, TUNED]
    assert missing == []


def test_rows_of_fidelity_differ_in_fidelity_preservation_alone() -> None:
    without, with_it = (
        variant.plan.by_name["train"].config for variant in variants_of("fidelity", (), "miniature", ())
    )
    one, other = without.model_dump(), with_it.model_dump()
    assert one.pop("weights") == {**other.pop("weights"), "fidelity": 0}
    assert one == other


def test_the_whole_method_is_the_run_that_the_preset_itself_describes() -> None:
    *_, whole = variants_of("parts", (), "miniature", ())
    assert whole.plan.by_name["train"].key == make_plan(load_preset("miniature").sections).by_name["train"].key


def test_settings_of_the_user_hold_for_every_variant() -> None:
    found = variants_of("parts", (), "miniature", ["train.steps=7", "train.seed=5"])
    for variant in found:
        config = variant.plan.by_name["train"].config
        assert (getattr(config, "steps", None), getattr(config, "seed", None)) == (7, 5)


def test_what_is_not_trained_is_left_out_and_told_with_its_command(store: Store) -> None:
    trained(store, "parts", "activation_concentration")
    columns, missing = find_columns(variants_of("parts", (), "miniature", ()), store)
    assert labels(columns) == ["base model", "concept activation, attribute concentration"]
    command = "`comat ablate miniature --row activation --seeds 1` with the same --set and --store"
    assert missing == [f"concept activation is not trained here: run {command}"]


def test_a_store_without_any_is_told_with_the_command_for_all(store: Store) -> None:
    with pytest.raises(UserError) as caught:
        find_columns(variants_of("fidelity", (), "miniature", ()), store)
    assert str(caught.value) == (
        f"the store holds none of the figure's trainings (store {store.url}): run `comat ablate miniature"
        " --row no_discriminator --row unet_generated --seeds 1` with the same --set and --store first"
    )


def test_a_damaged_training_is_no_missing_one(store: Store, tmp_path: Path) -> None:
    trained(store, "parts")
    key = variants_of("parts", (), "miniature", ())[0].plan.by_name["train"].key
    (tmp_path / "store" / "train" / key / "row.json").write_text("changed")
    with pytest.raises(UserError, match="the train artifact of this preset is damaged"):
        find_columns(variants_of("parts", (), "miniature", ()), store)


def test_variants_of_other_tables_stand_in_the_users_order() -> None:
    found = variants_of("fidelity", ["git", "no_discriminator", "git"], "miniature", ())
    assert [variant.row.name for variant in found] == ["git", "no_discriminator"]


def test_an_unknown_variant_is_told_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"unknown variant 'gti' \(--variant\): choose one of: no_discriminator, "):
        variants_of("fidelity", ["gti"], "miniature", ())


def test_every_prompt_has_every_seed_and_a_noise_of_its_own() -> None:
    assert list_rows(["a", "b"], [4, 9]) == [
        ImageRow("a", 0, 4),
        ImageRow("a", 0, 9),
        ImageRow("b", 1, 4),
        ImageRow("b", 1, 9),
    ]


def test_prompts_are_held_out_ones_drawn_by_the_seed(store: Store) -> None:
    preset = load_preset("miniature")
    rows = [(f"p{number}", f"prompt {number}", "colour", "test") for number in range(9)]
    key = make_plan(preset.sections).by_name["prompts"].key
    with pytest.raises(UserError, match=r"run `comat run mine\.yaml --only prompts`"):
        held_out_prompts(preset, store, "mine.yaml", 3)
    table = prompts_table([*rows, ("t", "a training prompt", "colour", "train")])
    make_artifact(store, "prompts", key=key, tables={"prompts.parquet": table})
    found = held_out_prompts(preset, store, "mine.yaml", 3)
    assert found == held_out_prompts(preset, store, "mine.yaml", 100)[:3]
    everything = held_out_prompts(preset, store, "mine.yaml", 100)
    assert sorted(everything) == [text for _, text, _, _ in rows]
    assert everything != sorted(everything)
