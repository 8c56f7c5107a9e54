"""Cross-attention of the prompt's words before and after the fine-tuning, as pictures of the attention stage's maps."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from stages.attention.recording import Recording, captured_steps
from stages.attention.tables import read_recordings
from stages.attention.words import Word
from stages.evaluate.scoring.images.generated_images import MODELS
from stages.plan.stage import Inputs
from stages.report.pictures.overlays import draw_overlay
from stages.report.pictures.pictures import shown_picture

ROLES: Final = {model: f"attention.{model}" for model in MODELS}
"""Model -> role of its maps among the report's inputs, which is their node's name."""
NOTE: Final = (
    "Share of each pixel's attention that goes to a word, averaged over the layers that attribute concentration looks"
    " at and over {steps} steps of the sampling. Both maps of a word have one colour scale, from 0 to the stronger"
    " one's highest value. The prompts were drawn by the run's seed, without a look at any image, among those that name"
    " an object."
)


def compose_attention(inputs: Inputs) -> dict[str, Any]:
    """The section's content, by the template's names; empty when the run has no maps, or no prompt names an object."""
    if not all(role in inputs for role in ROLES.values()):
        return {"attention": [], "attention_note": ""}
    recorded = [read_recordings(inputs[role]) for role in ROLES.values()]
    examples = []
    for of_models in zip(*recorded, strict=True):
        prompt = of_models[0]
        assert all(other.prompt_id == prompt.prompt_id for other in of_models), "both models draw the same prompts"
        recordings = {model: other.recording for model, other in zip(ROLES, of_models, strict=True)}
        images = {model: shown_picture(recording.png) for model, recording in recordings.items()}
        examples.append({"text": prompt.text, "words": draw_words(prompt.words, recordings), "images": images})
    return {"attention": examples, "attention_note": NOTE.format(steps=_steps(inputs)) if examples else ""}


def draw_words(words: Sequence[Word], recordings: Mapping[str, Recording]) -> list[dict[str, Any]]:
    """Each word with its map over each model's image, all of a word on one colour scale.

    Args:
        recordings: model -> its recording, with a map for each of the words.
    """
    drawn = []
    for number, word in enumerate(words):
        heats = {model: recording.maps[number] for model, recording in recordings.items()}
        top = max(float(heat.max()) for heat in heats.values())
        overlays = {model: draw_overlay(recordings[model].png, heat, top) for model, heat in heats.items()}
        drawn.append({"text": word.text, "role": word.role, "overlays": overlays})
    return drawn


def _steps(inputs: Inputs) -> int:
    sampling = inputs[ROLES["base"]].manifest.config["sampling"]
    return len(captured_steps(sampling["num_inference_steps"]))
