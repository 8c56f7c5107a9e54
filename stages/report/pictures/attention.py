"""Cross-attention of the prompt's words before and after the fine-tuning, as in the paper's figures 2 and 5.

The maps belong to the very images shown: the same model, sampler and noise as the images stage, run once more with the
attention recorded.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages.evaluate.images.generated_images import MODELS, Prompt
from stages.plan.stage import Inputs
from stages.report.pictures.overlays import draw_overlay, heat_map
from stages.report.pictures.pictures import shown_picture
from stages.report.tables.selection import Group

if TYPE_CHECKING:
    from torch import Tensor

    from comat_core.backbones.text_to_image import TextToImageModel
    from comat_core.denoising import StepCallback
    from stages.images import ImagesConfig
    from stages.report import ReportConfig

CAPTURED_STEPS = 10
NOTE = (
    "Share of each pixel's attention that goes to a word, averaged over the UNet's middle and upper cross-attention"
    " layers and over {steps} steps of the sampling. Both maps of a word have one colour scale, from 0 to the stronger"
    " one's highest value. The prompts are the first of each group above, in turn, that name an object."
)


@dataclass(frozen=True)
class Word:
    """A word of the prompt (or an object's adjectives together), and where it stands in the encoder's input."""

    text: str
    role: str  # "noun" or "attribute"
    tokens: list[int]


@dataclass(frozen=True)
class Recording:
    """One model's image of a prompt with its attention maps, each (h, w, tokens)."""

    png: bytes
    layers: "list[Tensor]"


def compose_attention(
    config: "ReportConfig", inputs: Inputs, prompts: Mapping[str, Prompt], groups: Sequence[Group]
) -> dict[str, Any]:
    """The section's content, by the template's names; empty when no prompt names an object, or none is asked for."""
    chosen = _choose(config.attention_examples, _read_words(inputs), groups)
    if not chosen:
        return {"attention": [], "attention_note": ""}
    examples = []
    for prompt_id, words, recordings in _record(config, inputs, prompts, chosen):
        drawn = [draw_word(word, recordings) for word in words]
        images = {model: shown_picture(recordings[model].png) for model in MODELS}
        examples.append({"text": prompts[prompt_id].text, "words": drawn, "images": images})
    steps = len(captured_steps(inputs["base"].manifest.config["sampling"]["num_inference_steps"]))
    return {"attention": examples, "attention_note": NOTE.format(steps=steps)}


def captured_steps(num_inference_steps: int) -> list[int]:
    """At most CAPTURED_STEPS step indices, evenly spread over the sampling."""
    count = min(CAPTURED_STEPS, num_inference_steps)
    return sorted({index * num_inference_steps // count for index in range(count)})


def _read_words(inputs: Inputs) -> dict[str, list[Word]]:
    """Prompt id -> its objects and their attributes, in the prompt's order, without removed and cut-off objects."""
    found: dict[str, list[Word]] = {}
    for row in inputs["entities"].read_table("entities.parquet").to_pylist():
        words = words_of(row)
        if words:
            found.setdefault(row["prompt_id"], []).extend(words)
    return found


def words_of(entity: Mapping[str, Any]) -> list[Word]:
    """The words of one row of the entities table: its attributes, if any, and its noun. None for a removed noun."""
    if not entity["kept"] or not entity["noun_tokens"]:
        return []
    noun = Word(entity["noun"], "noun", entity["noun_tokens"])
    if not entity["attribute_tokens"]:
        return [noun]
    return [Word(" ".join(entity["attributes"]), "attribute", entity["attribute_tokens"]), noun]


def _choose(count: int, words: Mapping[str, list[Word]], groups: Sequence[Group]) -> dict[str, list[Word]]:
    """The first prompt of each group, then the second of each, and so on, as far as they name an object."""
    longest = max((len(group.prompt_ids) for group in groups), default=0)
    in_turn = (group.prompt_ids[rank] for rank in range(longest) for group in groups if rank < len(group.prompt_ids))
    chosen = dict.fromkeys(prompt_id for prompt_id in in_turn if prompt_id in words)
    return {prompt_id: words[prompt_id] for prompt_id in list(chosen)[:count]}


def _record(
    config: "ReportConfig", inputs: Inputs, prompts: Mapping[str, Prompt], chosen: Mapping[str, list[Word]]
) -> Iterator[tuple[str, list[Word], dict[str, Recording]]]:
    """Draw each chosen prompt's first image again with both models, recording attention."""
    sampling = _sampling_of_the_images(config, inputs)
    recordings = {
        model: [_draw(model_input, sampling, prompts[prompt_id]) for prompt_id in chosen]
        for model, model_input in _open_models(sampling, inputs)
    }
    for index, (prompt_id, words) in enumerate(chosen.items()):
        yield prompt_id, words, {model: recordings[model][index] for model in MODELS}


def _sampling_of_the_images(config: "ReportConfig", inputs: Inputs) -> "ImagesConfig":
    """The settings that the images were drawn with; the models are taken from where they lie now."""
    from stages.images import ImagesConfig

    present = {"base": config.base, "vae": config.vae, "device": config.device}
    return ImagesConfig.model_validate(inputs["base"].manifest.config | present)


def _open_models(sampling: "ImagesConfig", inputs: Inputs) -> "Iterator[tuple[str, TextToImageModel]]":
    """Give the base model, then the tuned one, each loaded while it is used."""
    from stages.sampling import sampling_model

    for model, roles in zip(MODELS, (("adapt",), ("adapt", "train")), strict=True):
        own_inputs = {role: inputs[role] for role in roles if role in inputs}
        with sampling_model(sampling, own_inputs, sampling.vae) as opened:
            yield model, opened


def _draw(model: "TextToImageModel", sampling: "ImagesConfig", prompt: Prompt) -> Recording:
    """Draw a prompt's first image as the images stage did, from the same noise, and record its attention."""
    from stages.images import image_seed

    return record(model, sampling, prompt.text, image_seed(sampling.seed, prompt.prompt_id, 0))


def record(
    model: "TextToImageModel",
    sampling: "ImagesConfig",
    text: str,
    seed: int,
    callback: "StepCallback | None" = None,
) -> Recording:
    """Draw one image along the trajectory of its seed and record its attention.

    Args:
        callback: called after every step of the sampling.
    """
    import torch

    from comat_core.backbones.attention_maps import CaptureRequest
    from stages.images.png import encode_png
    from stages.sampling import decode_images, sample

    capture = CaptureRequest(captured_steps(sampling.sampling.num_inference_steps))
    with torch.no_grad():
        result = sample(model, sampling, [text], [seed], capture, callback)
        image = decode_images(model, result.latents)[0]
    layers = [layer[0] for step in result.attention_maps for layer in step.values()]
    return Recording(encode_png(image), layers)


def draw_word(word: Word, recordings: Mapping[str, Recording]) -> dict[str, Any]:
    """A word with its map over each model's image, all on one colour scale."""
    heats = {model: heat_map(recording.layers, word.tokens) for model, recording in recordings.items()}
    top = max(float(heat.max()) for heat in heats.values())
    overlays = {model: draw_overlay(recordings[model].png, heat, top) for model, heat in heats.items()}
    return {"text": word.text, "role": word.role, "overlays": overlays}
