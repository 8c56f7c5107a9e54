"""The bars: a word's share is what was recorded of its tokens, found without our own alignment."""

import pytest
from transformers import AutoTokenizer

from comat_core.backbones.text.text_layout import TextLayout
from comat_core.support.errors import UserError
from stages.attention.words import Word
from stages.entities import load_layout
from stages.plan.config import ModelReference
from stages.studies.figures.word_shares import shares_of_prompt, shares_of_words, words_named
from tests.stages.studies.figures.shown import COLOURS, PARSED, PROMPT, activations, recording

BASE = ModelReference(path="data://miniature/base")
RECORDINGS = {model: recording(model, 4) for model in COLOURS}


@pytest.fixture(scope="module")
def layout() -> TextLayout:
    return load_layout(BASE)


def tokens_of(word: str) -> int:
    """How many tokens a word has, special ones left out."""
    tokenizer = AutoTokenizer.from_pretrained(BASE.resolve(), subfolder="tokenizer")
    return len(tokenizer(word, add_special_tokens=False).input_ids)


def test_a_bar_is_the_sum_of_the_words_tokens_in_the_prompts_order(layout: TextLayout) -> None:
    prompt = "a red hippopotamus, far-off: a star"
    shares = shares_of_prompt(layout, prompt, [Word("red", "attribute", [2])], RECORDINGS)
    words = ["a", "red", "hippopotamus", "far-off", "a", "star"]
    assert [share.text for share in shares] == words
    assert [share.has_map for share in shares] == [word == "red" for word in words]
    assert tokens_of("hippopotamus") > 1
    first = 1  # after the start token
    for share, word in zip(shares, ["a", "red", "hippopotamus,", "far-off:", "a", "star"], strict=True):
        own = tokens_of(word.rstrip(",:"))
        for model in COLOURS:
            assert share.by_model[model] == pytest.approx(sum(activations(model)[first : first + own]))
        first += tokens_of(word)


def test_words_beyond_the_last_token_have_no_bar(layout: TextLayout) -> None:
    shares = shares_of_prompt(layout, "red " * 40, [], RECORDINGS)
    assert len(shares) == 30  # 32 tokens, start and end among them


def test_chosen_words_alone_have_bars_if_wanted() -> None:
    (share,) = shares_of_words([Word("red circle", "chosen", [2, 3])], RECORDINGS)
    assert (share.text, share.has_map) == ("red circle", True)
    assert share.by_model == {model: pytest.approx(sum(activations(model)[2:4])) for model in COLOURS}


def test_a_word_is_found_wherever_it_stands_and_never_inside_another(layout: TextLayout) -> None:
    (found,) = words_named(layout, "a Red circle, a reddish star and a red heart", ["red", "moon"], [])
    every = shares_of_prompt(layout, "a Red circle, a reddish star and a red heart", [found], RECORDINGS)
    assert [share.text for share in every if share.has_map] == ["Red", "red"]
    assert (found.text, found.role) == ("red", "chosen")


def test_a_word_that_the_parser_found_keeps_its_role(layout: TextLayout) -> None:
    found = words_named(layout, PROMPT, ["square", "red", "and", "blue square"], PARSED)
    assert [(word.text, word.role) for word in found] == [
        ("square", "noun"),
        ("red", "attribute"),
        ("and", "chosen"),
        ("blue square", "chosen"),
    ]
    assert found[0].tokens == [7]
    assert found[3].tokens == [6, 7]


def test_texts_that_are_patterns_are_taken_as_they_are(layout: TextLayout) -> None:
    assert words_named(layout, PROMPT, [".*", "(", "c.rcle"], []) == []


def test_a_word_that_no_encoder_sees_is_the_users_mistake(layout: TextLayout) -> None:
    with pytest.raises(UserError, match="the text encoder does not see 'heart'"):
        words_named(layout, "red " * 40 + "heart", ["heart"], [])
