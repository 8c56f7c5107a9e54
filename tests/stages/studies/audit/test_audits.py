"""Audits from their preset to their manifest, on tiny checkpoints."""

import json
from pathlib import Path

import pytest

from comat_core.support.errors import UserError
from stages import prompts as prompts_stage
from stages.images.image_rows import image_parts, read_images
from stages.plan.pipeline import fetch_files, make_plan
from stages.plan.presets import Preset
from stages.prompts.config import PromptsConfig, PromptSelection
from stages.prompts.tables import read_prompts
from stages.report import PAGE
from stages.store.artifacts import Artifact
from stages.store.store import Store
from stages.studies.audit.checking import REPORT, Answer, check_manifest
from stages.studies.audit.estimate import drawn_images, estimate, measured_seconds
from stages.studies.audit.manifest import AuditManifest, make_manifest, read_manifest
from tests.stages.studies.audit.audits import build_all, save_random_lora, small_audit

NAMES = {"base": "stock", "tuned": "with a LoRA"}


@pytest.fixture(scope="module")
def preset(tiny_sd_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Preset:
    lora = save_random_lora(tiny_sd_folder, tmp_path_factory.mktemp("lora"))
    return small_audit(str(lora), "judge", base=str(tiny_sd_folder))


@pytest.fixture(scope="module")
def finished(preset: Preset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, dict[str, Artifact]]:
    store = Store(str(tmp_path_factory.mktemp("store")))
    return store, build_all(make_plan(preset.sections), store)


@pytest.fixture
def written(preset: Preset, finished: tuple[Store, dict[str, Artifact]], tmp_path: Path) -> AuditManifest:
    """The audit's manifest, with the report beside it."""
    _, artifacts = finished
    page = artifacts["report"].read_bytes(PAGE)
    (tmp_path / REPORT).write_bytes(page)
    samplers = {role: one.sampler for role, one in drawn_images(preset).items()}
    return make_manifest(preset, make_plan(preset.sections), artifacts, NAMES, samplers, page)


def drawn(artifact: Artifact) -> list[bytes]:
    return [row.png for part in image_parts(artifact) for row in read_images(artifact, part)]


def test_a_lora_draws_other_images_than_its_base_and_they_are_compared_in_pairs(
    finished: tuple[Store, dict[str, Artifact]],
) -> None:
    _, artifacts = finished
    base, tuned = drawn(artifacts["images.base"]), drawn(artifacts["images.tuned"])
    assert len(base) == len(tuned) == 6
    assert not set(base) & set(tuned)
    summary = artifacts["evaluate.judge"].read_json("summary.json")
    assert set(summary["models"]) == {"base", "tuned"}
    assert set(summary["delta"]["all_right"]) == {"mean", "low", "high"}


def test_the_page_says_who_is_compared_and_speaks_of_no_training(finished: tuple[Store, dict[str, Artifact]]) -> None:
    page = finished[1]["report"].read_bytes(PAGE).decode()
    assert "CoMat audit" in page
    assert 'id="training"' not in page
    assert "by the fine-tuning alone" not in page


def test_scores_are_averaged_without_what_training_sources_hold_too(
    tiny_sd_folder: Path, store: Store, tmp_path: Path
) -> None:
    preset = small_audit(str(tiny_sd_folder), "judge", prompts=6)
    prompts = preset.sections["prompts"]
    assert isinstance(prompts, PromptsConfig)
    held_out = read_prompts(prompts_stage.run(prompts, {}, store), ["test"])
    skills = [row.skill for row in held_out]
    known = next(row for row in held_out if skills.count(row.skill) > 1)
    (tmp_path / "seen.txt").write_text(known.text)
    trained_on = (PromptSelection(file=str(tmp_path / "seen.txt"), split="train"), *prompts.train)
    sections = preset.sections | {"prompts": prompts.model_copy(update={"train": trained_on})}
    summary = build_all(make_plan(sections), store)["evaluate.judge"].read_json("summary.json")
    counts = {name: score["n"] for name, score in summary["models"]["base"].items()}
    assert counts[f"all_right/{known.skill}_not_in_training"] == counts[f"all_right/{known.skill}"] - 1


@pytest.mark.slow
def test_a_model_alone_has_scores_and_no_change(tiny_sd_folder: Path, store: Store) -> None:
    artifacts = build_all(make_plan(small_audit(str(tiny_sd_folder), "judge").sections), store)
    summary = artifacts["evaluate.judge"].read_json("summary.json")
    assert set(summary["models"]) == {"base"} and summary["delta"] == {}
    page = artifacts["report"].read_bytes(PAGE).decode()
    assert page.count('class="arrow"') == 0
    assert "All objects right" in page


def test_a_lora_of_another_model_is_told_before_anything_is_drawn(
    tiny_sd2_folder: Path, tmp_path: Path, store: Store
) -> None:
    lora = save_random_lora(Path("data/miniature/base"), tmp_path / "lora")
    plan = make_plan(small_audit(str(lora), "judge", base=str(tiny_sd2_folder)).sections)
    with pytest.raises(
        UserError, match=r"the LoRA does not fit a StableDiffusionPipeline: .*\(.*pytorch_lora_weights\.safetensors\)"
    ):
        fetch_files(plan, set(plan.by_name), set(), store)
    assert not list(store.entries({"prompts", "images.other"}))


def test_what_it_takes_is_told_before_it_starts(preset: Preset, store: Store) -> None:
    images = drawn_images(preset)
    told = "\n".join(estimate(preset, images, NAMES, store))
    assert "stock: 6 (test 6), 24 passes of its denoiser, twice for guidance; StableDiffusionPipeline" in told
    assert "judge: 12 images of 2 models" in told
    seconds = measured_seconds(images["tuned"])
    assert seconds is not None and seconds > 0


def test_a_manifest_holds_where_nothing_has_changed(
    written: AuditManifest, finished: tuple[Store, dict[str, Artifact]], tmp_path: Path
) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps(written.model_dump(mode="json")))
    found = check_manifest(read_manifest(tmp_path / "manifest.json"), tmp_path, finished[0])
    assert {one.answer for one in found} == {Answer.SAME}
    told = "\n".join(map(str, found))
    for claim in ("report.html", "audit.tuned.generator.lora", "evaluate.judge.judge", "prompts of the split test"):
        assert claim in told


def test_another_machine_without_the_store_finds_the_same_models_and_prompts(
    written: AuditManifest, store: Store, tmp_path: Path
) -> None:
    found = check_manifest(written, tmp_path, store)
    unknown = [one.what for one in found if one.answer is Answer.UNKNOWN]
    assert unknown == ["scores of evaluate.judge: the store has none; run the audit here"]
    assert not [one for one in found if one.answer is Answer.OTHER]


def test_what_is_not_as_the_manifest_says_differs(
    written: AuditManifest, store: Store, tmp_path: Path, tiny_sd2_folder: Path
) -> None:
    (tmp_path / REPORT).write_text("another page")
    better = json.loads(json.dumps(written.scores).replace('"mean": 0.', '"mean": 1.'))
    claimed = written.model_copy(update={"scores": better, "made_at": "2020-01-01T00:00:00Z"})
    other = [f"audit.base.generator.pipeline.path={tiny_sd2_folder}"]
    differing = [one.what for one in check_manifest(claimed, tmp_path, store, other) if one.answer is Answer.OTHER]
    assert [what.split(":")[0].split(" of ")[0] for what in differing] == [
        *("the manifest itself", "report.html beside it", "audit.base.generator.pipeline", "the keys"),
    ]


def test_a_model_that_is_not_here_is_unknown_and_no_difference(
    written: AuditManifest, store: Store, tmp_path: Path
) -> None:
    moved = ["audit.base.generator.pipeline.path=/nowhere/else/at/all"]
    found = {one.what.split(":")[0]: one.answer for one in check_manifest(written, tmp_path, store, moved)}
    assert found["audit.base.generator.pipeline"] is Answer.UNKNOWN
    assert Answer.OTHER not in found.values()


@pytest.mark.parametrize(
    ("content", "problem"),
    [("{}", "no manifest of an audit: made_at"), ("[1]", "the manifest of an audit is a list|object")],
)
def test_a_file_that_is_no_manifest_is_one_line(tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(UserError, match=problem):
        read_manifest(tmp_path / "manifest.json")
