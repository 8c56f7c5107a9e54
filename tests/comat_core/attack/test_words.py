"""Which words an attack may add, and that a text with them has the very tokens that were searched."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from transformers import CLIPTokenizer

from comat_core.attack.words import AddableWords
from comat_core.backbones.protocol import Backbone
from comat_core.support.errors import UserError
from tests.tiny_clip import letter_clip_tokenizer
from tests.tiny_models import PROMPT_LENGTH, clip_tokenizer

ModelOf = Callable[[str], Backbone]
PROMPTS = ["a red circle and a", "a star"]


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return clip_tokenizer()


@pytest.fixture(scope="module")
def words(tokenizer: CLIPTokenizer) -> AddableWords:
    return AddableWords(tokenizer, "tiny")


def test_words_are_whole_tokens_that_can_be_typed(words: AddableWords, tokenizer: CLIPTokenizer) -> None:
    found = words.read(range(len(words.tokens)))
    assert {"red", "square", "a", "!"} <= set(found)
    assert len(set(found)) == len(found) > 50
    for token, word in zip(words.tokens.tolist(), found, strict=True):
        assert tokenizer(word).input_ids[1:-1] == [token]
        assert word.isprintable() and word == word.strip() != ""
    assert not set(tokenizer.all_special_ids) & set(words.tokens.tolist())
    assert not {"R", "squ"} & set(found), "capitals are lowered, and parts of words are no words"


def test_a_written_prompt_has_its_own_tokens_and_then_those_of_the_words(
    words: AddableWords, tokenizer: CLIPTokenizer
) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(200):
        choice = torch.randint(len(words.tokens), (6,), generator=generator).tolist()
        text = words.write(PROMPTS[0], words.read(choice))
        assert text.startswith(f"{PROMPTS[0]} ")
        added = words.tokens[choice].tolist()
        assert tokenizer(text).input_ids[1:-1] == [*tokenizer(PROMPTS[0]).input_ids[1:-1], *added]


def test_places_stand_after_the_prompts_own_tokens(words: AddableWords, tokenizer: CLIPTokenizer) -> None:
    opened = words.open(PROMPTS, 3)
    for prompt, text, places, end in zip(PROMPTS, opened.texts, opened.places, opened.ends, strict=True):
        own = tokenizer(prompt).input_ids[:-1]
        padded = tokenizer(text).input_ids
        assert padded[: len(own)] == own
        assert places.tolist() == list(range(len(own), len(own) + 3))
        assert padded[int(end)] == tokenizer.eos_token_id and padded.index(tokenizer.eos_token_id) == int(end)
    assert [tokenizer(prompt).input_ids.index(tokenizer.eos_token_id) for prompt in PROMPTS] == words.ends(
        PROMPTS
    ).tolist()


def test_a_prompt_without_room_is_named(words: AddableWords) -> None:
    full = " ".join(["a"] * (PROMPT_LENGTH - 2 - 3))
    assert words.open([full], 3).ends.tolist() == [PROMPT_LENGTH - 1]
    with pytest.raises(UserError, match=r"has 20 tokens and 3 more find no room in 22.*a a a"):
        words.open(["a star", f"{full} a"], 3)


def test_models_with_another_text_encoder_are_refused(tiny_model: ModelOf, tokenizer: CLIPTokenizer) -> None:
    sdxl = tiny_model("sdxl")
    sdxl.pipeline.tokenizer, sdxl.pipeline.tokenizer_2 = tokenizer, tokenizer
    assert len(AddableWords.of(sdxl).tokens) > 50
    strange = tiny_model("sd")
    strange.pipeline.tokenizer = type("T5Tokenizer", (), {})()
    with pytest.raises(UserError, match="another text encoder"):
        AddableWords.of(strange)
    two = tiny_model("sdxl")
    two.pipeline.tokenizer, two.pipeline.tokenizer_2 = tokenizer, letter_clip_tokenizer()
    with pytest.raises(UserError, match="different vocabularies"):
        AddableWords.of(two)


def test_a_tokenizer_without_words_is_refused() -> None:
    with pytest.raises(UserError, match="no words of one token"):
        AddableWords(_PartsAlone(), "bare")


class _PartsAlone:
    """A tokenizer that knows one part of a word."""

    all_special_ids: tuple[int, ...] = ()
    model_max_length = 8

    def get_vocab(self) -> dict[str, int]:
        return {"x": 0}

    def __call__(self, texts: list[str], **_options: object) -> SimpleNamespace:
        return SimpleNamespace(input_ids=[[1, 0, 2] for _ in texts])
