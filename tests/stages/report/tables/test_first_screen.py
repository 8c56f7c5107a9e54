"""The first screen: what was gained, what became of fidelity, and a warning in words when that got worse."""

import pytest

from stages.report.pictures.charts import Interval
from stages.report.tables.first_screen import fidelity_verdict, first_screen
from stages.report.tables.scores import Evaluation, score_rows
from tests.stages.fake_run import fidelity_summary, summary

JUDGED = {"judge": "the judge sees little else"}


def benchmark(document):
    return Evaluation(document["benchmark"], "protocol", None, None, score_rows(document))


def screen(*documents):
    scores = (
        summary("spatial", {"spatial": 0.1}, {"spatial": 0.3}, 10),
        summary("attributes", {"attribute_binding": 0.2}, {"attribute_binding": 0.4}, 10),
        summary("judge", {"all_right": 0.14, "exact": 0.1}, {"all_right": 0.16, "exact": 0.1}, 10),
    )
    return first_screen([benchmark(document) for document in (*scores, *documents)])


def test_judge_vqa_and_independent_fidelity_come_first_each_with_a_verdict():
    found = screen(fidelity_summary({"dino": 0.8, "judge": 0.7}, remarks=JUDGED))
    leading = [(card.title, card.row.name, card.in_words) for card in found["headlines"]]
    assert leading == [
        ("All objects right, by the judge", "all_right", "no clear change"),
        ("Attribute binding, by VQA", "attribute_binding", "better"),
        ("Fidelity, by independent features", "frechet_distance/dino", "better"),
    ]
    assert [card.title for card in found["further_headlines"]] == ["Spatial relations"]
    assert found["warnings"] == []
    meaning = found["headlines"][2].meaning
    assert "by the features of dino; lower is better. Real images among themselves: 0.125" in meaning


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [
        (Interval(1.02, 1.01, 1.03), "worse"),  # little, but beyond chance
        (Interval(1.06, 0.9, 1.2), "worse"),  # too much to be called chance
        (Interval(1.04, 0.9, 1.2), "unclear"),
        (Interval(0.9, 0.8, 1.0), "unclear"),
        (Interval(0.9, 0.8, 0.99), "better"),
    ],
)
def test_fidelity_is_worse_beyond_chance_or_beyond_5_percent(ratio, verdict):
    assert fidelity_verdict(ratio) == verdict


def test_a_loss_that_the_judge_cannot_see_is_told_in_words():
    document = fidelity_summary({"dino": 1.53, "dino_patches": 1.44, "judge": 0.71}, remarks=JUDGED)
    found = screen(document)
    ((what, told),) = found["warnings"]
    assert what == "Fidelity got worse."
    assert "Fréchet distance, dino × 1.530 [1.430, 1.630]; Fréchet distance, dino patches × 1.440" in told
    assert "judge" not in told
    assert "chance" not in told
    assert found["headlines"][2].verdict == "worse"


def test_a_loss_by_any_independent_network_is_told_though_the_headline_is_kept():
    found = screen(fidelity_summary({"dino": 1.0, "dino_patches": 1.3}))
    ((_, told),) = found["warnings"]
    assert "dino patches × 1.300" in told
    assert "dino ×" not in told
    assert found["headlines"][2].verdict == "unclear"


def test_a_loss_within_its_interval_is_told_as_possibly_chance():
    ((_, told),) = screen(fidelity_summary({"dino": 1.06}))["warnings"]
    assert "× 1.060 [0.960, 1.160], which may be chance" in told


def test_the_judges_own_loss_alone_is_no_warning_where_others_measured():
    assert screen(fidelity_summary({"dino": 0.9, "judge": 1.5}, remarks=JUDGED))["warnings"] == []


def test_features_that_training_looked_at_are_not_called_independent():
    remarks = {"dino": "training looks at this network (train.discriminator.model)", **JUDGED}
    found = screen(fidelity_summary({"dino": 0.8, "judge": 1.2}, remarks=remarks))
    card = found["headlines"][2]
    assert card.title == "Fidelity, by features that are not independent"
    (none, worse) = found["warnings"]
    assert none[0] == "No independent features measured fidelity."
    assert "Fréchet distance, dino: training looks at this network (train.discriminator.model)" in none[1]
    assert "judge × 1.200" in worse[1]  # where there is nothing better, the judge's loss counts


def test_fid_warns_as_well():
    document = summary("fid", {"fid": 16.0, "clip_score": 0.3}, {"fid": 20.0, "clip_score": 0.3}, 10_000)
    document["delta"]["fid_ratio"] = {"mean": 1.25, "low": 1.2, "high": 1.3}
    found = screen(document)
    assert found["headlines"][2].title == "FID"
    assert found["warnings"][0][1].endswith("FID × 1.250 [1.200, 1.300].")


def test_gains_without_any_fidelity_are_told_to_be_unproven():
    assert screen()["warnings"][0][0] == "Fidelity was not measured."
    assert first_screen([]) == {"headlines": [], "further_headlines": [], "warnings": []}


def test_rows_tell_features_from_skills():
    rows = {row.name: row for row in score_rows(fidelity_summary({"dino": 1.5, "judge": 0.7}, remarks=JUDGED))}
    row = rows["frechet_distance/dino"]
    assert (row.skill, row.metric.label) == (None, "Fréchet distance, dino")
    assert row.ratio == Interval(1.5, 1.4, 1.6)
    assert row.real == Interval(0.125, 0.1, 0.15)
    assert (row.is_headline, row.independent) == (True, True)
    judge = rows["frechet_distance/judge"]
    assert (judge.is_headline, judge.independent, judge.remark) == (False, False, "the judge sees little else")
    binding = score_rows(summary("attributes", {"attribute_binding/color": 0.2}, {"attribute_binding/color": 0.2}, 5))
    assert binding[0].skill == "color"
