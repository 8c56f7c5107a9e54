"""Every kind of reward, on tiny checkpoints of the real classes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from comat_core.captioners.blip import BlipCaptioner
from comat_core.chat_models.qwen_vl import Qwen3VisionLanguage
from comat_core.language.counterfactuals import counterfactuals
from comat_core.language.prompt_questions import prompt_questions
from comat_core.language.read_once import read_once
from comat_core.rewards.caption_contrast import CaptionContrast
from comat_core.rewards.clip_similarity import ClipSimilarity
from comat_core.rewards.prompt_answers import YesToPrompt, YesToQuestions
from comat_core.rewards.protocol import Reward
from comat_core.scorers.chat_answers import ChatAnswerer
from comat_core.scorers.clip_score import ClipScorer
from comat_core.scorers.visual_question_answering import CORRECTED, VisualQuestionAnswerer
from data.noun_filter import load_noun_filter
from tests.comat_core.parsed import parser
from tests.tiny_captioners import save_tiny_blip, save_tiny_question_answerer
from tests.tiny_chat_models import save_tiny_qwen3_vl
from tests.tiny_clip import save_tiny_clip

KINDS = ("caption_contrast", "yes_to_prompt", "yes_to_questions", "clip_similarity", "yes_to_prompt by a chat model")


@pytest.fixture(scope="session")
def reward_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Reward]:
    """A function from a kind to its reward."""
    folder: Path = tmp_path_factory.mktemp("rewards")
    captioner = BlipCaptioner.load(save_tiny_blip(folder / "blip"))
    answerer = VisualQuestionAnswerer.load(save_tiny_question_answerer(folder / "vqa"), protocol=CORRECTED)
    rewards: dict[str, Reward] = {
        "caption_contrast": CaptionContrast(captioner, read_once(counterfactuals, parser(), load_noun_filter())),
        "yes_to_prompt": YesToPrompt(answerer, "is there {}?"),
        "yes_to_questions": YesToQuestions(answerer, read_once(prompt_questions, parser(), load_noun_filter())),
        "clip_similarity": ClipSimilarity(ClipScorer.load(save_tiny_clip(folder / "clip"))),
        "yes_to_prompt by a chat model": YesToPrompt(
            ChatAnswerer(Qwen3VisionLanguage.load(save_tiny_qwen3_vl(folder / "qwen3_vl"))),
            'Does this figure show "{}"? Please answer yes or no.',
        ),
    }
    assert tuple(rewards) == KINDS
    return rewards.__getitem__


@pytest.fixture(params=KINDS)
def reward(request: pytest.FixtureRequest, reward_of: Callable[[str], Reward]) -> Reward:
    """Each of them."""
    return reward_of(request.param)
