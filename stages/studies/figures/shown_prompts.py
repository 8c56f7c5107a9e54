"""The prompts of a figure of attention, each by the base and the tuned model: recorded by a run, or drawn anew."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from comat_core.support.errors import UserError
from stages.attention.recording import Recording, record
from stages.attention.tables import read_recordings
from stages.attention.words import Word
from stages.batches import batches
from stages.images.finished import find_finished
from stages.plan.pipeline import make_plan
from stages.plan.presets import Preset
from stages.report.pictures.attention import ROLES
from stages.sampling import sampling_model
from stages.store.store import Store
from stages.studies.figures.word_shares import words_named
from stages.tuned.comparison import MODELS, sample_seed
from stages.tuned.tuned_model import TunedModel

if TYPE_CHECKING:
    from comat_core.backbones.text.text_layout import TextLayout
    from stages.tuned.comparison import WordFinder


@dataclass(frozen=True)
class NotedPrompt:
    """A prompt to draw, with its words.

    Attributes:
        words: those that have maps.
        parsed: the parser's: each object's attributes, then its noun.
    """

    text: str
    words: list[Word]
    parsed: list[Word]


@dataclass(frozen=True)
class ShownPrompt(NotedPrompt):
    """A prompt by both models, from the same noise.

    Attributes:
        recordings: model -> its image, with a map for each of the words.
        seed: that the user gave, where there are several.
    """

    recordings: dict[str, Recording]
    seed: int | None = None


def prompts_of_run(preset: Preset, store: Store, name: str, count: int) -> list[ShownPrompt]:
    """The first prompts whose attention a run has recorded, in the order that its seed drew.

    Args:
        name: of the preset as the user wrote it, for the advice.
        count: of prompts, at most.

    Raises:
        UserError: the run has recorded none, or is not finished.
    """
    plan = make_plan(preset.sections)
    if not all(role in plan.by_name for role in ROLES.values()):
        advice = "name a --prompt, or give the preset `attention: {}`"
        raise UserError("the preset records no attention", f"preset {preset.name}", advice)
    artifacts = [find_finished(plan, role, store, name) for role in ROLES.values()]
    recorded = zip(*map(read_recordings, artifacts), strict=True)
    found = []
    for of_models in islice(recorded, count):
        first = of_models[0]
        recordings = {model: one.recording for model, one in zip(ROLES, of_models, strict=True)}
        found.append(ShownPrompt(first.text, first.words, first.words, recordings))
    if not found:
        advice = "name a --prompt, or set attention.examples"
        raise UserError("the run has recorded no prompt's attention", f"preset {preset.name}", advice)
    return found


def note_prompts(
    prompts: Sequence[str], find_words: "WordFinder", layout: "TextLayout", wanted: Sequence[str]
) -> list[NotedPrompt]:
    """Find the words of prompts that a user gives.

    Args:
        wanted: words to show instead of the parser's; of each prompt those that it has.

    Raises:
        UserError: a prompt has none to show, or a wanted one stands in no prompt or where no encoder sees it.
    """
    noted = []
    for prompt in prompts:
        parsed = find_words(prompt)
        words = words_named(layout, prompt, wanted, parsed) if wanted else parsed
        if not words:
            what = "has none of the words" if wanted else "names no object that the parser finds"
            raise UserError(f"the prompt {what}", prompt, "name words of it with --word")
        noted.append(NotedPrompt(prompt, words, parsed))
    shown = {word.text.lower() for prompt in noted for word in prompt.words}
    for word in wanted:
        if word.lower() not in shown:
            raise UserError(f"no prompt has the word {word!r}", "--word", "write it as the prompt does")
    return noted


def record_prompts(tuned: TunedModel, prompts: Sequence[NotedPrompt], seeds: Sequence[int]) -> list[ShownPrompt]:
    """Draw every prompt with every seed and record the attention, by both models.

    The images are those of `comat sample` with the same prompts and seed.
    """
    rows = [(number, prompt, seed) for number, prompt in enumerate(prompts) for seed in seeds]
    by_model = dict(_recorded_by_model(tuned, rows))
    return [
        ShownPrompt(
            **vars(prompt),
            recordings={model: recordings[row] for model, recordings in by_model.items()},
            seed=seed if len(seeds) > 1 else None,
        )
        for row, (_, prompt, seed) in enumerate(rows)
    ]


def _recorded_by_model(
    tuned: TunedModel, rows: Sequence[tuple[int, NotedPrompt, int]]
) -> Iterator[tuple[str, list[Recording]]]:
    from comat_core.backbones.adapters import active_adapter

    config = tuned.sampling
    with sampling_model(config, tuned.artifacts, config.vae) as model:
        for name, adapter in MODELS.items():
            recordings: list[Recording] = []
            with active_adapter(model.denoiser, adapter):
                for batch in batches(rows, config.batch_size, f"Attention, {name}"):
                    texts = [prompt.text for _, prompt, _ in batch]
                    trajectories = [sample_seed(seed, number) for number, _, seed in batch]
                    words = [prompt.words for _, prompt, _ in batch]
                    recordings += record(model, config, texts, trajectories, words)
            yield name, recordings
