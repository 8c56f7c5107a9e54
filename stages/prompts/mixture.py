"""From the selected sources to clean, distinct training prompts that no evaluation set holds."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from comat_core.files.paths import user_path
from data.downloading.downloads import DEFAULT_CACHE
from data.prompt_sources import GENERATORS, read_prompt_set, read_user_file
from data.readers import Prompt
from data.registry import select_sets
from stages.plan.splits import TRAIN
from stages.prompts.cleaning import (
    bag_of_words_key,
    is_english,
    key_hash,
    near_duplicate_key,
    normalise,
    prompt_id,
    same_words_key,
)
from stages.prompts.config import PromptsConfig, PromptSelection
from stages.prompts.hash_sets import SeenHashes
from stages.prompts.tables import PromptRow, SeenPrompt
from stages.store.streamed_tables import in_batches

BATCH = 4096
LEAKAGE_KEYS: dict[str, Callable[[str], str]] = {
    "same words": same_words_key,
    "same bag of words": bag_of_words_key,
}


@dataclass
class Tally:
    """What became of a source's prompts: how many were read, kept, and dropped for each reason."""

    read: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


class Mixture:
    """Streams the rows of the table, evaluation prompts first: the leakage guard has to know them.

    `tallies` holds the counts per split and source, complete when the stream has ended; `leaks` counts the dropped
    training prompts by the evaluation set they stand in; `seen` holds the evaluation prompts of training sources.
    """

    def __init__(self, config: PromptsConfig) -> None:
        self.config = config
        self.tallies: dict[tuple[str, str], Tally] = {}
        self.leaks: Counter[str] = Counter()
        self._leakage_key = LEAKAGE_KEYS.get(config.leakage_guard, same_words_key)
        self._evaluated: dict[int, list[PromptRow]] = {}
        self._seen: dict[int, str] = {}
        self._occurrences: Counter[str] = Counter()
        self._texts = SeenHashes()
        self._near = SeenHashes()

    def rows(self) -> Iterator[PromptRow]:
        """Yield every row once, the evaluation sets as they are, then the training prompts that pass."""
        yield from self._evaluation_rows()
        self._look_beyond_draws()
        for batch in in_batches(self._stream(self.config.train), BATCH):
            yield from self._training_rows(batch)

    def _evaluation_rows(self) -> Iterator[PromptRow]:
        for text, source, skill, split in self._stream(self.config.evaluation):
            row = PromptRow(prompt_id(text, self._occurrences[text]), text, source, skill, split)
            self._occurrences[text] += 1
            self._evaluated.setdefault(key_hash(self._leakage_key(text)), []).append(row)
            self.tallies[split, source].kept += 1
            yield row

    def _training_rows(self, batch: Sequence[tuple[str, str, str, str]]) -> Iterator[PromptRow]:
        for text, source, _, _ in batch:
            self._note_if_evaluated(text, source)
        fit = [(text, source, skill) for text, source, skill, _ in batch if self._is_fit(text, source)]
        new_texts = self._texts.add([key_hash(text) for text, _, _ in fit])
        distinct = []
        for item, is_new in zip(fit, new_texts, strict=True):
            if is_new:
                distinct.append(item)
            else:
                self._drop(item[1], "duplicate")
        new_keys = self._near.add([key_hash(near_duplicate_key(text)) for text, _, _ in distinct])
        for (text, source, skill), is_new in zip(distinct, new_keys, strict=True):
            if self.config.drop_near_duplicates and not is_new:
                self._drop(source, "near-duplicate")
                continue
            self.tallies[TRAIN, source].kept += 1
            yield PromptRow(prompt_id(text, self._occurrences.get(text, 0)), text, source, skill, TRAIN)

    def _is_fit(self, text: str, source: str) -> bool:
        """Check one training prompt by itself and against the evaluation sets; count it when it fails."""
        words = len(text.split())
        if words < self.config.min_words:
            reason = "too short"
        elif words > self.config.max_words:
            reason = "too long"
        elif self.config.english_only and not is_english(text):
            reason = "not English"
        elif (leak := self._leak(text)) is not None:
            self.leaks[leak] += 1
            reason = "in an evaluation set"
        else:
            return True
        self._drop(source, reason)
        return False

    def _leak(self, text: str) -> str | None:
        if self.config.leakage_guard == "off":
            return None
        evaluated = self._evaluated.get(key_hash(self._leakage_key(text)))
        return evaluated[0].source if evaluated else None

    @property
    def seen(self) -> list[SeenPrompt]:
        """The evaluation prompts that stand in a training source, whether that prompt was drawn and kept or not."""
        return [
            SeenPrompt(row.prompt_id, row.split, row.source, self._seen[key])
            for key, rows in self._evaluated.items()
            if key in self._seen
            for row in rows
        ]

    def _note_if_evaluated(self, text: str, training_source: str) -> None:
        key = key_hash(self._leakage_key(text))
        if key in self._evaluated:
            self._seen.setdefault(key, training_source)

    def _look_beyond_draws(self) -> None:
        """Note what stands in the whole of those training sources that only a part is drawn from.

        So the mark of a prompt is the same for every draw.
        """
        for selection in self.config.train:
            if selection.count is not None:
                for source, prompts in self._sets_of(selection.model_copy(update={"count": None}), endless=False):
                    for text, _ in prompts:
                        self._note_if_evaluated(normalise(text), source)

    def _drop(self, source: str, reason: str) -> None:
        self.tallies[TRAIN, source].dropped[reason] += 1

    def _stream(self, selections: Iterable[PromptSelection]) -> Iterator[tuple[str, str, str, str]]:
        """(normalised text, source, skill, split) of all prompts of some selections, counted as read."""
        for selection in selections:
            for source, prompts in self._sets_of(selection):
                tally = self.tallies.setdefault((selection.split, source), Tally())
                for text, skill in prompts:
                    tally.read += 1
                    yield normalise(text), source, skill or source, selection.split

    def _sets_of(self, selection: PromptSelection, *, endless: bool = True) -> Iterator[tuple[str, Iterator[Prompt]]]:
        """Name and prompts of each set of a selection; with `endless` off, without those that are generated."""
        config = self.config
        if selection.source is None:
            prompts = read_user_file(
                user_path(selection.file or ""),
                seed=config.seed,
                column=selection.column,
                skill=selection.skill or "user",
                count=selection.count,
            )
            yield selection.name, prompts
            return
        for source, prompt_set in select_sets(selection.source):
            if prompt_set.reader in GENERATORS and not endless:
                continue
            prompts = read_prompt_set(
                source,
                prompt_set,
                seed=config.seed,
                count=selection.count,
                local_folder=config.local_dir,
                cache=user_path(config.cache_dir) if config.cache_dir else DEFAULT_CACHE,
            )
            yield f"{source.name}/{prompt_set.name}", prompts
