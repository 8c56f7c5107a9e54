"""Characters to tokens: by offsets, for words that a search for strings would confuse."""

import re

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import CLIPTokenizer, PreTrainedTokenizerFast

from comat_core.language.token_alignment import align, align_prompts
from comat_core.support.errors import UserError
from tests.comat_core.entity_templates import gold_prompts
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


def other_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """A fast tokenizer that is no CLIP's, with a vocabulary so small that most words have several pieces."""
    prompts = [prompt.text for prompt in gold_prompts(seed=0, count=60)]
    if kind == "word pieces":  # BERT
        backend, marks = Tokenizer(models.WordPiece(unk_token="?")), ["?", "<s>", "</s>"]
        backend.normalizer, backend.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=160, special_tokens=marks)
    elif kind == "bytes":  # GPT-2
        backend, marks = Tokenizer(models.BPE()), ["<s>", "</s>"]
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=330, special_tokens=marks, initial_alphabet=alphabet)
    else:  # T5
        backend, marks = Tokenizer(models.Unigram()), ["?", "<s>", "</s>"]
        backend.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=160, special_tokens=marks, unk_token="?")
    backend.train_from_iterator(prompts, trainer)
    ids = [(mark, backend.token_to_id(mark)) for mark in ("<s>", "</s>")]
    backend.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ids)
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")


@pytest.mark.parametrize("kind", ["word pieces", "bytes", "sentence pieces"])
def test_every_word_has_the_tokens_that_cover_it_whatever_the_tokenizer(kind: str) -> None:
    tokenizer = other_tokenizer(kind)
    prompt = "a scattered red carpet, two long-haired cats and a red car"
    words = [match.span() for match in re.finditer(r"[\w-]+", prompt)]
    aligned = align(tokenizer, prompt, words, LENGTH)
    positions = [position for span in aligned for position in span.tokens]
    assert positions == sorted(set(positions)), "no token belongs to two words, and the order is kept"
    assert positions[0] == 1, "after the start token"
    encoding = tokenizer(prompt, return_offsets_mapping=True)
    assert max(len(span.tokens) for span in aligned) > 1
    for (start, end), span in zip(words, aligned, strict=True):
        covered = {at for token in span.tokens for at in range(*encoding["offset_mapping"][token])}
        assert {at for at in covered if prompt[at] not in " ,"} == set(range(start, end))


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
