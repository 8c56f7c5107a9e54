import dataclasses
import json
import re
from pathlib import Path

import pytest

from comat_core.support.errors import UserError
from stages.studies.ablation.writing import as_markdown, as_page, write_results
from tests.stages.studies.ablation.made_up_summaries import make_results


def row_of(results, table, name):
    return next(result for result in results.tables[table][1] if result.row.name == name)


def test_means_and_sample_deviations_over_the_seeds():
    scores = row_of(make_results(), "fidelity", "without").scores
    assert scores["attribute_binding"].mean == pytest.approx(0.6)
    # Deviations -0.1, 0 and 0.1: the squares add up to 0.02, over 3 - 1 that is 0.01.
    assert scores["attribute_binding"].deviation == pytest.approx(0.1)
    assert scores["frechet_distance/judge"].mean == pytest.approx(33.0)
    assert scores["frechet_distance/judge"].deviation == pytest.approx(3.0)
    full = row_of(make_results(), "fidelity", "full").scores["attribute_binding"]
    assert full.mean == pytest.approx(0.4)
    assert full.deviation == pytest.approx(((0.05**2 + 0.01**2 + 0.04**2) / 2) ** 0.5)


def test_one_seed_tells_of_no_deviation():
    score = row_of(make_results(seeds=(2,)), "fidelity", "without").scores["attribute_binding"]
    assert (score.mean, score.deviation) == (0.6, None)


def test_metrics_that_the_preset_does_not_measure_are_left_out():
    assert list(make_results().metrics) == [
        "attribute_binding",
        "frechet_distance_ratio/dino",
        "frechet_distance/judge",
    ]


def test_ratios_to_the_base_model_come_from_the_changes_and_are_1_for_the_base_model():
    results = make_results()
    assert results.base["frechet_distance_ratio/dino"] == 1.0
    score = row_of(results, "fidelity", "without").scores["frechet_distance_ratio/dino"]
    assert score.mean == pytest.approx((1.5**2 + 1.65**2 + 1.8**2) / 3)
    assert not results.metrics["frechet_distance_ratio/dino"].higher_is_better


def test_a_measure_that_a_rows_training_looked_at_is_marked():
    marked = {
        (name, metric)
        for name in ("without", "full")
        for metric, score in row_of(make_results(), "fidelity", name).scores.items()
        if score.remark
    }
    assert marked == {("full", "frechet_distance_ratio/dino")}
    text = as_markdown(make_results())
    assert text.count("† not independent in this row: training looks at this network") == 1
    assert "† not independent in this row" in as_page(make_results())


def test_markdown_holds_every_row_with_the_papers_number_marked():
    lines = as_markdown(make_results()).splitlines()
    assert "Mean ± sample standard deviation over 3 training seeds (1, 2, 3)." in lines[2]
    assert "Settings: train.steps=4." in lines[2]
    table = lines[lines.index("## Fidelity") + 2 : lines.index("## Captioners") - 1]
    heads = ["Attribute binding", "Fréchet ratio to base, dino ↓", "Fréchet distance, judge ↓"]
    assert table == [
        f"|  | {' | '.join(heads)} | *the paper's FID-10K ↓* |",
        "| --- | --- | --- | --- | --- |",
        "| base model | 0.400 | 1.000 | 20.000 | *16.69* |",
        "| no D | 0.600 ± 0.100 | 2.738 ± 0.495 | 33.000 ± 3.000 | *19.02* |",
        "| UNet / D | 0.400 ± 0.046 | 0.904 ± 0.095 † | 19.000 ± 1.000 | *15.43* |",
        "",
        "† not independent in this row: training looks at this network",
    ]
    assert "| none | 0.400 ± 0.000 | 1.000 ± 0.000 | 20.000 ± 0.000 |  |" in lines


def test_without_the_papers_numbers_there_is_no_column_for_them():
    found = make_results()
    own = {name: (table.model_copy(update={"measured": None}), rows) for name, (table, rows) in found.tables.items()}
    results = dataclasses.replace(found, tables=own)
    text, page = as_markdown(results), as_page(results)
    assert "paper" not in text and "paper" not in page.split("</style>")[1]
    heads = "|  | Attribute binding | Fréchet ratio to base, dino ↓ | Fréchet distance, judge ↓ |"
    assert heads in text.splitlines()
    assert page.count("<th class") == 2 * 3
    assert {table["paper"] for table in results.as_json()["tables"].values()} == {None}


def test_json_holds_every_value():
    numbers = json.loads(json.dumps(make_results().as_json()))
    base = {"attribute_binding": 0.4, "frechet_distance_ratio/dino": 1.0, "frechet_distance/judge": 20.0}
    assert numbers["base"] == base
    assert numbers["seeds"] == [1, 2, 3]
    row = numbers["tables"]["fidelity"]["rows"]["without"]
    assert row["scores"]["frechet_distance/judge"]["values"] == {"1": 30.0, "2": 33.0, "3": 36.0}
    assert row["paper"] == 19.02
    assert row["keys"]["2"] == {"evaluate.attributes": "without-2", "evaluate.fidelity": "without-2"}


def test_page_says_better_or_worse_only_beyond_one_deviation():
    page = as_page(make_results())
    assert re.findall(r'<td class="number (better|worse|unclear)">', page) == [
        *("better", "worse", "worse"),  # 0.6 ± 0.1 against 0.4; 2.7 ± 0.5 against 1; 33 ± 3 against 20
        *("unclear", "unclear", "unclear"),  # 0.4 ± 0.05 against 0.4; 0.90 ± 0.09, but marked; 19 ± 1 against 20
        *("unclear", "unclear", "unclear"),
    ]
    assert page.count("<svg") == 3 * 2 + 3 * 3  # the base model in both tables, and each row
    assert "http" not in page.replace("http-equiv", "")  # nothing is fetched


def test_results_that_cannot_be_written_are_a_users_mistake(tmp_path: Path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match=r"cannot write the results: .* choose another --output"):
        write_results(make_results(), tmp_path / "file")
