"""Prompts by two models, made up: every map and share in them is known."""

import numpy as np

from stages.attention.recording import SIDE, Recording
from stages.attention.words import Word
from stages.studies.figures.shown_prompts import ShownPrompt
from tests.stages.fake_run import flat_png

PROMPT = "a red circle and a blue square"
PARSED = [
    Word("red", "attribute", [2]),
    Word("circle", "noun", [3]),
    Word("blue", "attribute", [6]),
    Word("square", "noun", [7]),
]
TOKENS = 32
COLOURS = {"base": (200, 30, 30), "tuned": (30, 30, 200)}


def activations(model: str) -> list[float]:
    """A different share for every token."""
    shares = np.arange(1, TOKENS + 1) if model == "base" else np.arange(TOKENS, 0, -1)
    return [float(share) for share in shares / shares.sum()]


def recording(model: str, words: int, png: bytes | None = None) -> Recording:
    """Maps that are 0.01, 0.02, ... all over, and twice that by the tuned model."""
    strength = 0.01 if model == "base" else 0.02
    maps = [np.full((SIDE, SIDE), strength * number, dtype=np.float32) for number in range(1, words + 1)]
    return Recording(png or flat_png(COLOURS[model]), maps, activations(model))


def shown_prompt(text: str = PROMPT, words: list[Word] | None = None, seed: int | None = None) -> ShownPrompt:
    chosen = PARSED if words is None else words
    recordings = {model: recording(model, len(chosen)) for model in COLOURS}
    return ShownPrompt(text, chosen, PARSED, recordings, seed)
