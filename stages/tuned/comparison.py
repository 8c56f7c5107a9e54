"""Any prompt drawn by a preset's trained model, and by the base model from the same noise."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages.attention.recording import Recording, record
from stages.attention.words import Word, words_of
from stages.entities import EntitiesConfig, find_tokens, load_layout
from stages.images import ImagesConfig
from stages.report.pictures.attention import draw_words
from stages.sampling import TUNED, decode_images, sample_latents, sampling_model
from stages.tuned.tuned_model import TunedModel

if TYPE_CHECKING:
    from torch import Tensor

    from comat_core.backbones.protocol import Backbone

MODELS: dict[str, str | None] = {"base": None, "tuned": TUNED}
"""Model -> the adapter that makes it of the base model."""

WordFinder = Callable[[str], list[Word]]


class ComparisonAbandoned(Exception):  # noqa: N818  (no error: nobody waits for it any more)
    """Whoever asked for a comparison has left."""


@dataclass(frozen=True)
class Comparison:
    """One prompt by both models."""

    prompt: str
    seed: int
    seconds: float
    images: dict[str, bytes]  # model -> PNG
    words: list[dict[str, Any]]  # text, role, and model -> data URI of its attention map


def sample_seed(seed: int, number: int) -> int:
    """The trajectory that a user's seed means, for the prompt of that number."""
    from comat_core.support.randomness import derive_seed

    return derive_seed(seed, "sample", number)


def draw_rows(tuned: TunedModel, prompts: Sequence[str], seed: int, *, compare: bool) -> "Tensor":
    """Return one picture (3, H, W): a row per prompt, and with `compare` the base model's image on the left."""
    import torch

    from comat_core.backbones.adapters import active_adapter

    config, columns = tuned.sampling, []
    seeds = [sample_seed(seed, number) for number in range(len(prompts))]
    with torch.no_grad(), sampling_model(config, tuned.artifacts, config.vae) as model:
        for adapter in MODELS.values() if compare else [TUNED]:
            with active_adapter(model.denoiser, adapter):
                columns.append(decode_images(model, sample_latents(model, config, list(prompts), seeds)))
    rows = [torch.cat(row, dim=-1) for row in zip(*columns, strict=True)]
    return torch.cat(rows, dim=-2)


class Comparer:
    """Compares one prompt after the other with a model that stays loaded. Not for several threads at once."""

    def __init__(self, model: "Backbone", sampling: ImagesConfig, find_words: WordFinder) -> None:
        self._model = model
        self._sampling = sampling
        self._find_words = find_words

    def compare(self, prompt: str, seed: int, is_abandoned: Callable[[], bool] = lambda: False) -> Comparison:
        """Draw the prompt with both models, with the attention of its objects' words.

        The images are those of `comat sample --prompt PROMPT --seed SEED --compare`.

        Args:
            is_abandoned: asked after every step of the sampling.

        Raises:
            ComparisonAbandoned: `is_abandoned` said so.
        """
        from comat_core.backbones.adapters import active_adapter

        def stop_if_abandoned(*_: object) -> None:
            if is_abandoned():
                raise ComparisonAbandoned

        start = time.monotonic()
        stop_if_abandoned()
        words = self._find_words(prompt)
        one = ([prompt], [sample_seed(seed, 0)], [words], stop_if_abandoned)
        recordings: dict[str, Recording] = {}
        for name, adapter in MODELS.items():
            with active_adapter(self._model.denoiser, adapter):
                (recordings[name],) = record(self._model, self._sampling, *one)
        drawn = draw_words(words, recordings)
        images = {name: recording.png for name, recording in recordings.items()}
        return Comparison(prompt, seed, time.monotonic() - start, images, drawn)


@contextmanager
def comparer_of(tuned: TunedModel, entities: EntitiesConfig) -> Iterator[Comparer]:
    """Load the model and the parser, once.

    Raises:
        UserError: the parser is not installed, or a model is not to be had.
    """
    find_words = word_finder(entities)
    with sampling_model(tuned.sampling, tuned.artifacts, tuned.sampling.vae) as model:
        yield Comparer(model, tuned.sampling, find_words)


def word_finder(config: EntitiesConfig) -> WordFinder:
    """What finds a prompt's objects and attributes, as the entities stage does."""
    from comat_core.language.entities import parse_entities
    from comat_core.language.parsers import load_parser
    from data.noun_filter import load_noun_filter

    parser = load_parser(config.parser)
    noun_filter = load_noun_filter(config.noun_filter.resolve() if config.noun_filter else None)
    layout = load_layout(config.base)

    def find(prompt: str) -> list[Word]:
        entities = list(parse_entities([prompt], parser, noun_filter, keep_same_nouns=config.keep_same_nouns))
        (found,) = find_tokens(layout, [prompt], entities)
        return [word for _, entity in found for word in words_of(entity)]

    return find
