"""The rule by which a captioner is chosen, on answers that are made up, and what it is read off."""

from typing import Any

import pytest
import torch

from comat_core.support.errors import UserError
from data.miniature_world.pairs import base_world_pair
from stages.evaluate.scoring.images.captioned_images import CaptionedImages
from stages.evaluate.sensitivity import SensitivityConfig
from stages.models.captioners import Blip, Git
from stages.plan.config import ModelReference
from stages.studies.captioner_choice import measuring
from stages.studies.captioner_choice.choosing import choose
from stages.studies.captioner_choice.measuring import Candidate, Measured, measure_captioners, respects_of
from tests.stages.evaluate.test_sensitivity import ColourReader

CONFIG = SensitivityConfig(
    captioner=ModelReference(path="org/blip"),
    real=CaptionedImages(count=3),
    seed=1,
    resolution=64,
    resamples=200,
    device="cpu",
)


def measured(name: str, **right_of_hundred: int) -> Measured:
    """A captioner that prefers the right text in so many of a hundred images, by respect."""
    rows: list[dict[str, Any]] = [
        {"corruption": respect, "prompt_id": str(image), "sensitivity": 0.5 if image < right else -0.25}
        for respect, right in right_of_hundred.items()
        for image in range(100)
    ]
    return Measured(Candidate(Git(), ModelReference(path=name)), respects_of(rows, CONFIG))


def test_the_one_whose_weakest_respect_is_surest_is_chosen() -> None:
    one_sided = measured("org/one-sided", attribute=100, relation=55)
    even = measured("org/even", attribute=80, relation=78)
    choice = choose([one_sided, even], seed=1)
    assert choice.best == even and choice.runner_up == one_sided
    assert choice.best.weakest.name == "relation" and choice.blind_to == ()
    assert choice.ahead is not None and choice.ahead.mean == pytest.approx(0.23)
    assert choice.is_certain
    assert choice.as_json()["train_with"] == "git=org/even"


def test_what_may_be_chance_is_not_certain() -> None:
    choice = choose([measured("org/a", attribute=70), measured("org/b", attribute=71)], seed=1)
    assert choice.best.candidate.name == "git=org/b"
    assert choice.ahead is not None and choice.ahead.mean == pytest.approx(0.01)
    first, second = (measured("org/a", attribute=70), measured("org/c", attribute=70))
    equal = choose([first, second], seed=1)
    assert equal.best == first and not equal.is_certain


def test_a_respect_at_chance_is_one_that_it_is_blind_to() -> None:
    choice = choose([measured("org/a", attribute=90, quantity=52)], seed=1)
    assert choice.blind_to == ("quantity",)
    assert choice.runner_up is None and choice.ahead is None and choice.is_certain


def test_what_is_measured_of_a_respect() -> None:
    found = measured("org/a", attribute=60).respects["attribute"]
    assert found.preference.mean == pytest.approx(0.6) and found.preference.n == 100
    assert found.sensitivity.mean == pytest.approx(0.6 * 0.5 - 0.4 * 0.25)
    assert found.preference.low < 0.6 < found.preference.high


def test_every_candidate_is_asked_about_the_same_images(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, list[str]] = {}

    class Asked(ColourReader):
        def __init__(self, path: str) -> None:
            super().__init__()
            self.path = path

        def log_likelihood(self, images: Any, captions: Any) -> Any:
            asked.setdefault(self.path, []).extend(captions)
            return super().log_likelihood(images, captions)

    monkeypatch.setattr(Blip, "load", lambda _self, checkpoint, **_: Asked(checkpoint.path))
    candidates = [Candidate(Blip(), ModelReference(path=path)) for path in ("org/a", "org/b")]
    found = measure_captioners(CONFIG, candidates, torch.float32)
    assert [one.candidate for one in found] == candidates
    assert asked["org/a"] == asked["org/b"]
    assert {base_world_pair(1, "validation", index)[1] for index in range(3)} & set(asked["org/a"])


def test_a_candidate_that_is_not_there_is_told_before_any_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Blip, "load", lambda *_args, **_: pytest.fail("it was loaded"))
    candidates = [Candidate(Blip(), ModelReference(path=path)) for path in ("org/a", "./nowhere/at/all")]
    with pytest.raises(UserError, match="there is no such folder"):
        measure_captioners(CONFIG, candidates, torch.float32)


def test_captions_that_hold_nothing_to_corrupt_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Blip, "load", lambda *_args, **_: ColourReader())
    monkeypatch.setattr(measuring, "score_images", lambda *_: [])
    with pytest.raises(UserError, match="no caption of the 3 images holds anything to corrupt"):
        measure_captioners(CONFIG, [Candidate(Blip(), ModelReference(path="org/a"))], torch.float32)
