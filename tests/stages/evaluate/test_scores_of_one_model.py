"""What is scored again when a part of a run changes, and what is not: every image that a model scores is noted."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from comat_core.metrics.distances import frechet_comparison, neighbourhoods
from comat_core.scorers.judge import PairVocabulary
from stages.evaluate.scoring.images import feature_extractors
from stages.plan.pipeline import Plan, make_plan
from stages.plan.presets import load_preset
from stages.plan.refreshes import begin_refresh
from stages.store.artifacts import Artifact
from stages.store.store import Store, input_records
from tests.stages.fake_run import flat_png, images_table, prompts_tables

COLOURS = {"base": (128, 128, 128), "tuned": (255, 0, 0), "mine": (0, 255, 0), "real": (0, 0, 255)}
PROMPTS = [
    *[(f"t{index}", "a red circle", "colour", "test") for index in range(2)],
    *[(f"f{index}", "a circle", "fidelity", "fidelity") for index in range(2)],
]
SETTINGS = (
    "evaluate={attributes: {resamples: 100}, judge: {resamples: 100}}",
    "evaluate.fidelity={resamples: 100, neighbours: 1, extractors: {dino: {kind: patch_mean, model: org/dino}}}",
)
EVALUATIONS = ["evaluate.attributes", "evaluate.judge", "evaluate.fidelity"]

Seen = Counter[tuple[str, str]]
"""(scoring model, whose image) -> how many it saw."""


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    found: Seen = Counter()
    owners: dict[tuple[int, ...], str] = {colour: owner for owner, colour in COLOURS.items()}

    def note(scorer: str, images: torch.Tensor) -> None:
        for image in images:
            pixels = image[:, 0, 0] if image.dtype == torch.uint8 else image[:, 0, 0] * 255
            found[scorer, owners[tuple(int(value) for value in pixels.round())]] += 1

    class Answerer:
        def probability_of_yes(self, images, questions, _places):
            note("attributes", images)
            return torch.full((len(questions),), 0.5)

    class Judge:
        vocabulary = PairVocabulary(["red circle", "blue square"])

        def look_at(self, images):
            note("judge", images)
            return torch.zeros(len(images), 2), None

        def as_pairs(self, probabilities):
            return dict(zip(self.vocabulary.pairs, probabilities.tolist(), strict=True))

    def network(images: torch.Tensor) -> torch.Tensor:
        note("fidelity", images)
        return images.float().mean(dim=(2, 3))[:, None] + torch.arange(len(images)).view(-1, 1, 1)

    answerer, judge = Answerer(), Judge()
    monkeypatch.setattr(
        "comat_core.scorers.visual_question_answering.VisualQuestionAnswerer.load", lambda *_, **__: answerer
    )
    monkeypatch.setattr("comat_core.scorers.judge.Judge.load", lambda *_, **__: judge)
    monkeypatch.setattr(feature_extractors, "_patch_tokens", lambda *_: network)
    return found


@pytest.fixture
def resampled(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a bootstrap worked out distances, or neighbourhoods."""
    found: Counter[str] = Counter()

    def counted(module: ModuleType, name: str) -> None:
        function = getattr(module, name)

        def count(*arguments: Any) -> Any:
            found[name] += 1
            return function(*arguments)

        monkeypatch.setattr(module, name, count)

    counted(frechet_comparison, "resampled_distances")
    counted(neighbourhoods, "resampled_counts")
    return found


@pytest.fixture
def plan_of(tmp_path: Path) -> Callable[..., Plan]:
    real = tmp_path / "real"
    real.mkdir()
    for index in range(6):
        (real / f"{index}.png").write_bytes(flat_png(COLOURS["real"], side=64))

    def make(*settings: str) -> Plan:
        places = f"evaluate.fidelity.real={{folder: {real}, count: 6}}"
        return make_plan(load_preset("miniature", [*SETTINGS, places, *settings]).sections)

    return make


def evaluate(plan: Plan, store: Store) -> None:
    """Make up prompts, training and images, and build what is made of them as far as the store lacks it."""
    made: dict[str, Artifact] = {}
    wanted = plan.wanted(EVALUATIONS)
    for node in plan.nodes:
        inputs = {role: made[source] for role, source in node.inputs.items() if source in made}
        if node.name.startswith(("scores.", "distances.", "evaluate.")) and node.name in wanted:
            made[node.name] = node.stage.run(node.config, inputs, store)
        elif node.name in ("prompts", "train") or node.name.startswith("images."):
            made[node.name] = store.look_up(node.stage.name, node.key, inputs).artifact or made_up(node, inputs, store)


def made_up(node, inputs, store: Store) -> Artifact:
    settings = {"version": node.stage.version, "config": node.config.model_dump(mode="json")}
    writer = store.writer(node.stage.name, node.key, settings, input_records(inputs))
    if node.name == "prompts":
        for name, table in prompts_tables(PROMPTS).items():
            writer.write_table(name, table)
    elif node.name.startswith("images."):
        _, model, *split = node.name.split(".")
        rows = [(key, one, 0, flat_png(COLOURS[model], side=64)) for key, _, _, one in PROMPTS]
        chosen = [row for row in rows if row[1] == (split[0] if split else "test")]
        writer.write_table("images/00000.parquet", images_table(chosen))
    return writer.finish()


ALL = {("attributes", "base"): 2, ("judge", "base"): 2, ("fidelity", "base"): 2}
ALL_TUNED = {(scorer, "tuned"): count for (scorer, _), count in ALL.items()}


def test_every_image_is_seen_once(seen: Seen, plan_of: Callable[..., Plan], store: Store) -> None:
    evaluate(plan_of(), store)
    assert seen == {**ALL, **ALL_TUNED, ("fidelity", "real"): 6}


def test_a_training_that_is_refreshed_has_its_own_images_scored_again_and_no_others(
    seen: Seen, plan_of: Callable[..., Plan], store: Store
) -> None:
    plan = plan_of()
    evaluate(plan, store)
    seen.clear()
    renewed = plan.renewed(["train"], plan.wanted(EVALUATIONS))
    assert {name for name in renewed if name.startswith("scores.")} == {
        "scores.attributes.tuned",
        "scores.judge.tuned",
        "scores.fidelity.tuned",
    }
    begin_refresh(plan, renewed, store)
    evaluate(plan, store)
    assert seen == ALL_TUNED


def test_another_training_scores_its_own_images_alone(seen: Seen, plan_of: Callable[..., Plan], store: Store) -> None:
    evaluate(plan_of(), store)
    seen.clear()
    evaluate(plan_of("train.steps=7"), store)
    assert seen == ALL_TUNED


@pytest.mark.usefixtures("seen")
def test_a_bootstrap_of_distances_is_done_again_for_the_model_that_changed_alone(
    resampled: Counter[str], plan_of: Callable[..., Plan], store: Store
) -> None:
    def times(count: int) -> dict[str, int]:
        return {"resampled_distances": count, "resampled_counts": count}

    evaluate(plan_of(), store)
    assert resampled == times(3)  # base, tuned, and the real images among themselves
    for settings in ("train.steps=7", "images.others={mine: {pipeline: org/mine}}"):
        resampled.clear()
        evaluate(plan_of(settings), store)
        assert resampled == times(1), settings
    resampled.clear()
    evaluate(plan_of("evaluate.fidelity.resamples=200"), store)
    assert resampled == times(3)


def test_a_further_generator_is_scored_alone(seen: Seen, plan_of: Callable[..., Plan], store: Store) -> None:
    evaluate(plan_of(), store)
    seen.clear()
    evaluate(plan_of("images.others={mine: {pipeline: org/mine}}"), store)
    assert seen == {(scorer, "mine"): 2 for scorer in ("attributes", "judge", "fidelity")}


def test_other_settings_of_the_bootstrap_score_nothing_again(
    seen: Seen, plan_of: Callable[..., Plan], store: Store
) -> None:
    before = plan_of()
    evaluate(before, store)
    seen.clear()
    after = plan_of(*(f"{name}.resamples=200" for name in EVALUATIONS), "evaluate.judge.seed=5")
    evaluate(after, store)
    assert not seen
    assert all(before.by_name[name].key != after.by_name[name].key for name in EVALUATIONS)


def test_two_models_that_draw_the_same_images_are_scored_once(plan_of: Callable[..., Plan]) -> None:
    """A score's key is that of the images: no name of a model is in it."""
    plan = plan_of("images.others={one: {pipeline: org/x}, two: {pipeline: org/x}}")
    one, two = (plan.by_name[f"scores.judge.{name}"].key for name in ("one", "two"))
    assert one == two
