"""The model card beside a LoRA: what it is, how to use it, how it was made."""

from collections.abc import Sequence

from stages.models.published_facts import UNKNOWN, licence_of, published_facts
from stages.models.rewards import RewardSettings
from stages.plan.config import ModelReference
from stages.train.config import TrainConfig
from stages.train.helpers import Helper, helpers_of, judges_of

MODEL_CARD = "README.md"

_CARD = """---
base_model: {base}
base_model_relation: adapter
library_name: diffusers
pipeline_tag: text-to-image
tags: [text-to-image, diffusers, lora, comat]
---

# {title}

A LoRA that makes {base} follow its prompts more closely, trained with [CoMat](https://arxiv.org/abs/2404.03653):
an image captioner scores each generated image against its prompt, and the gradient of that score trains the LoRA.

    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained({load})
    {usage}
    image = pipeline("{example}", height={resolution}, width={resolution}).images[0]
{warning}{chosen}
## Training

| setting | value |
| --- | --- |
| steps | {steps} |
| prompts per step | {prompts} |
| real images denoised per step | {pairs} |
| resolution | {resolution} px |
| LoRA rank, alpha | {rank}, {rank} |
| learning rate | {learning_rate:g} |
| weight of concept activation | {concept_activation:g} |
| weight of fidelity preservation | {fidelity:g} |
| weights of attribute concentration | {attribute_region:g}, {attribute_pixel:g} |
{helpers}
| denoising | {scheduler}, {num_inference_steps} steps, guidance {guidance_scale:g}, {gradient_steps} with gradient |
| precision | {precision} |
| seed | {seed} |

The licence of the base model holds for this LoRA too.
"""
_WARMED_UP = """
The base model was adapted to {resolution} px before this LoRA was trained on it. On the unchanged one the LoRA works,
but not exactly as evaluated; `comat export --format merged` writes the whole pipeline, adapted weights included.
"""
_EXAMPLE = "a red bird and a blue cube"


def model_title(config: TrainConfig) -> str:
    """A short name for people."""
    return f"CoMat LoRA for {_model_name(config)}"


def base_name(config: TrainConfig) -> str:
    """The base model, with its revision if it has one."""
    return _model_name(config) + (f"@{config.base.revision}" if config.base.revision else "")


def write_model_card(config: TrainConfig, *, adapted: bool, usage: Sequence[str], chosen: str = "") -> str:
    """Compose the card, in Markdown.

    Args:
        adapted: whether the LoRA stands on a denoiser that the adapt stage has changed.
        chosen: what is to be said of the step that is delivered (`stages.train.brake.card`).
        usage: lines of Python that load the LoRA (`comat_core.backbones.lora.lora_files.LoraFiles`).
    """
    revision = f', revision="{config.base.revision}"' if config.base.revision else ""
    micro_batches = config.processes * config.gradient_accumulation
    return _CARD.format(
        base=_model_name(config),
        title=model_title(config),
        load=f'"{_model_name(config)}"{revision}',
        usage="\n    ".join(usage),
        example=_EXAMPLE,
        warning=_WARMED_UP.format(resolution=config.resolution) if adapted else "",
        prompts=micro_batches * config.batch_size,
        pairs=micro_batches * config.denoised_pairs,
        rank=config.online.rank,
        learning_rate=config.online.learning_rate,
        chosen=chosen,
        helpers="\n".join(
            [
                *_layers(config),
                *map(_describe, helpers_of(config)),
                *map(_describe, judges_of(config)),
                *_averaging(config),
                *_fewer_calls(config),
            ]
        ),
        **config.weights.model_dump(),
        **config.sampling.model_dump(include={"scheduler", "num_inference_steps", "guidance_scale", "gradient_steps"}),
        **config.model_dump(include={"steps", "resolution", "precision", "seed"}),
    )


def _layers(config: TrainConfig) -> list[str]:
    targets = config.online.target_modules
    return [] if targets is None else [f"| LoRA's layers | {', '.join(targets)} |"]


def _averaging(config: TrainConfig) -> list[str]:
    decay = config.online.average_decay
    return [] if decay is None else [f"| moving average of the LoRA | decay {decay:g} |"]


def _fewer_calls(config: TrainConfig) -> list[str]:
    """What of the walk from noise was left out, if anything was."""
    sampling, lines = config.sampling, []
    if sampling.guidance_interval is not None:
        first, last = sampling.guidance_interval
        lines.append(f"| guided timesteps | {first:g} to {last:g} |")
    if sampling.start_steps is not None:
        steps = ", ".join(map(str, sampling.start_steps))
        lines.append(f"| first denoising step | drawn from {steps} |")
    return lines


def _describe(helper: Helper) -> str:
    """The row of a model that helped: its kind, and where it came from, with the licences that are known."""
    facts = published_facts()
    licences = [licence_of(reference, facts) for reference in helper.references]
    names = [
        _name_of(reference) + ("" if licence == UNKNOWN else f" ({licence})")
        for reference, licence in zip(helper.references, licences, strict=True)
    ]
    kind = helper.settings.kind
    if isinstance(helper.settings, RewardSettings):
        kind += f" times {helper.settings.weight:g}"
    return f"| {helper.role} | {kind}: {', '.join(names) or 'on the base model'} |"


def _model_name(config: TrainConfig) -> str:
    return _name_of(config.base)


def _name_of(reference: ModelReference) -> str:
    """The hub's name, or a folder's own name: where the folder lies is nobody's business."""
    return reference.path if reference.local_path() is None else reference.path.rstrip("/").split("/")[-1]
