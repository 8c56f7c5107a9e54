"""F1 of (noun, attribute) pairs against gold; a noun without attributes counts as the pair (noun, none)."""

from collections.abc import Iterable, Sequence

from comat_core.language.entities import parse_entities
from data.noun_filter import load_noun_filter
from tests.comat_core.entity_templates import GoldPrompt
from tests.comat_core.parsed import parser

Pairs = set[tuple[str, str | None]]


def pairs_of(entities: Iterable[tuple[str, Iterable[str]]]) -> Pairs:
    return {(noun, attribute) for noun, attributes in entities for attribute in (list(attributes) or [None])}


def f1_score(prompts: Sequence[GoldPrompt]) -> float:
    """Pooled over all prompts."""
    hits = misses = extras = 0
    parsed = parse_entities([prompt.text for prompt in prompts], parser(), load_noun_filter())
    for prompt, entities in zip(prompts, parsed, strict=True):
        kept = [entity for entity in entities if entity.removed_because is None]
        found = pairs_of((entity.noun.lower(), [word.lower() for word in entity.attributes]) for entity in kept)
        gold = pairs_of(prompt.gold.items())
        hits += len(found & gold)
        misses += len(gold - found)
        extras += len(found - gold)
    return 2 * hits / (2 * hits + misses + extras)
