"""The history of a preset's evaluations, and the time line that is drawn of it."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages.plan.config import StageConfig
from stages.plan.history import HISTORY, read_history, record_results
from stages.report.timeline import timeline_page, write_timeline
from stages.store.store import Store, input_records
from tests.stages.fake_run import fidelity_summary, make_artifact, summary

PRESET = "mine"


class Settings(StageConfig):
    """Settings of the made-up evaluation."""

    skills: int = 1


def node_of(name: str, settings: Settings) -> Any:
    return SimpleNamespace(name=name, config=settings, stage=SimpleNamespace(payload_of=Settings.key_payload))


def plan_of(settings: Settings) -> Any:
    node = node_of("evaluate.attributes", settings)
    return SimpleNamespace(nodes=[SimpleNamespace(name="train", config=settings), node])


def evaluate(
    store: Store,
    training: str,
    finished_at: str,
    tuned: float,
    *,
    skills: int = 1,
    base: str = "base",
    preset: str = PRESET,
) -> int:
    """Make up one training with its evaluation, and record it."""
    train = make_artifact(store, "train", key=training, documents={"x.json": 1})
    train.manifest.finished_at = finished_at
    images = make_artifact(store, "images", key=base, documents={"x.json": 1})
    document = summary("attributes", {"attribute_binding": 0.25}, {"attribute_binding": tuned}, prompts=5)
    document["artifacts"] = {"lora": training}
    writer = store.writer(
        "evaluate.attributes",
        f"of-{training}-{skills}-{base}",
        {"version": 1, "config": {}},
        input_records({"base": images}),
    )
    writer.write_json("summary.json", document)
    artifacts = {"train": train, "evaluate.attributes": writer.finish()}
    return record_results(store, preset, plan_of(Settings(skills=skills)), artifacts)


def test_results_come_back_in_the_order_of_the_trainings(any_store: Store) -> None:
    assert evaluate(any_store, "b", "2026-02-02T00:00:00Z", 0.5) == 1
    evaluate(any_store, "a", "2026-03-03T00:00:00Z", 0.75)
    evaluate(any_store, "c", "2026-01-01T00:00:00Z", 0.3, preset="other: a, b")
    results = read_history(any_store, PRESET)
    assert [(result.lora, result.trained_at[:10]) for result in results] == [("b", "2026-02-02"), ("a", "2026-03-03")]
    assert results[0].summary["models"]["tuned"]["attribute_binding"]["mean"] == 0.5
    assert [result.lora for result in read_history(any_store, "other: a, b")] == ["c"]
    assert read_history(any_store, "unknown") == []


@pytest.mark.parametrize("preset", ["я" * 43, "画" * 255, "." * 300, "a/b" * 100, "\0" * 90])
def test_a_name_of_any_length_has_a_history(store: Store, preset: str) -> None:
    evaluate(store, "a", "2026-01-01T00:00:00Z", 0.5, preset=preset)
    evaluate(store, "b", "2026-01-02T00:00:00Z", 0.5, preset=f"{preset}!")
    assert [result.lora for result in read_history(store, preset)] == ["a"]
    assert write_timeline(store, preset).endswith("/timeline.html")


def test_recording_a_result_again_changes_nothing(store: Store) -> None:
    evaluate(store, "a", "2026-01-01T00:00:00Z", 0.5)
    before = read_history(store, PRESET)
    evaluate(store, "a", "2026-01-01T00:00:00Z", 0.5)
    assert read_history(store, PRESET) == before


def test_results_that_were_measured_alike_have_one_setting(store: Store) -> None:
    evaluate(store, "a", "2026-01-01T00:00:00Z", 0.5)
    evaluate(store, "b", "2026-01-02T00:00:00Z", 0.5)
    evaluate(store, "c", "2026-01-03T00:00:00Z", 0.5, skills=2)
    evaluate(store, "d", "2026-01-04T00:00:00Z", 0.5, base="other images")
    first, second, third, fourth = (result.setting for result in read_history(store, PRESET))
    assert first == second
    assert len({first, third, fourth}) == 3


def test_history_outlives_the_artifacts(store: Store) -> None:
    evaluate(store, "a", "2026-01-01T00:00:00Z", 0.5)
    artifacts = [(stage, key) for stage in store.root.subfolders() for key in (store.root / stage).subfolders()]
    for stage, key in artifacts:
        if not stage.startswith("."):
            store.discard(stage, key)
            assert not store.folder(stage, key).sizes()
    assert [result.lora for result in read_history(store, PRESET)] == ["a"]


def test_an_evaluation_of_no_training_is_left_out(store: Store) -> None:
    artifact = make_artifact(store, "evaluate.attributes", documents={"summary.json": {"benchmark": "sensitivity"}})
    assert record_results(store, PRESET, plan_of(Settings()), {"evaluate.attributes": artifact}) == 0
    assert read_history(store, PRESET) == []


def marks(page: str, model: str) -> list[tuple[float, float]]:
    found = re.findall(rf'<circle class="dot {model}" cx="([\d.]+)" cy="([\d.]+)"', page)
    return [(float(x), float(y)) for x, y in found]


def test_points_stand_in_order_and_higher_scores_higher(store: Store) -> None:
    for number, tuned in enumerate((0.3, 0.5, 0.4)):
        evaluate(store, f"lora{number}", f"2026-01-0{number + 1}T12:30:00Z", tuned)
    page = timeline_page(store, PRESET)
    tuned = marks(page, "tuned")
    assert [x for x, _ in tuned] == sorted(x for x, _ in tuned)
    heights = [-y for _, y in tuned]
    assert heights[0] < heights[2] < heights[1]
    assert len({y for _, y in marks(page, "base")}) == 1
    assert len(re.findall('<path class="trend tuned"', page)) == 1
    assert "3 trainings, from 2026-01-01 12:30 to 2026-01-03 12:30 UTC" in page
    assert page.index("lora2") < page.index("lora1") < page.index("lora0")


def test_of_fidelity_the_headlines_distance_is_drawn(store: Store) -> None:
    train = make_artifact(store, "train", key="a", documents={"x.json": 1})
    document = fidelity_summary({"dino": 1.5, "judge": 0.7}) | {"artifacts": {"lora": "a"}}
    artifact = make_artifact(store, "evaluate.fidelity", documents={"summary.json": document})
    node = node_of("evaluate.fidelity", Settings())
    assert record_results(store, PRESET, SimpleNamespace(nodes=[node]), {"train": train, node.name: artifact}) == 1  # pyright: ignore[reportArgumentType]
    page = timeline_page(store, PRESET)
    assert page.count("<figure") == 1
    assert "<figcaption>Fréchet distance, dino</figcaption>" in page
    assert "tuned 3.000 at last" in page


def test_results_that_were_measured_otherwise_are_not_connected(store: Store) -> None:
    evaluate(store, "a", "2026-01-01T00:00:00Z", 0.5)
    evaluate(store, "b", "2026-01-02T00:00:00Z", 0.6, skills=2)
    page = timeline_page(store, PRESET)
    assert len(marks(page, "tuned")) == 2
    assert '<path class="trend' not in page
    assert "measured in 2 ways" in page


@pytest.mark.parametrize("trainings", [0, 1])
def test_few_trainings_make_a_page_too(store: Store, trainings: int) -> None:
    for number in range(trainings):
        evaluate(store, f"lora{number}", "2026-01-01T00:00:00Z", 0.5)
    page = timeline_page(store, "mine")
    assert len(marks(page, "tuned")) == trainings
    assert ("One training so far" if trainings else "No training has been evaluated yet") in page
    assert "nan" not in page


def test_page_is_written_beside_the_records_and_escapes_them(store: Store) -> None:
    preset = "<script>x</script>/../../.."
    evaluate(store, "<i>lora</i>", "2026-01-01T00:00:00Z", 0.5, preset=preset)
    url = write_timeline(store, preset)
    path = Path(url.removeprefix("file://"))
    assert path.parent.parent == Path(store.root.path) / HISTORY
    text = path.read_text()
    assert "<script>" not in text
    assert "<i>" not in text
    assert [result.lora for result in read_history(store, preset)] == ["<i>lora</i>"]
