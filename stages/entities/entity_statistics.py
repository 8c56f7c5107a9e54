"""What the parser found: counts of nouns, attributes and removals, and a table to read."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from comat_core.language.entities import Entity

MOST_COMMON = 30
MOST_WORDS = 50_000
"""Different words counted one by one; rare ones beyond it are dropped, so that memory stays flat."""


class EntityStatistics:
    """Counts entities as they stream by."""

    def __init__(self) -> None:
        self.prompts = 0
        self.prompts_without_entities = 0
        self.per_prompt: Counter[int] = Counter()
        self.nouns: Counter[str] = Counter()
        self.attributes: Counter[str] = Counter()
        self.kept = 0
        self.kept_with_attributes = 0
        self.removed: Counter[str] = Counter()
        self.removed_nouns: Counter[str] = Counter()

    def add(self, entities: "Sequence[Entity]") -> None:
        """Count one prompt's entities, removed ones included."""
        kept = [entity for entity in entities if entity.removed_because is None]
        self.prompts += 1
        self.prompts_without_entities += not kept
        self.per_prompt[len(kept)] += 1
        for entity in entities:
            if entity.removed_because is not None:
                self.removed[entity.removed_because.partition(":")[0]] += 1
                _count(self.removed_nouns, entity.removed_because)
        for entity in kept:
            self.kept += 1
            self.kept_with_attributes += bool(entity.attributes)
            _count(self.nouns, entity.noun.lower())
            for attribute in entity.attributes:
                _count(self.attributes, attribute.lower())

    def summary(self) -> dict[str, Any]:
        """The counts as JSON values; the most frequent words only."""
        return {
            "prompts": self.prompts,
            "prompts_without_entities": self.prompts_without_entities,
            "kept_entities_per_prompt": {str(count): self.per_prompt[count] for count in sorted(self.per_prompt)},
            "kept": self.kept,
            "kept_with_attributes": self.kept_with_attributes,
            "removed": dict(self.removed.most_common()),
            "nouns": dict(self.nouns.most_common(MOST_COMMON)),
            "attributes": dict(self.attributes.most_common(MOST_COMMON)),
            "removed_nouns": dict(self.removed_nouns.most_common(MOST_COMMON)),
        }


def as_markdown(summary: dict[str, Any]) -> str:
    """The counts as Markdown: an overview, then the most frequent words."""
    rows = [
        ("prompts", summary["prompts"]),
        ("prompts without entities", summary["prompts_without_entities"]),
        ("entities kept", summary["kept"]),
        ("of these with attributes", summary["kept_with_attributes"]),
        *((f"removed: {reason}", count) for reason, count in summary["removed"].items()),
    ]
    lines = ["| what | count |", "| --- | ---: |", *(f"| {name} | {count:,} |" for name, count in rows)]
    for title, key in (("nouns", "nouns"), ("attributes", "attributes"), ("removed nouns", "removed_nouns")):
        words = ", ".join(f"{word} {count:,}" for word, count in summary[key].items())
        lines += ["", f"Most frequent {title}: {words or 'none'}."]
    return "\n".join(lines) + "\n"


def _count(counter: Counter[str], word: str) -> None:
    if word in counter or len(counter) < MOST_WORDS:
        counter[word] += 1
