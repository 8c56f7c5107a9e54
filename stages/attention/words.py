"""Whose attention is recorded: the words of the prompts, and the prompts themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from comat_core.support.errors import UserError
from comat_core.support.randomness import derive_seed
from stages.entities.tables import EntityWords, read_seen_entities
from stages.plan.stage import Inputs
from stages.prompts.tables import PromptText, read_texts


@dataclass(frozen=True)
class Word:
    """A word of the prompt (or an object's adjectives together), and where it stands in the encoder's input."""

    text: str
    role: str  # "noun" or "attribute"
    tokens: list[int]


@dataclass(frozen=True)
class ChosenPrompt(PromptText):
    """A prompt whose attention is recorded, with its words in the prompt's order."""

    words: list[Word]


def words_of(entity: EntityWords) -> list[Word]:
    """An entity's attributes, if any, and its noun. None for a removed noun."""
    if not entity.is_seen:
        return []
    noun = Word(entity.noun, "noun", entity.noun_tokens)
    if not entity.attribute_tokens:
        return [noun]
    return [Word(" ".join(entity.attributes), "attribute", entity.attribute_tokens), noun]


def choose_prompts(inputs: Inputs, split: str, count: int, seed: int) -> list[ChosenPrompt]:
    """The first prompts, in the order that the seed draws, that name an object which the text encoder sees.

    No score is looked at: what the base model's maps show does not depend on what a training has made of it.

    Args:
        count: of prompts, at most.

    Raises:
        UserError: the split has no prompts.
    """
    entities = read_seen_entities(inputs["entities"])
    prompts = {prompt.prompt_id: prompt for prompt in read_texts(inputs["prompts"], split)}
    if not prompts:
        raise UserError(f"no prompt is of the split {split!r}", "attention.split", "check the prompts stage's settings")
    named = [prompt_id for prompt_id in in_drawn_order(list(prompts), seed) if prompt_id in entities]
    return [_with_words(prompts[prompt_id], entities) for prompt_id in named[:count]]


def in_drawn_order(prompt_ids: Sequence[str], seed: int) -> list[str]:
    """Prompts in an order that follows from the seed and their ids alone; all who show some of them show the first."""
    return sorted(prompt_ids, key=lambda prompt_id: derive_seed(seed, "report sample", prompt_id))


def _with_words(prompt: PromptText, entities: Mapping[str, Sequence[EntityWords]]) -> ChosenPrompt:
    words = [word for entity in entities[prompt.prompt_id] for word in words_of(entity)]
    return ChosenPrompt(prompt.prompt_id, prompt.text, words)
