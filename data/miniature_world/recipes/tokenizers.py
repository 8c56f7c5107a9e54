"""Tokenizers of the real formats with vocabularies learned from the miniature world's captions."""

import json
import random
import string
from collections.abc import Iterator
from typing import Any, Final

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import BertTokenizer, CLIPTokenizer, T5Tokenizer

from comat_core.support.randomness import derive_seed
from data.miniature_world.captions import clean_caption
from data.miniature_world.datasets import make_scene

CAPTION_PREFIX: Final = "a photography of"
CLIP_MERGES: Final = 256
BEGINS_WORD: Final = "\u2581"
"""SentencePiece's mark of a space."""
CORPUS_CAPTIONS: Final = 20_000
DECODER_START: Final = "[DEC]"
ENCODER_START: Final = "[ENC]"


def corpus(seed: int) -> Iterator[str]:
    """Yield captions of balanced scenes, and the few other words the models meet."""
    yield from (CAPTION_PREFIX, "yes", "no", "is there in the picture ? .")
    random_source = random.Random(derive_seed(seed, "tokenizer corpus"))
    for index in range(CORPUS_CAPTIONS):
        yield clean_caption(make_scene("balanced", seed, index), random_source)


def build_clip_tokenizer(seed: int, max_length: int) -> CLIPTokenizer:
    """Learn a byte-level BPE vocabulary laid out like CLIP's: bytes, bytes that end a word, merges, special tokens."""
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer = normalizers.Lowercase()
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=2 * len(alphabet) + CLIP_MERGES,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    learner.train_from_iterator(corpus(seed), trainer)
    merges = [(left, right) for left, right in _learned_merges(learner)]
    pieces = [*alphabet, *(letter + "</w>" for letter in alphabet), *(left + right for left, right in merges)]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[special] = len(vocabulary)
    kind: Any = CLIPTokenizer  # annotated as taking merges in one text
    return kind(vocab=vocabulary, merges=merges, model_max_length=max_length)


def _learned_merges(learner: Tokenizer) -> list[list[str]]:
    return json.loads(learner.to_str())["model"]["merges"]


def build_bert_tokenizer(seed: int) -> BertTokenizer:
    """Make a WordPiece vocabulary: special tokens, letters (so that any word can be spelt), the world's words.

    The decoder's and the encoder's start tokens stand last, as in BLIP's own vocabulary.
    """
    words = sorted({word for caption in corpus(seed) for word in caption.split()})
    letters = string.ascii_lowercase + string.digits + string.punctuation
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces += [*letters, *(f"##{letter}" for letter in letters), *words]
    pieces = [*dict.fromkeys(pieces), DECODER_START, ENCODER_START]
    tokenizer = BertTokenizer(vocab={piece: index for index, piece in enumerate(pieces)}, model_max_length=64)
    tokenizer.add_special_tokens({"bos_token": DECODER_START, "additional_special_tokens": [ENCODER_START]})
    return tokenizer


def build_t5_tokenizer(seed: int, max_length: int) -> T5Tokenizer:
    """Make a SentencePiece vocabulary laid out like T5's: special tokens, the world's words, letters for any others."""
    words = sorted({word for caption in corpus(seed) for word in caption.split()})
    letters = string.ascii_letters + string.digits + string.punctuation
    scores = {"<pad>": 0.0, "</s>": 0.0, "<unk>": 0.0}
    scores |= {f"{BEGINS_WORD}{word}": -1.0 for word in words} | {BEGINS_WORD: -2.0}
    scores |= dict.fromkeys(letters, -10.0)
    kind: Any = T5Tokenizer  # annotated as taking no pairs
    return kind(vocab=list(scores.items()), extra_ids=0, model_max_length=max_length)
