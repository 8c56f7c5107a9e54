"""Nouns joined into the detector's caption, and the token columns that belong to each."""

from typing import Any

from comat_core.segmenters.noun_captions import NounCaption, write_captions
from tests.tiny_captioners import word_piece_tokenizer

TOKENIZER: Any = word_piece_tokenizer()


def decode(caption: NounCaption) -> list[list[str]]:
    """Read the tokens of each noun back from the caption's own ids."""
    tokens = TOKENIZER.convert_ids_to_tokens(TOKENIZER(caption.text)["input_ids"])
    return [tokens[span.start : span.stop] for span in caption.token_spans]


def test_each_noun_has_its_own_columns() -> None:
    (caption,) = write_captions(TOKENIZER, ["dog", "hot dog", "Zebras", "dogs"], 256)

    assert caption.text == "dog . hot dog . zebras . dogs ."
    assert caption.noun_indices == (0, 1, 2, 3)
    assert decode(caption) == [
        ["dog"],
        ["hot", "dog"],
        ["z", "##e", "##b", "##r", "##a", "##s"],
        ["dog", "##s"],
    ]


def test_hyphens_and_accents_stay_inside_the_noun() -> None:
    (caption,) = write_captions(TOKENIZER, ["hot-dog", "café", "cat's star"], 256)

    assert decode(caption) == [["hot", "-", "dog"], ["c", "##a", "##f", "##e"], ["cat", "'", "s", "star"]]


def test_full_stops_do_not_split_a_noun() -> None:
    (caption,) = write_captions(TOKENIZER, ["st. cat?", "dog"], 256)

    assert caption.text == "st cat . dog ."
    assert decode(caption) == [["s", "##t", "cat"], ["dog"]]


def test_noun_without_a_sign_is_in_no_caption() -> None:
    (caption,) = write_captions(TOKENIZER, ["...", "dog", "  "], 256)

    assert caption.noun_indices == (1,)
    assert write_captions(TOKENIZER, ["", "?"], 256) == []
    assert write_captions(TOKENIZER, [], 256) == []


def test_nouns_that_do_not_fit_go_into_further_captions() -> None:
    nouns = ["dog", "cat", "hot dog", "heart", "star"]
    captions = write_captions(TOKENIZER, nouns, 8)

    assert [caption.noun_indices for caption in captions] == [(0, 1), (2,), (3,), (4,)]
    assert all(len(TOKENIZER(caption.text)["input_ids"]) <= 8 for caption in captions)
    assert decode(captions[1]) == [["hot", "dog"]]


def test_caption_is_filled_to_the_last_token() -> None:
    (caption,) = write_captions(TOKENIZER, ["dog", "cat", "star"], 8)

    assert len(TOKENIZER(caption.text)["input_ids"]) == 8


def test_overlong_noun_keeps_the_columns_that_are_read() -> None:
    (caption,) = write_captions(TOKENIZER, ["zebrazebrazebra"], 8)

    assert caption.token_spans == (range(1, 8),)


def test_phrase_is_the_text_of_the_given_tokens() -> None:
    (caption,) = write_captions(TOKENIZER, ["dog", "red hot dogs"], 256)
    span = caption.token_spans[1]

    assert caption.phrase(list(span)) == "red hot dogs"
    assert caption.phrase([span[1]]) == "hot"
    assert caption.phrase([span[2], span[3]]) == "dogs"
