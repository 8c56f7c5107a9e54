"""A benchmark is one file: a toy one appears wherever the others do, and nothing but its file says so."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import stages.evaluate
from flows.command_line.cli import main
from stages.evaluate.declared.registry import benchmarks, metrics, splits
from stages.plan import dag
from stages.plan.pipeline import make_plan
from stages.plan.presets import load_preset
from stages.report.pictures.charts import series_of
from stages.report.pictures.figures import choose_axes
from stages.report.tables.first_screen import first_screen
from stages.report.tables.prompt_scores import ranking_metric, read_prompt_scores
from stages.report.tables.prompt_table import table_metrics
from stages.report.tables.scores import read_evaluation
from stages.store.store import Store
from tests.flows.deployed import undeployed
from tests.stages.evaluate.evaluations import evaluate
from tests.stages.evaluate.made_up_images import GREY, RED, make_inputs

TOY = '''
"""Redness: how red an image is, in [0, 1]."""

from typing import ClassVar

import pyarrow as pa
from pydantic import Field

from stages.evaluate.declared.benchmark import Benchmark, Metric
from stages.evaluate.scoring.images.generated_images import decode_images
from stages.evaluate.scoring.comparisons import compare_items, comparison
from stages.evaluate.scoring.image_scores import identity_of, image_scores, item_schema
from stages.evaluate.scoring.settings import EvaluationConfig

METRIC = "redness"


class ToyConfig(EvaluationConfig):
    split: ClassVar[str] = "toys"

    shade: float = Field(default=1.0, gt=0, description="that the redness is multiplied with")


def score_images(config, images, prompts):
    pixels = decode_images([image.png for image in images])
    redness = config.shade * (pixels[:, 0] - pixels[:, 1]).mean(dim=(1, 2))
    return [{**identity_of(image), METRIC: score} for image, score in zip(images, redness.tolist(), strict=True)]


def compare(config, inputs, writer):
    compare_items(config, inputs, writer, [METRIC], benchmark="toy", protocol="red less green")


SCORES = image_scores(
    benchmark="toy",
    version=1,
    config_type=ToyConfig,
    schema=item_schema((METRIC, pa.float64())),
    score=score_images,
)
STAGE = comparison(benchmark="toy", version=1, config_type=ToyConfig, compare=compare)
BENCHMARK = Benchmark(
    name="toy",
    place=15,
    split="toys",
    metrics=(
        Metric(
            name=METRIC,
            label="Redness",
            meaning="how red it is",
            headline=1,
            title="Red, by arithmetic",
            skills=("toy",),
            in_prompt_table=True,
            is_drawn=True,
        ),
    ),
    scores=SCORES,
    explain_item=lambda item: [f"red: {item[METRIC]:.2f}"],
)
'''
SETTINGS = ("images.samples={test: 2, fidelity: 1, toys: 1}", "evaluate.toy={shade: 0.5}")
PROMPTS = [("t0", "a red toy", "toy", "toys"), ("t1", "a grey toy", "toy", "toys")]


@pytest.fixture
def _toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One more module in the package of benchmarks."""
    (tmp_path / "toy.py").write_text(TOY)
    with monkeypatch.context() as patch:
        patch.setattr(stages.evaluate, "__path__", [*stages.evaluate.__path__, str(tmp_path)])
        patch.setattr(dag, "NODES", dag.make_nodes())
        yield
    del sys.modules["stages.evaluate.toy"]
    delattr(stages.evaluate, "toy")


def test_the_benchmarks_are_the_modules_of_their_package_in_their_order() -> None:
    folder = Path(stages.evaluate.__path__[0])
    names = [benchmark.name for benchmark in benchmarks()]
    assert sorted(names) == sorted(file.stem for file in folder.glob("*.py") if file.stem != "__init__")
    assert names[:2] == ["attributes", "spatial"]
    assert splits() == ("test", "tifa", "dpg", "dsg", "geneval", "fidelity")


def test_no_two_benchmarks_or_metrics_take_the_same_place() -> None:
    places = [benchmark.place for benchmark in benchmarks()]
    of_metrics = [metric for benchmark in benchmarks() for metric in benchmark.metrics]
    headlines = [metric.headline for metric in of_metrics if metric.headline is not None]
    ranking = [metric.ranking for metric in of_metrics if metric.ranking is not None]
    for found in (places, headlines, ranking, [metric.name for metric in of_metrics]):
        assert len(set(found)) == len(found)


@pytest.mark.usefixtures("_toy")
def test_a_new_benchmark_is_part_of_the_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "evaluate.toy" not in make_plan(load_preset("miniature").sections).by_name  # for presets that name it
    plan = make_plan(load_preset("miniature", SETTINGS).sections)
    assert plan.by_name["evaluate.toy"].inputs == {
        "prompts": "prompts",
        "base": "scores.toy.base",
        "tuned": "scores.toy.tuned",
    }
    assert plan.by_name["scores.toy.tuned"].inputs == {"prompts": "prompts", "images": "images.tuned.toys"}
    assert plan.by_name["evaluate.toy"].config.model_dump()["shade"] == 0.5
    assert plan.by_name["report"].inputs["evaluate.toy"] == "evaluate.toy"
    names = list(plan.by_name)
    assert names.index("evaluate.attributes") < names.index("evaluate.toy") < names.index("evaluate.spatial")
    given = [argument for setting in SETTINGS for argument in ("--set", setting)]
    assert main(["status", "miniature", "--store", str(tmp_path / "store"), *given]) == 0
    steps = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert {"images.base.toys", "scores.toy.base", "scores.toy.tuned", "evaluate.toy"} <= set(steps)


@pytest.mark.usefixtures("_toy")
def test_a_new_benchmark_stands_in_the_reports_tables_and_pictures(store: Store) -> None:
    toy = sys.modules["stages.evaluate.toy"]
    images = make_inputs(store, PROMPTS, {"t0": GREY, "t1": GREY}, {"t0": RED, "t1": GREY})
    artifact = evaluate(toy, toy.ToyConfig(seed=1, resamples=100), images, store)
    evaluation = read_evaluation(artifact)
    (row,) = evaluation.rows
    assert (row.metric.label, row.base.mean, row.tuned.mean) == ("Redness", 0.0, 0.5)
    (card,) = first_screen([evaluation])["headlines"]
    assert (card.title, card.meaning) == ("Red, by arithmetic", "how red it is")
    (axis,) = choose_axes([evaluation], series_of(["base", "tuned"]))
    assert axis.label == "Redness"
    scores = read_prompt_scores({"evaluate.toy": artifact})
    assert table_metrics(scores) == ["redness"]
    assert ranking_metric(scores.values(), "toy story") == "redness"
    assert scores["t0"].change("redness") == 1.0
    assert scores["t0"].told("tuned", 0) == "red: 1.00"


@pytest.mark.usefixtures("_toy")
def test_a_new_benchmark_without_a_deployment_is_found_by_the_check_of_prefect_yaml() -> None:
    assert undeployed() == ["evaluate.toy"]


@pytest.mark.usefixtures("_toy")
def test_a_new_benchmark_is_known_while_it_is_there() -> None:
    assert "redness" in metrics()
    assert "toys" in splits()


def test_a_benchmark_that_is_gone_is_forgotten() -> None:
    assert "redness" not in metrics()
    assert undeployed() == []
