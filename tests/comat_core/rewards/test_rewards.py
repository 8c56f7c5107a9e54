"""What holds for every reward, and what each one is, by hand."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from comat_core.language.counterfactuals import counterfactuals
from comat_core.language.prompt_questions import PromptQuestion, prompt_questions
from comat_core.rewards.caption_contrast import CaptionContrast
from comat_core.rewards.clip_similarity import ClipSimilarity
from comat_core.rewards.prompt_answers import YesToPrompt, YesToQuestions
from comat_core.rewards.protocol import Reward, reward_loss
from comat_core.scorers.clip_score import ClipScorer
from comat_core.scorers.visual_question_answering import VisualQuestionAnswerer
from comat_core.support.memory.offloading import OffloadedReward, offloaded_reward
from comat_core.support.randomness import make_generator
from data.noun_filter import load_noun_filter
from tests.comat_core.parsed import parser
from tests.pictures import natural_pictures

PROMPTS = ("a red circle to the left of a blue square", "a striped white star", "two dogs and a green cat")
SIDE = 64


def scores(reward: Reward, images: Tensor, prompts: tuple[str, ...] = PROMPTS) -> Tensor:
    return reward.prepare(prompts, images.device)(images)


def test_an_image_is_scored_alike_alone_and_among_others(reward: Reward) -> None:
    images = natural_pictures(len(PROMPTS), SIDE, SIDE)
    together = scores(reward, images)
    alone = [scores(reward, images[row : row + 1], (prompt,))[0] for row, prompt in enumerate(PROMPTS)]
    assert together.dtype == torch.float32 and together.shape == (len(PROMPTS),)
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-4, atol=1e-4)
    assert together.unique().numel() == len(PROMPTS)


def test_the_loss_is_the_negative_mean(reward: Reward) -> None:
    images = natural_pictures(len(PROMPTS), SIDE, SIDE)
    torch.testing.assert_close(reward_loss(reward, images, PROMPTS).total, -scores(reward, images).mean())


def test_the_gradient_of_the_images_is_the_finite_difference(reward: Reward) -> None:
    images = natural_pictures(len(PROMPTS), SIDE, SIDE).requires_grad_()
    (gradient,) = torch.autograd.grad(scores(reward, images).sum(), images)
    for row in range(len(PROMPTS)):
        assert gradient[row].any(), PROMPTS[row]
    direction = gradient / gradient.norm() + 0.02 * torch.randn(images.shape, generator=make_generator(1, "way"))
    step = 2e-2 / direction.norm()
    with torch.no_grad():
        ahead, behind = (scores(reward, images + sign * step * direction).double().sum() for sign in (1, -1))
    expected = (gradient.double() * direction).sum()
    assert (ahead - behind) / (2 * step) == pytest.approx(expected.item(), rel=2e-2)


def test_offloaded_it_gives_the_same_scores_and_gradients(reward: Reward) -> None:
    found = []
    for one in (reward, OffloadedReward(reward)):
        images = natural_pictures(len(PROMPTS), SIDE, SIDE).requires_grad_()
        values = scores(one, images)
        (gradient,) = torch.autograd.grad(values.square().sum(), images)
        found.append((values.detach(), gradient))
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize("kind", ["caption_contrast", "yes_to_questions"])
@pytest.mark.parametrize("prompts", [("it",), ("it", "a red circle and a blue square")])
def test_a_prompt_that_offers_nothing_scores_nothing(
    reward_of: Callable[[str], Reward], kind: str, prompts: tuple[str, ...]
) -> None:
    images = natural_pictures(len(prompts), SIDE, SIDE).requires_grad_()
    values = scores(reward_of(kind), images, prompts)
    (gradient,) = torch.autograd.grad(values.sum(), images)
    assert values[0] == 0 and not gradient[0].any()
    assert [bool(value) for value in values[1:]] == [True] * (len(prompts) - 1)


@torch.no_grad()
def test_the_contrast_is_the_likelihood_over_that_of_the_counterfactuals(
    reward_of: Callable[[str], Reward],
) -> None:
    reward = reward_of("caption_contrast")
    assert isinstance(reward, CaptionContrast)
    images = natural_pictures(len(PROMPTS), SIDE, SIDE)
    for value, image, prompt in zip(scores(reward, images), images, PROMPTS, strict=True):
        wrong = counterfactuals(parser()(prompt), load_noun_filter())
        right, *others = (
            reward.captioner.log_likelihood(image[None], [text]).per_caption("sum").double().exp().item()
            for text in (prompt, *wrong)
        )
        assert value.exp().item() == pytest.approx(right / (sum(others) / len(others)), rel=1e-3)


@torch.no_grad()
def test_the_log_odds_are_those_of_the_probability(reward_of: Callable[[str], Reward]) -> None:
    reward = reward_of("yes_to_prompt")
    assert isinstance(reward, YesToPrompt) and isinstance(reward.answerer, VisualQuestionAnswerer)
    images = natural_pictures(len(PROMPTS), SIDE, SIDE)
    expected = reward.answerer.probability_of_yes(images, [f"is there {prompt}?" for prompt in PROMPTS])
    torch.testing.assert_close(scores(reward, images).sigmoid(), expected)


class Answers:
    """Answers each question as it was told to."""

    model = torch.nn.Linear(1, 1)

    def __init__(self, log_odds: dict[str, float]) -> None:
        self.log_odds = {text: torch.tensor(value, requires_grad=True) for text, value in log_odds.items()}

    def log_odds_of_yes(self, _images: Tensor, questions: list[str], _image_of_question: list[int]) -> Tensor:
        return torch.stack([self.log_odds[question] for question in questions])


def test_a_question_counts_while_its_parents_hold() -> None:
    asked = (
        PromptQuestion("a circle?", "object"),
        PromptQuestion("a square?", "object"),
        PromptQuestion("a red circle?", "attribute", (0,)),
        PromptQuestion("a blue square?", "attribute", (1,)),
        PromptQuestion("a circle above a square?", "relation", (0, 1)),
    )
    answers = Answers(
        {"a circle?": 2.0, "a square?": -1.0, "a red circle?": -3.0, "a blue square?": 5.0, asked[4].text: 4.0}
    )
    reward = YesToQuestions(answers, lambda _: asked)  # type: ignore[arg-type]
    value = scores(reward, torch.zeros(1, 3, 8, 8), ("",))
    value.sum().backward()

    counted = {"a circle?", "a square?", "a red circle?"}
    odds = {text: log_odds.item() for text, log_odds in answers.log_odds.items()}
    expected = sum(torch.tensor(odds[text]).sigmoid().log().item() for text in counted)
    assert value.item() == pytest.approx(expected)
    for text, log_odds in answers.log_odds.items():
        failing = 1 - torch.tensor(odds[text]).sigmoid().item() if text in counted else 0.0
        assert log_odds.grad is not None and log_odds.grad.item() == pytest.approx(failing)


@torch.no_grad()
def test_the_parts_are_the_kinds_of_questions_and_add_up(reward_of: Callable[[str], Reward]) -> None:
    reward = reward_of("yes_to_questions")
    assert isinstance(reward, YesToQuestions) and isinstance(reward.answerer, VisualQuestionAnswerer)
    images = natural_pictures(len(PROMPTS), SIDE, SIDE)
    found = reward.prepare_parts(PROMPTS, images.device)(images)
    terms, counted, failed = found.unbind(dim=-1)
    torch.testing.assert_close(terms.sum(dim=1), scores(reward, images))
    for row, prompt in enumerate(PROMPTS):
        asked = prompt_questions(parser()(prompt), load_noun_filter())
        yes = [reward.answerer.probability_of_yes(images[row : row + 1], [one.text]).item() for one in asked]
        for column, kind in enumerate(reward.parts):
            of_kind = [
                probability
                for probability, one in zip(yes, asked, strict=True)
                if one.kind == kind and all(yes[parent] > 0.5 for parent in one.parents)
            ]
            expected = torch.tensor(of_kind).log().sum().item()
            assert terms[row, column].item() == pytest.approx(expected, rel=1e-4, abs=1e-6)
            assert counted[row, column] == len(of_kind)
            assert failed[row, column] == sum(probability <= 0.5 for probability in of_kind)
    loss = reward_loss(reward, images, PROMPTS)
    kinds = ("object", "attribute", "number", "relation")
    assert {*loss.parts} == {f"{kind}{end}" for kind in kinds for end in ("", "_asked", "_failed")}
    assert sum(loss.parts[kind].item() for kind in kinds) == pytest.approx(loss.total.item(), rel=1e-5)
    weighed = reward_loss(reward, images, PROMPTS, {"object": 3.0})
    assert weighed.total.item() == pytest.approx(loss.total.item() + 2 * loss.parts["object"].item(), rel=1e-5)
    offloaded = reward_loss(offloaded_reward(reward), images, PROMPTS)
    assert {name: part.item() for name, part in offloaded.parts.items()} == pytest.approx(
        {name: part.item() for name, part in loss.parts.items()}, rel=1e-5
    )


@torch.no_grad()
def test_questions_of_several_prompts_stay_with_their_images(reward_of: Callable[[str], Reward]) -> None:
    reward = reward_of("yes_to_questions")
    assert isinstance(reward, YesToQuestions) and isinstance(reward.answerer, VisualQuestionAnswerer)
    images = natural_pictures(len(PROMPTS), SIDE, SIDE)
    for value, image, prompt in zip(scores(reward, images), images, PROMPTS, strict=True):
        asked = prompt_questions(parser()(prompt), load_noun_filter())
        yes = [reward.answerer.probability_of_yes(image[None], [one.text]).item() for one in asked]
        expected = sum(
            torch.tensor(probability).log().item()
            for probability, one in zip(yes, asked, strict=True)
            if all(yes[parent] > 0.5 for parent in one.parents)
        )
        assert value.item() == pytest.approx(expected, rel=1e-4)


@torch.no_grad()
def test_clip_s_similarity_is_the_stock_model_s_logit(reward_of: Callable[[str], Reward]) -> None:
    reward = reward_of("clip_similarity")
    assert isinstance(reward, ClipSimilarity) and isinstance(reward.scorer, ClipScorer)
    images = natural_pictures(len(PROMPTS), SIDE, SIDE)
    tokens = reward.scorer.tokenizer(list(PROMPTS), padding=True, truncation=True, max_length=24, return_tensors="pt")
    logits = reward.scorer.model(pixel_values=reward.scorer.preprocess(images), **tokens).logits_per_image
    torch.testing.assert_close(scores(reward, images), logits.diagonal())
