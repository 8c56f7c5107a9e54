"""Presets: values, overrides, and one clear line for every mistake."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from comat_core.support.errors import UserError
from data.registry import select_sets
from stages.plan import dag
from stages.plan.config import ModelReference
from stages.plan.pipeline import make_plan
from stages.plan.presets import as_yaml, load_preset, preset_names
from tests.fakes.dag import NODES, PRESET


@pytest.fixture
def _fake_dag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dag, "NODES", NODES)


@pytest.mark.parametrize("name", preset_names())
def test_shipped_preset_is_complete_and_survives_a_round_trip(name: str, tmp_path: Path) -> None:
    preset = load_preset(name)
    (tmp_path / f"{name}.yaml").write_text(as_yaml(preset))
    assert load_preset(str(tmp_path / f"{name}.yaml")) == preset


@pytest.mark.parametrize(
    ("name", "online", "weight", "batch"),
    [("sd15", 5e-5, 1.0, 4), ("sd15-8gpu", 5e-5, 1.0, 4), ("sdxl", 2e-5, 0.5, 6)],
)
def test_large_presets_follow_table_8(name: str, online: float, weight: float, batch: int) -> None:
    values = yaml.safe_load(as_yaml(load_preset(name)))
    train = values["train"]
    assert (train["online"]["learning_rate"], train["weights"]["fidelity"], train["batch_size"]) == (
        online,
        weight,
        batch,
    )
    assert train["online"]["betas"] == [0.9, 0.999]
    assert (train["online"]["gradient_clip"], train["discriminator"]["gradient_clip"]) == (0.1, 1.0)
    assert (train["discriminator"]["learning_rate"], train["discriminator"]["betas"]) == (5e-5, [0.0, 0.999])
    assert (train["weights"]["attribute_region"], train["weights"]["attribute_pixel"]) == (1e-3, 5e-5)
    assert (train["online"]["rank"], train["pair_batch_size"], train["processes"]) == (128, 2, 8)
    assert (train["steps"], train["precision"], values["resolution"]) == (2000, "fp16", 512)
    sampling = train["sampling"]
    assert (sampling["num_inference_steps"], sampling["guidance_scale"], sampling["scheduler"]) == (50, 7.5, "ddpm")
    assert (sampling["gradient_steps"], sampling["attention_steps"]) == (5, 2)


@pytest.mark.parametrize("name", ["sd15", "sd15-8gpu", "sd15-small-gpu", "sdxl"])
def test_large_presets_pin_every_model_of_the_hub_by_a_commit(name: str) -> None:
    def references(value: Any) -> Iterator[ModelReference]:
        if isinstance(value, ModelReference):
            yield value
        elif isinstance(value, BaseModel):
            for field in type(value).model_fields:
                yield from references(getattr(value, field))

    sections = load_preset(name).sections
    found = [reference for section in sections.values() for reference in references(section)]
    on_the_hub = [reference for reference in found if not reference.path.startswith("./coco")]
    assert len({reference.path for reference in on_the_hub}) >= 6
    assert all(re.fullmatch("[0-9a-f]{40}", reference.revision or "") for reference in on_the_hub)


def test_the_small_gpu_takes_as_many_prompts_and_images_per_step_as_the_paper() -> None:
    def per_step(name: str) -> list[int]:
        train = yaml.safe_load(as_yaml(load_preset(name)))["train"]
        micro_batches = train["processes"] * train["gradient_accumulation"]
        return [micro_batches * train["batch_size"], micro_batches * train["pair_batch_size"]]

    assert per_step("sd15-small-gpu") == per_step("sd15-8gpu") == per_step("sd15") == [32, 16]


@pytest.mark.parametrize("name", preset_names())
def test_maps_are_of_the_images_that_the_report_shows(name: str) -> None:
    sections = load_preset(name, ["images.sampling.num_inference_steps=3", "images.seed=7"]).sections
    maps, images = sections["attention"].model_dump(), sections["images"].model_dump()
    for setting in ("seed", "resolution", "base", "vae", "sampling", "precision", "batch_size"):
        assert maps[setting] == images[setting]
    assert (maps["sampling"]["num_inference_steps"], maps["seed"]) == (3, 7)


def test_maps_may_have_settings_of_their_own() -> None:
    settings = ["images.sampling.guidance_scale=3", "attention.sampling.num_inference_steps=2", "attention.seed=8"]
    sections = load_preset("miniature", settings).sections
    maps, images = sections["attention"].model_dump(), sections["images"].model_dump()
    assert maps["sampling"] == {**images["sampling"], "num_inference_steps": 2}
    assert (maps["seed"], images["seed"]) == (8, 1)


@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_large_presets_hold_every_benchmark_with_its_authors_number_of_images(name: str) -> None:
    sections = load_preset(name).sections
    samples = sections["images"].model_dump()["samples"]
    assert samples == {"test": 10, "tifa": 1, "dpg": 4, "dsg": 1, "geneval": 4, "fidelity": 1}
    nodes = make_plan(sections).by_name
    for benchmark in ("attributes", "spatial", "clip_score", "complex", "tifa", "dpg", "dsg", "geneval", "fid"):
        assert f"evaluate.{benchmark}" in nodes
    splits = {"attributes": "test", "tifa": "tifa", "dpg": "dpg", "dsg": "dsg", "geneval": "geneval", "fid": "fidelity"}
    for benchmark, split in splits.items():
        drawn = nodes[nodes[f"scores.{benchmark}.tuned"].inputs["images"]].config.model_dump()
        assert list(drawn["samples"]) == [split]


@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_complex_prompts_have_the_scores_that_their_mean_takes(name: str) -> None:
    sections = {key: config.model_dump() for key, config in load_preset(name).sections.items()}
    evaluated = [selection["source"] for selection in sections["prompts"]["evaluation"]]
    complex_sets = [one for pattern in evaluated for _, one in select_sets(pattern) if "complex" in one.name]
    parts = sections["evaluate.complex"]["parts"]
    assert {one.skill: one.prompts for one in complex_sets} == {
        "complex_spatial": 58,
        "complex_action": 212,
        "complex_spatial_action": 30,
    }
    assert set(parts) == {one.skill for one in complex_sets}
    roles = {"attribute_binding": "attributes", "spatial": "spatial", "clip_score": "clip_score"}
    for skill, scores in parts.items():
        assert all(skill in sections[f"evaluate.{roles[score]}"]["skills"] for score in scores)


def test_the_prompts_of_abc6k_are_drawn_not_cut_off() -> None:
    for name in ("sd15", "sdxl"):
        train = yaml.safe_load(as_yaml(load_preset(name)))["prompts"]["train"]
        (abc6k,) = [entry for entry in train if entry["source"] == "abc6k/prompts"]
        assert abc6k["count"] == 5000


@pytest.mark.parametrize("name", preset_names())
def test_reference_latents_are_sampled_as_training_samples(name: str) -> None:
    values = yaml.safe_load(as_yaml(load_preset(name)))
    for setting, value in values["latents"]["sampling"].items():
        assert values["train"]["sampling"][setting] == value, setting


def test_an_override_changes_one_place_though_an_alias_stands_in_several() -> None:
    changed = load_preset(
        "sd15", ["images.sampling.guidance_scale=3", "evaluate.clip_score.clip.revision=abc"]
    ).sections
    before = load_preset("sd15").sections
    different = {name for name, config in changed.items() if config != before[name]}
    assert different == {"images", "attention", "evaluate.clip_score"}  # maps are drawn as the images are


@pytest.mark.parametrize("setting", ["num_inference_steps=7", "guidance_scale=5", "scheduler=ddpm"])
def test_training_that_would_sample_unlike_the_reference_latents_is_refused(setting: str) -> None:
    message = r"train\.sampling\.\w+ = .* differs from latents\.sampling\.\w+ = .*set both alike"
    with pytest.raises(UserError, match=message):
        load_preset("miniature", [f"train.sampling.{setting}"])
    preset = load_preset("miniature", [f"train.sampling.{setting}", f"latents.sampling.{setting}"])
    assert set(preset.sections) == set(load_preset("miniature").sections)


@pytest.mark.usefixtures("_fake_dag")
class TestFakePreset:
    def test_shared_values_reach_the_stages_that_declare_them(self) -> None:
        preset = load_preset(PRESET, ["seed=7"])
        assert preset.sections["numbers"].model_dump() == {"seed": 7, "count": 6, "speed": 1}
        assert "seed" not in preset.sections["squares"].model_dump()

    def test_a_stages_own_value_wins_over_the_shared_one(self) -> None:
        assert load_preset(PRESET, ["numbers.seed=9"]).sections["numbers"].model_dump()["seed"] == 9

    def test_execution_settings_are_no_part_of_any_section(self) -> None:
        preset = load_preset(PRESET, ["execution.workers=4", "execution.runner=dask"])
        assert (preset.shared.execution.workers, preset.shared.execution.runner) == (4, "dask")
        assert preset.sections == load_preset(PRESET).sections

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("numbers.count=0", r"numbers\.count = 0 is not allowed: Input should be greater than or equal to 1"),
            ("numbers.count=many", r"numbers\.count = 'many' is not allowed"),
            ("numbers.cuont=3", r"unknown setting numbers\.cuont .*known settings here: seed, count, speed"),
            ("nubmers.count=3", r"unknown setting nubmers .*numbers"),
            ("seed=-1", "seed = -1 is not allowed"),
            ("resolution=63", "resolution = 63 is not allowed"),
            ("execution.runner=slurm", r"execution\.runner = 'slurm' is not allowed"),
            ("models.other=org/name", r"models\.other is used by no stage"),
            ("numbers=3", "section numbers has no settings inside"),
            ("seed.x=3", "seed in seed.x has no settings inside"),
            ("seed", r"cannot read 'seed' \(--set\)"),
            ("=3", "cannot read '=3'"),
            ("seed={a: ]", "cannot read the value of"),
        ],
    )
    def test_wrong_override_is_told_in_one_line(self, override: str, message: str) -> None:
        with pytest.raises(UserError, match=message) as caught:
            load_preset(PRESET, [override])
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"a: [1\nb: 2", r"malformed YAML: .*line 2"),
            (b"\xff\xfe\x00", "not UTF-8 text .*byte 0"),
            (b"a: \x01", "malformed YAML"),
            (b"seed: 1\nresolution: 64\nseed: 2", r"malformed YAML: 'seed' is given twice .*line 1"),
            (b"- 1\n- 2", "no mapping of settings"),
            (b"", "no mapping of settings"),
            (b"seed: 1\nresolution: 64", "setting description is missing"),
        ],
    )
    def test_wrong_file_is_told_in_one_line(self, content: bytes, message: str, tmp_path: Path) -> None:
        (tmp_path / "mine.yaml").write_bytes(content)
        with pytest.raises(UserError, match=message) as caught:
            load_preset(str(tmp_path / "mine.yaml"))
        assert "\n" not in str(caught.value)

    def test_a_preset_may_extend_another(self, tmp_path: Path) -> None:
        (tmp_path / "base.yaml").write_text("description: base\nseed: 4\nresolution: 64\nnumbers: {count: 3, speed: 2}")
        mine = tmp_path / "mine.yaml"
        mine.write_text(f"extends: {tmp_path / 'base.yaml'}\ndescription: mine\nnumbers: {{speed: 7}}")
        preset = load_preset(str(mine), ["seed=5"])
        assert (preset.name, preset.shared.description) == ("mine", "mine")
        assert preset.sections["numbers"].model_dump() == {"seed": 5, "count": 3, "speed": 7}

    def test_presets_that_extend_each_other_are_told(self, tmp_path: Path) -> None:
        one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
        one.write_text(f"extends: {two}")
        two.write_text(f"extends: {one}")
        with pytest.raises(UserError, match=r"the preset extends itself, by way of .*one.yaml.*two.yaml"):
            load_preset(str(one))

    @pytest.mark.parametrize("name", ["nope", "", "tests"])
    def test_unknown_preset_is_told_with_the_known_ones(self, name: str) -> None:
        with pytest.raises(UserError, match=f"unknown preset '{name}'.*miniature, .*sd15, .*sdxl"):
            load_preset(name)
