"""The run's scores beside published ones."""

import pytest
from pydantic import ValidationError

from data.paper_results import PublishedResults, load_paper_results
from stages.report.tables.published_scores import compare_with_paper
from stages.report.tables.scores import Evaluation, score_rows
from stages.store.store import Store
from tests.stages.fake_run import make_artifact, summary


def prompts_of(store, rows):
    import pyarrow as pa

    fields = ("prompt_id", "text", "source", "skill", "split")
    table = pa.Table.from_pylist([dict(zip(fields, row, strict=True)) for row in rows])
    return make_artifact(store, "prompts", tables={"prompts.parquet": table})


def benchmark(name, scores, skills=None, mode: str | None = "corrected"):
    tuned = {metric: value + 0.1 for metric, value in scores.items()}
    return Evaluation(name, "protocol", mode, skills, score_rows(summary(name, scores, tuned, 5)))


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


def test_published_numbers_are_those_of_the_tables():
    rows = {(row.benchmark, row.label): row.scores for row in load_paper_results().rows}
    assert rows["T2I-CompBench", "color"] == {
        "sd15": 0.3758,
        "comat_sd15": 0.6734,
        "sdxl": 0.5879,
        "comat_sdxl": 0.7827,
    }
    assert rows["TIFA", "all questions"]["comat_sdxl"] == 0.875
    assert rows["GenEval", "mean of six tasks"] == {"sd15": 0.43, "sdxl": 0.55}
    assert rows["ATM", "success on long prompts"] == {"sd15": 0.511, "comat_sd15": 0.504}
    assert len(rows) == 12


def test_rows_match_by_metric_and_skill(store):
    prompts = prompts_of(
        store,
        [
            ("a", "x", "t2i_compbench/color_val", "color", "test"),
            ("b", "x", "miniature/held_out", "spatial", "test"),
            ("c", "x", "tifa/prompts", "faithfulness", "tifa"),
        ],
    )
    benchmarks = [
        benchmark(
            "attributes", {"attribute_binding": 0.5, "attribute_binding/color": 0.4, "attribute_binding/hats": 0.3}
        ),
        benchmark("spatial", {"spatial": 0.2}, skills=("spatial",)),
        benchmark("tifa", {"tifa": 0.7, "tifa/color": 0.6}, mode=None),
    ]
    table = compare_with_paper(benchmarks, prompts)
    assert [(row.published.label, row.own.name, row.same_prompts) for row in table.rows] == [
        ("color", "attribute_binding/color", True),
        ("spatial", "spatial", False),
        ("all questions", "tifa", True),
    ]
    assert table.rows[0].changes == {
        "comat_sd15": pytest.approx(0.6734 - 0.3758),
        "comat_sdxl": pytest.approx(0.7827 - 0.5879),
    }
    assert list(table.models) == ["sd15", "comat_sd15", "sdxl", "comat_sdxl"]
    assert [note.split(":")[0] for note in table.notes] == ["T2I-CompBench, spatial", "TIFA, all questions"]


def test_the_score_of_all_prompts_stands_for_their_only_skill(store):
    prompts = prompts_of(store, [("a", "x", "t2i_compbench/shape_val", "shape", "test")])
    table = compare_with_paper([benchmark("attributes", {"attribute_binding": 0.5})], prompts)
    assert [(row.published.label, row.same_prompts) for row in table.rows] == [("shape", True)]


def test_a_mean_over_several_skills_is_no_skills_score(store):
    rows = [(skill, "x", f"t2i_compbench/{skill}_val", skill, "test") for skill in ("shape", "color")]
    assert not compare_with_paper([benchmark("attributes", {"attribute_binding": 0.5})], prompts_of(store, rows)).rows


def test_a_name_that_stands_nowhere_is_found():
    broken = load_paper_results().model_dump()
    broken["rows"][0]["scores"] = {"sd16": 0.5}
    with pytest.raises(ValidationError, match="names that stand nowhere: \\['sd16'\\]"):
        PublishedResults.model_validate(broken)
