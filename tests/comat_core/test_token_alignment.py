"""Characters to tokens: by offsets, for words that a search for strings would confuse."""

import pytest
from transformers import CLIPTokenizer

from comat_core.errors import UserError
from comat_core.token_alignment import align, align_prompts
from tests.comat_core.parsed import clip_tokenizer

LENGTH = 77


def span_of(prompt: str, word: str, occurrence: int = 0) -> tuple[int, int]:
    start = -1
    for _ in range(occurrence + 1):
        start = prompt.index(word, start + 1)
    return start, start + len(word)


def text_of(tokenizer: CLIPTokenizer, prompt: str, tokens: tuple[int, ...]) -> str:
    """What the encoder reads at some positions of its input."""
    ids = tokenizer(prompt, padding="max_length", max_length=LENGTH, truncation=True).input_ids
    return str(tokenizer.decode([ids[token] for token in tokens])).replace(" ", "")


@pytest.mark.parametrize(
    ("prompt", "word", "expected"),
    [
        ("a red circle and a blue square", "circle", "circle"),
        ("a photograph of an elephant", "elephant", "elephant"),
        ("two hydrants, three giraffes.", "giraffes", "giraffes"),
        ("a long-haired cat", "long-haired", "long-haired"),
        ("A RED CIRCLE", "CIRCLE", "circle"),
        ("  a \t red\n\ncircle", "circle", "circle"),
        ("a caf\u00e9 table", "caf\u00e9", "caf\u00e9"),
        ("a cafe\u0301 table", "table", "table"),
        ("\U0001f431 a cat", "cat", "cat"),
        ("(a cat), \u201ca dog\u201d!", "dog", "dog"),
    ],
)
def test_tokens_spell_the_word(prompt: str, word: str, expected: str) -> None:
    tokenizer = clip_tokenizer()
    (aligned,) = align(tokenizer, prompt, [span_of(prompt, word)], LENGTH)
    assert not aligned.cut_off
    assert text_of(tokenizer, prompt, aligned.tokens) == expected


def test_positions_count_the_start_token() -> None:
    tokenizer = clip_tokenizer()
    ids = tokenizer("a red cup").input_ids
    assert ids[0] == tokenizer.bos_token_id
    (aligned,) = align(tokenizer, "a red cup", [(0, 1)], LENGTH)
    assert aligned.tokens == (1,)


def test_word_that_matches_an_earlier_wordpiece_keeps_its_own_place() -> None:
    """ "cat" stands inside "catalogue", and "red" inside "scattered", before the words themselves."""
    tokenizer = clip_tokenizer()
    prompt = "a scattered catalogue, a red cat and another red cat"
    spans = [span_of(prompt, " red") for _ in range(1)] + [span_of(prompt, "cat", 2), span_of(prompt, "cat", 3)]
    red, first_cat, second_cat = align(tokenizer, prompt, spans, LENGTH)
    offsets = tokenizer(prompt, return_offsets_mapping=True).offset_mapping
    assert [prompt[slice(*offsets[token])] for token in first_cat.tokens] == ["cat"]
    assert red.tokens < first_cat.tokens < second_cat.tokens
    assert offsets[second_cat.tokens[0]][0] == prompt.rindex("cat")


def test_what_truncation_cuts_off_is_dropped_and_said() -> None:
    tokenizer = clip_tokenizer()
    prompt = "a cup and an elephant"
    whole = align(tokenizer, prompt, [span_of(prompt, "cup"), span_of(prompt, "elephant")], LENGTH)
    first_piece = whole[1].tokens[0]
    assert len(whole[1].tokens) > 1, "the word needs several pieces for this test"
    for length in (first_piece + 1, first_piece + 2):  # nothing of it left; one piece of it left
        cup, elephant = align(tokenizer, prompt, [span_of(prompt, "cup"), span_of(prompt, "elephant")], length)
        assert cup == whole[0]
        assert elephant.cut_off
        assert elephant.tokens == ()


def test_a_word_that_just_fits_is_whole() -> None:
    tokenizer = clip_tokenizer()
    prompt = "a cup and an elephant"
    (whole,) = align(tokenizer, prompt, [span_of(prompt, "elephant")], LENGTH)
    (aligned,) = align(tokenizer, prompt, [span_of(prompt, "elephant")], whole.tokens[-1] + 2)  # room for the end token
    assert aligned == whole


def test_batches_align_as_single_prompts_do() -> None:
    tokenizer = clip_tokenizer()
    prompts = ["a red cup", "a very long prompt about an elephant and a blue giraffe", ""]
    spans = [[(2, 5), (6, 9)], [(28, 36)], []]
    batched = list(align_prompts(tokenizer, prompts, spans, 12))
    assert batched == [align(tokenizer, prompt, its, 12) for prompt, its in zip(prompts, spans, strict=True)]


def test_slow_tokenizer_is_refused() -> None:
    class SlowTokenizer:
        is_fast = False

    with pytest.raises(UserError, match="character offsets"):
        align(SlowTokenizer(), "a cup", [(2, 5)], LENGTH)  # type: ignore[arg-type]
