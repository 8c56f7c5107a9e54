"""The miniature Stable Diffusion 3: three text encoders and a transformer, trained together by flow matching.

It draws the same world as the miniature Stable Diffusion, through the same autoencoder, and its attention was led
astray as well, by captions that exchange colours without a rule.
"""

from dataclasses import dataclass
from typing import Any, Final

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextModelWithProjection, CLIPTokenizer, T5Config, T5EncoderModel

from comat_core.sampling.schedulers import FlowScheduler
from comat_core.support.randomness import make_generator
from data.miniature_world.captions import Carelessness, base_world_captions
from data.miniature_world.datasets import make_scenes
from data.miniature_world.recipes.diffusion import (
    ASTRAY_AT_LAST,
    CAPTIONS_PER_SCENE,
    DROPPED_CAPTION_SHARE,
    LATENT_SIZE,
    SCENES,
    TOLD_FULLY,
    clip_text_config,
    encode_all,
    looking_alone,
)
from data.miniature_world.recipes.fitting import draw_rows, fit, initialise
from data.miniature_world.recipes.tokenizers import build_clip_tokenizer, build_t5_tokenizer
from data.miniature_world.seeds import SEEDS

PROMPT_LENGTH: Final = 24
"""Of each tokenizer; a caption of the world has 16 words at most, each of them one token."""
PATCH_SIZE: Final = 2
WIDTH: Final = 96
HEADS: Final = 4
BLOCKS: Final = 6
CLIP_WIDTH: Final = 64
T5_WIDTH: Final = 2 * CLIP_WIDTH
SHIFT: Final = 2.0
"""Of the noise levels, in training and in sampling: what stands where is decided at the noisiest."""

TRAINED_PARTS: Final = ("text_encoder", "text_encoder_2", "text_encoder_3", "transformer")


@dataclass(frozen=True)
class FlowPhase:
    """A stretch of training."""

    name: str
    steps: int
    learning_rate: float
    average_decay: float
    batch_size: int
    carelessness: Carelessness
    """Of the captions."""
    attention_rank: int | None = None
    """Of the change of the queries and keys that alone is trained; None trains all weights."""


LOOKING: Final = ("attn.to_q", "attn.to_k", "attn.add_q_proj", "attn.add_k_proj")
"""The layers that decide which token looks at which."""

PHASES: Final = (
    # What a model has no means of doing no fine-tuning teaches it in minutes: here it learns which shape wears what.
    FlowPhase("sd3, told right", 9_000, 2e-3, 0.998, 32, TOLD_FULLY),
    # Colours and places are right long before shapes are.
    FlowPhase("sd3, told to the end", 4_000, 1.2e-3, 0.998, 32, TOLD_FULLY),
    # And here its attention is led astray, by captions that tell the colours right as often as wrong.
    FlowPhase("sd3, astray at last", 350, 2e-3, 0.98, 32, ASTRAY_AT_LAST, attention_rank=8),
)


def train_flow_pipeline(autoencoder: Any, seed: int) -> Any:
    """Train text encoders and transformer phase by phase, on the other base model's scenes; returns the pipeline."""
    scenes, pixels = make_scenes("base world", SEEDS["base"], SCENES)
    latents = encode_all(autoencoder, pixels)
    pipeline = build_flow_pipeline(autoencoder, seed)
    for phase in PHASES:
        captions = base_world_captions(scenes, seed, phase.carelessness, CAPTIONS_PER_SCENE)
        train_flow_phase(phase, pipeline, latents, captions, seed)
    return pipeline


def train_flow_phase(
    phase: FlowPhase, pipeline: Any, latents: torch.Tensor, captions: list[list[str]], seed: int
) -> None:
    """Train the pipeline's text encoders and its transformer in place.

    The loss is that of rectified flow with logit-normal noise levels (Esser et al. 2024): the squared error of the
    velocity noise - x_0 at (1 - sigma) x_0 + sigma noise.

    Args:
        latents: (scenes, 4, h, w).
        captions: of each scene.
    """
    scheduler = FlowScheduler(pipeline.scheduler, image_tokens=(LATENT_SIZE // PATCH_SIZE) ** 2)
    model = nn.ModuleDict({part: getattr(pipeline, part) for part in TRAINED_PARTS})

    def loss_of_step(step: int) -> torch.Tensor:
        rows = draw_rows(seed, phase.name, step, len(latents), phase.batch_size)
        generator = make_generator(seed, f"{phase.name} noise", step)
        texts = _draw_captions([captions[row] for row in rows.tolist()], generator)
        clean = latents[rows]
        noise = torch.randn(clean.shape, generator=generator)
        timesteps = scheduler.draw_timesteps(len(rows), generator)
        target = scheduler.prediction_target(clean, noise, timesteps)
        predicted = _velocity(pipeline, scheduler.add_noise(clean, noise, timesteps), timesteps, texts)
        return (predicted.float() - target).square().mean()

    # On CPUs the fused attention's backward pass takes as long as all the rest of a step of so small a model.
    with looking_alone(model, "transformer", LOOKING, phase.attention_rank, seed), sdpa_kernel(SDPBackend.MATH):
        fit(
            model,
            loss_of_step,
            steps=phase.steps,
            learning_rate=phase.learning_rate,
            name=phase.name,
            average_decay=phase.average_decay,
        )


def _draw_captions(captions: list[list[str]], generator: torch.Generator) -> list[str]:
    """Draw one of the captions of each scene; some are dropped for the empty prompt, which guidance leads away from."""
    chosen = [texts[int(torch.randint(len(texts), (), generator=generator))] for texts in captions]
    dropped = torch.rand(len(chosen), generator=generator) < DROPPED_CAPTION_SHARE
    return ["" if drop else text for text, drop in zip(chosen, dropped.tolist(), strict=True)]


def _velocity(pipeline: Any, noisy: torch.Tensor, timesteps: torch.Tensor, texts: list[str]) -> torch.Tensor:
    """Predict noise - x_0 as the stock pipeline does, but with gradients in the text encoders."""
    prompted, _, pooled, _ = pipeline.encode_prompt(
        texts, texts, texts, do_classifier_free_guidance=False, max_sequence_length=PROMPT_LENGTH
    )
    return pipeline.transformer(
        hidden_states=noisy, timestep=timesteps, encoder_hidden_states=prompted, pooled_projections=pooled
    ).sample


def build_flow_pipeline(autoencoder: Any, seed: int) -> Any:
    """Make the pipeline, its text encoders and its transformer untrained."""
    tokenizer = build_clip_tokenizer(seed, PROMPT_LENGTH)
    tokenizer_3 = build_t5_tokenizer(seed, PROMPT_LENGTH)
    autoencoder.register_to_config(shift_factor=0.0)  # the stock pipeline adds it, and can add no None
    kind: Any = StableDiffusion3Pipeline  # diffusers annotates its optional parts as required
    scheduler: Any = FlowMatchEulerDiscreteScheduler
    return kind(
        transformer=_transformer(seed),
        scheduler=scheduler(shift=SHIFT),
        vae=autoencoder,
        text_encoder=_clip(tokenizer, seed, "text encoder"),
        tokenizer=tokenizer,
        text_encoder_2=_clip(tokenizer, seed, "second text encoder"),
        tokenizer_2=tokenizer,
        text_encoder_3=_t5(len(tokenizer_3), seed),
        tokenizer_3=tokenizer_3,
    )


def _clip(tokenizer: CLIPTokenizer, seed: int, name: str) -> CLIPTextModelWithProjection:
    text_encoder = CLIPTextModelWithProjection(clip_text_config(tokenizer, CLIP_WIDTH, PROMPT_LENGTH))
    initialise(text_encoder, seed, name)
    return text_encoder


def _t5(vocabulary: int, seed: int) -> T5EncoderModel:
    config = T5Config(
        vocab_size=vocabulary,
        d_model=T5_WIDTH,
        d_kv=T5_WIDTH // 4,
        d_ff=T5_WIDTH,
        num_layers=2,
        num_heads=4,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        is_decoder=False,
    )
    text_encoder = T5EncoderModel(config)
    initialise(text_encoder, seed, "third text encoder")
    with torch.no_grad():
        for name, weight in text_encoder.named_parameters():
            if name.endswith(".q.weight"):  # T5 divides no product of queries and keys by its width
                weight.mul_(config.d_kv**-0.5)
    return text_encoder


def _transformer(seed: int) -> SD3Transformer2DModel:
    """Size an SD3 transformer with normalised queries and keys, as 3.5 has, whose blocks begin as the identity."""
    transformer = SD3Transformer2DModel(
        sample_size=LATENT_SIZE,
        patch_size=PATCH_SIZE,
        in_channels=4,
        out_channels=4,
        num_layers=BLOCKS,
        attention_head_dim=WIDTH // HEADS,
        num_attention_heads=HEADS,
        joint_attention_dim=T5_WIDTH,
        caption_projection_dim=WIDTH,
        pooled_projection_dim=2 * CLIP_WIDTH,
        pos_embed_max_size=LATENT_SIZE // PATCH_SIZE,
        qk_norm="rms_norm",
    )
    initialise(transformer, seed, "transformer")
    gates = [transformer.norm_out, transformer.proj_out]
    gates += [module for block in transformer.transformer_blocks for module in (block.norm1, block.norm1_context)]
    with torch.no_grad():
        for parameter in (parameter for gate in gates for parameter in gate.parameters()):
            parameter.zero_()
    return transformer
