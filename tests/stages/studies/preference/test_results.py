"""A study's results, from answers whose outcome is known."""

from pathlib import Path

import pytest

from comat_core.support.errors import UserError
from stages.studies.preference.answers import Answer, AnswerBook
from stages.studies.preference.folder import read_key, read_study
from stages.studies.preference.raters import raters_up_to
from stages.studies.preference.results import StudyResults, Vote, gather, summarise
from stages.studies.preference.writing import as_lines, as_page
from tests.stages.studies.preference.made_up_study import make_study


def vote(folder: Path, preferences: dict[int, list[str]], question: str = "alignment") -> None:
    """Let raters answer by the models' names, pair by pair; "" leaves one out."""
    study = read_study(folder)
    key = read_key(folder, study)
    raters_up_to(folder, max(preferences))
    book = AnswerBook(folder, study, list(preferences))
    for rater, chosen in preferences.items():
        for pair, preference in zip(study.pairs, chosen, strict=True):
            tuned = key.pairs[pair.pair].tuned
            base = "right" if tuned == "left" else "left"
            if preference:
                choice = {"tuned": tuned, "base": base, "tie": "tie"}[preference]
                book.add(rater, Answer.model_validate({"pair": pair.pair, "question": question, "choice": choice}))


def test_shares_are_those_of_the_models_whatever_the_side(tmp_path: Path) -> None:
    folder = make_study(tmp_path, pairs=6)
    vote(folder, {1: ["tuned"] * 4 + ["base", "tie"], 2: ["tuned"] * 3 + ["base", "base", ""]})
    vote(folder, {2: ["tie"] * 6}, "quality")
    found = gather(folder)
    assert (found.pairs, found.raters, found.answers) == (6, 2, 17)
    alignment, quality = found.questions
    assert alignment.counts == {"tuned": 7, "tie": 1, "base": 3}
    assert alignment.shares["tuned"].mean == pytest.approx(7 / 11)
    assert alignment.lead.mean == pytest.approx(4 / 11)
    assert alignment.of_model("base")["loss"] == alignment.of_model("tuned")["win"] == alignment.shares["tuned"]
    for estimate in alignment.shares.values():
        assert estimate.low <= estimate.mean <= estimate.high
    assert sum(estimate.mean for estimate in alignment.shares.values()) == pytest.approx(1)
    assert alignment.alpha is not None
    assert (quality.counts["tie"], quality.alpha) == (6, None)


def test_agreement_is_about_models_not_sides() -> None:
    votes = [Vote(rater, f"{pair:04d}", "tuned" if pair % 2 else "base") for rater in (1, 2) for pair in range(10)]
    assert summarise("alignment", votes).alpha == 1.0


def test_json_holds_wins_ties_and_losses_of_both_models(tmp_path: Path) -> None:
    folder = make_study(tmp_path, pairs=4)
    vote(folder, {1: ["tuned", "tuned", "tie", "base"]})
    document = gather(folder).as_json()
    models = document["questions"]["alignment"]["models"]
    assert {name: models["tuned"][name]["mean"] for name in ("win", "tie", "loss")} == {
        "win": 0.5,
        "tie": 0.25,
        "loss": 0.25,
    }
    assert models["base"]["win"] == models["tuned"]["loss"]
    assert set(models["base"]["win"]) == {"mean", "low", "high", "n"}


def test_results_do_not_change_from_call_to_call(tmp_path: Path) -> None:
    folder = make_study(tmp_path, pairs=4)
    vote(folder, {1: ["tuned", "tuned", "tie", "base"], 2: ["tuned", "base", "tie", "base"]})
    assert gather(folder).as_json() == gather(folder).as_json()


def test_a_study_without_answers_has_no_results(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there are no answers yet .*comat study serve"):
        gather(make_study(tmp_path))


def made_up(preset: str, preferences: list[str]) -> StudyResults:
    votes = [Vote(1, f"{number:04d}", one) for number, one in enumerate(preferences)]  # pyright: ignore[reportArgumentType]
    return StudyResults(preset, "test", len(votes), 1, len(votes), [summarise("quality", votes)])


def test_the_lines_say_which_way_it_is_certain() -> None:
    certain = "\n".join(as_lines(made_up("a", ["tuned"] * 50 + ["base"] * 5)))
    assert "tuned preferred 90.9 % [" in certain
    assert "]: tuned is preferred" in certain
    assert "]: base is preferred" in "\n".join(as_lines(made_up("a", ["tuned"] * 5 + ["base"] * 50)))
    assert "]: unclear" in "\n".join(as_lines(made_up("a", ["tuned", "base"] * 20)))


def test_the_page_stacks_the_shares_and_escapes_what_it_says() -> None:
    page = as_page(made_up("<script>alert(1)</script>", ["tuned"] * 5 + ["tie"] * 2 + ["base"] * 3))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert page.count("<rect") == 3
    widths = [float(part.split('width="')[1].split('"')[0]) for part in page.split("<rect")[1:]]
    assert widths == pytest.approx([274, 109.6, 164.4])
    assert "default-src 'none'" in page
