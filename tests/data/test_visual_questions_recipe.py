"""The lessons of the miniature VQA model: what it is asked in each, and that the answers are right."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL

import data
from data.miniature_world.datasets import make_scene
from data.miniature_world.recipes import visual_questions as recipe
from data.miniature_world.recipes.fitting_state import saved_below
from data.miniature_world.vocabulary import INVERSE_RELATION, RELATIONS

FOLDER = Path(data.__file__).parent / "miniature"
SCENES = [make_scene("balanced", 9, number) for number in range(400)]
OF_TWO = [scene for scene in SCENES if len({item.shape for item in scene.objects}) == 2]


def names_a_place(question: str) -> bool:
    return question.startswith("the place of") or any(f" {relation} " in question for relation in RELATIONS)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_of_the_questions_about_two_objects_so_many_ask_for_a_place(share: float) -> None:
    asked = [recipe._any_question(scene, share, random.Random(number))[0] for number, scene in enumerate(OF_TWO)]
    assert abs(sum(map(names_a_place, asked)) / len(asked) - share) < 0.08


def test_the_first_lesson_asks_for_no_place_and_the_last_one_does() -> None:
    assert recipe.LESSONS[0].place_share == 0.0
    assert recipe.LESSONS[-1].place_share > 0.0
    assert len({lesson.name for lesson in recipe.LESSONS}) == len(recipe.LESSONS)


def test_answers_about_places_are_right() -> None:
    answers = set()
    for number, scene in enumerate(OF_TWO):
        question, answer = recipe.ask_for_place(scene, random.Random(number))
        told = next(relation for relation in RELATIONS if f" {relation} " in question)
        first_told = question.split(f" {told} ")[0].split()[-1]
        assert scene.relation is not None
        stands = scene.relation if first_told == scene.objects[0].shape else INVERSE_RELATION[scene.relation]
        assert (answer == "yes") == (told == stands)
        answers.add(answer)
    assert answers == {"yes", "no"}


def test_every_lesson_of_seeing_and_of_answering_is_a_fitting_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "SCENES", 6)
    monkeypatch.setattr(recipe, "IMAGES_PER_STEP", 2)
    monkeypatch.setattr(recipe, "LESSONS", tuple(replace(one, seeing_steps=1, steps=1) for one in recipe.LESSONS))
    autoencoder = AutoencoderKL.from_pretrained(FOLDER / "base" / "vae").eval()
    with saved_below(tmp_path):
        model, _ = recipe.train_visual_question_model(autoencoder, 3)
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    assert len(list(tmp_path.glob("*.pt"))) == 2 * len(recipe.LESSONS)
