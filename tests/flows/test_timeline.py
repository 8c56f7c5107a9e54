"""The flow remembers what its evaluations gave, and `comat timeline` draws it."""

from pathlib import Path
from typing import Any

import pytest

import flows.comat as flow_module
from flows.command_line.cli import main
from flows.execution import Outcome
from stages.plan.history import read_history
from stages.store.artifacts import Artifact
from stages.store.store import Store
from tests.stages.fake_run import make_artifact, summary


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str | None]:
    """Let the flow find finished artifacts instead of making them; gives the time lines that it published."""
    shown: list[str | None] = []

    def outcome(artifact: Artifact) -> Outcome:
        return Outcome(key=artifact.key, path=artifact.url, cached=True, seconds=0.0, artifact=artifact)

    def carry_out(_plan: Any, wanted: set[str], store: Store, _execution: Any) -> dict[str, Outcome]:
        train = make_artifact(store, "train", key="lora", documents={"x.json": 1})
        document = summary("attributes", {"attribute_binding": 0.25}, {"attribute_binding": 0.5}, 5)
        document["artifacts"] = {"lora": "lora"}
        scores = make_artifact(store, "evaluate.attributes", key="scores", documents={"summary.json": document})
        outcomes = {"train": outcome(train), "evaluate.attributes": outcome(scores)}
        return {name: one for name, one in outcomes.items() if name in wanted}

    monkeypatch.setattr(flow_module, "carry_out", carry_out)
    monkeypatch.setattr(flow_module, "publish", lambda _preset, _outcomes, timeline: shown.append(timeline))
    monkeypatch.chdir(tmp_path)
    return shown


def test_a_run_is_remembered_under_its_preset_and_drawn(
    published: list[str | None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(str(tmp_path / "store"))
    flow_module.comat.fn("miniature", store=store.url)
    (result,) = read_history(store, "miniature")
    assert (result.evaluation, result.key, result.lora) == ("evaluate.attributes", "scores", "lora")
    assert published == [f"{store.url}/.history/miniature/timeline.html"]
    assert main(["timeline", "miniature", "--store", store.url, "--output", "line.html"]) == 0
    assert capsys.readouterr().out == "line.html\n"
    assert "One training so far" in (tmp_path / "line.html").read_text()


def test_a_run_that_is_recorded_under_another_name_has_a_time_line_of_its_own(
    published: list[str | None], tmp_path: Path
) -> None:
    store = Store(str(tmp_path / "store"))
    flow_module.comat.fn("miniature", store=store.url, recorded_as="an ablation: no D, seed 1")
    assert read_history(store, "miniature") == []
    assert [result.lora for result in read_history(store, "an ablation: no D, seed 1")] == ["lora"]
    assert published[0] is not None


def test_a_run_without_evaluations_publishes_no_time_line(published: list[str | None], tmp_path: Path) -> None:
    flow_module.comat.fn("miniature", only=["train"], store=str(tmp_path / "store"))
    assert published == [None]
