"""Rewards by a model that answers yes or no: about the prompt as a whole, or about each thing that it says."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from comat_core.language.prompt_questions import KINDS, PromptQuestion


class YesNoAnswerer(Protocol):
    """A frozen model that is asked about images."""

    @property
    def model(self) -> nn.Module:
        """The whole model."""
        ...

    def log_odds_of_yes(
        self, images: Tensor, questions: Sequence[str], image_of_question: Sequence[int] | None = None
    ) -> Tensor:
        """log p(yes) - log p(no) of each question, (Q,), about the images that they name."""
        ...


class YesToPrompt:
    """VQAScore's question as log-odds: r(I, P) = log p(yes) - log p(no), which does not saturate as p(yes) does.

    Args:
        question: in which "{}" stands for the prompt.
    """

    def __init__(self, answerer: YesNoAnswerer, question: str) -> None:
        self.answerer = answerer
        self.question = question

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The answering model."""
        return {"answerer": self.answerer.model}

    def prepare(self, prompts: Sequence[str], device: torch.device) -> Callable[[Tensor], Tensor]:  # noqa: ARG002
        """Put each prompt into the question; see `Reward`."""
        asked = [self.question.replace("{}", prompt) for prompt in prompts]
        return lambda images: self.answerer.log_odds_of_yes(images, asked)


class YesToQuestions:
    """r(I, P) = sum of log p(yes) over the questions that the prompt is taken apart into, as far as they count.

    A question counts while its parents are answered yes: what stands in the way of the others is learned first. The
    gradient of log p(yes) with respect to the log-odds is p(no), so a question weighs what it fails by on this image,
    and one that is answered yes for certain weighs nothing.

    Its parts are the sums over the questions of each kind.

    Args:
        questions: from a prompt to its questions, as `comat_core.language.prompt_questions` makes them. A prompt
            without any scores 0.
    """

    def __init__(self, answerer: YesNoAnswerer, questions: Callable[[str], Sequence[PromptQuestion]]) -> None:
        self.answerer = answerer
        self.questions = questions

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The answering model."""
        return {"answerer": self.answerer.model}

    @property
    def parts(self) -> Sequence[str]:
        """The kinds of questions."""
        return KINDS

    def prepare(self, prompts: Sequence[str], device: torch.device) -> Callable[[Tensor], Tensor]:
        """Take each prompt apart; see `Reward`."""
        terms_of = self.prepare_parts(prompts, device)
        return lambda images: terms_of(images)[..., 0].sum(dim=1)

    def prepare_parts(self, prompts: Sequence[str], device: torch.device) -> Callable[[Tensor], Tensor]:
        """Take each prompt apart; see `PartedReward`."""
        asked = [self.questions(prompt) for prompt in prompts]
        texts = [question.text for questions in asked for question in questions]
        image_of_question = [row for row, questions in enumerate(asked) for _ in questions]
        if not texts:
            return lambda images: (images.float().sum(dim=(1, 2, 3)) * 0)[:, None, None].expand(-1, len(KINDS), 3)
        parents = _parents(asked).to(device)
        kinds = [KINDS.index(question.kind) for questions in asked for question in questions]
        places = torch.tensor(image_of_question, device=device) * len(KINDS) + torch.tensor(kinds, device=device)

        def score(images: Tensor) -> Tensor:
            log_odds = self.answerer.log_odds_of_yes(images, texts, image_of_question)
            fails = (log_odds.detach() <= 0).float()
            counts = (parents @ fails == 0).float()
            answers = torch.stack([counts * functional.logsigmoid(log_odds), counts, counts * fails], dim=1)
            terms = torch.zeros(len(prompts) * len(KINDS), 3, device=answers.device).index_add(0, places, answers)
            return terms.view(len(prompts), len(KINDS), 3)

        return score


def _parents(asked: Sequence[Sequence[PromptQuestion]]) -> Tensor:
    """(Q, Q): 1 where the second question is a parent of the first, over the questions of all prompts in a row."""
    total = sum(map(len, asked))
    parents, first = torch.zeros(total, total), 0
    for questions in asked:
        for place, question in enumerate(questions):
            parents[first + place, [first + parent for parent in question.parents]] = 1
        first += len(questions)
    return parents
