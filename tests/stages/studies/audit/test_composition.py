"""The preset of an audit: what it takes from another, and what it leaves out."""

from pathlib import Path

import pytest

from comat_core.support.errors import UserError
from stages.plan.pipeline import make_plan
from stages.plan.presets import as_yaml, load_preset
from stages.prompts.config import PromptsConfig
from stages.studies.audit.composition import Request, compose_audit
from stages.studies.audit.subjects import read_subjects
from tests.stages.studies.audit.audits import FAST, small_audit

BASE = "data/miniature/base"


def test_an_audit_has_no_node_of_a_training() -> None:
    names = set(make_plan(small_audit(BASE, against=BASE).sections).by_name)
    assert not names & {"train", "latents", "pairs", "entities"}
    assert {"images.base", "images.tuned.fidelity", "scores.judge.tuned", "evaluate.fidelity", "report"} <= names
    alone = set(make_plan(small_audit(BASE).sections).by_name)
    assert not any("tuned" in name for name in alone)
    assert alone == {name for name in names if "tuned" not in name}


def test_all_benchmarks_of_the_preset_apply_that_measure_what_draws() -> None:
    names = set(make_plan(small_audit(BASE).sections).by_name)
    assert {name for name in names if name.startswith("evaluate.")} == {
        *("evaluate.attributes", "evaluate.attributes_official", "evaluate.spatial", "evaluate.spatial_official"),
        *("evaluate.complex", "evaluate.judge", "evaluate.fidelity"),
    }


def test_only_the_splits_of_the_chosen_benchmarks_are_drawn_and_no_more_prompts_than_wanted() -> None:
    preset = small_audit(BASE, "judge")
    prompts = preset.sections["prompts"]
    assert isinstance(prompts, PromptsConfig)
    assert [(one.source, one.count) for one in prompts.evaluation] == [("miniature/held_out", 3)]
    assert set(make_plan(preset.sections).by_name) == {
        *("prompts", "images.base", "scores.judge.base", "evaluate.judge", "report")
    }


def test_a_benchmark_brings_those_that_it_reads() -> None:
    assert {"evaluate.attributes", "evaluate.spatial"} < set(small_audit(BASE, "complex").sections)


@pytest.mark.parametrize(("modes", "expected"), [("official", ["official"]), ("corrected", ["corrected"])])
def test_protocols_of_two_modes_can_be_measured_in_one(modes: str, expected: list[str]) -> None:
    subjects = read_subjects(BASE, None, None, FAST)
    request = Request(*subjects, benchmarks=("attributes",), modes=modes)  # type: ignore[arg-type]
    sections = compose_audit(load_preset("miniature"), request).sections
    found = [getattr(config, "mode", None) for name, config in sections.items() if name.startswith("evaluate.")]
    assert found == expected


def test_both_modes_are_measured_of_the_same_images() -> None:
    plan = make_plan(small_audit(BASE, "attributes").sections).by_name
    corrected, official = plan["scores.attributes.base"], plan["scores.attributes_official.base"]
    assert corrected.inputs == official.inputs
    assert (corrected.config.mode, official.config.mode) == ("corrected", "official")  # type: ignore[attr-defined]


def test_the_preset_is_the_same_once_saved_and_read_again(tmp_path: Path) -> None:
    preset = small_audit(BASE, against=BASE)
    (tmp_path / "audit.yaml").write_text(as_yaml(preset))
    read = load_preset(str(tmp_path / "audit.yaml"))
    assert read.sections == preset.sections
    keys = [{node.name: node.key for node in make_plan(one.sections).nodes} for one in (preset, read)]
    assert keys[0] == keys[1]


@pytest.mark.parametrize(
    ("benchmark", "problem"),
    [
        ("beauty", "there is no benchmark 'beauty' .* choose from attributes, spatial"),
        ("sensitivity", "sensitivity measures the model that rewards a training"),
        ("tifa", "the preset miniature has no settings for tifa"),
        ("fidelity", "fidelity measures sets of them alone .* attributes, spatial, complex, judge"),
    ],
)
def test_a_benchmark_that_does_not_apply_is_one_line(benchmark: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        small_audit(BASE, benchmark)


def test_an_audit_is_no_source_of_benchmarks(tmp_path: Path) -> None:
    (tmp_path / "audit.yaml").write_text(as_yaml(small_audit(BASE, "judge")))
    with pytest.raises(UserError, match="the preset is an audit itself"):
        compose_audit(load_preset(str(tmp_path / "audit.yaml")), Request(*read_subjects(BASE, None, None, FAST)))
