"""A second miniature captioner: a GIT, for comparing captioners; with scenes and words of its own."""

from typing import Any

from transformers import CLIPImageProcessor, GitConfig, GitForCausalLM, GitProcessor

from comat_core.captioners.git import GitCaptioner
from data.miniature_world.datasets import make_scenes
from data.miniature_world.recipes.blip import CLIP_MEAN, CLIP_STD
from data.miniature_world.recipes.captioner import fit_captioner, harden_captioner, teach_captioner_to_see
from data.miniature_world.recipes.fitting import initialise
from data.miniature_world.recipes.tokenizers import CAPTION_PREFIX, build_bert_tokenizer
from data.miniature_world.vocabulary import IMAGE_SIZE

SCENES = 30_000
SEEING_STEPS = 2_000
STEPS = 6_000
"""After 1,800 it tells what is there and in which colour, and not yet where."""
HARDENING_STEPS = 300
HARDENING_SCENES = 5_000
WIDTH = 96
PATCH_SIZE = 8
TEXT_LENGTH = 64


def train_git(autoencoder: Any, seed: int) -> tuple[GitForCausalLM, GitProcessor]:
    """Train its vision encoder to see, then all of it as the other captioner is trained, for longer."""
    scenes, pixels = make_scenes("balanced", seed, SCENES)
    processor = build_git_processor(seed)
    model = GitForCausalLM(build_git_config(processor))
    initialise(model, seed, "git")
    captioner = GitCaptioner(model, processor, prefix=CAPTION_PREFIX)
    teach_captioner_to_see(captioner, model.git.image_encoder, scenes, pixels, seed, steps=SEEING_STEPS)
    fit_captioner(captioner, scenes, pixels, seed, steps=STEPS)
    chosen = slice(HARDENING_SCENES)
    harden_captioner(
        captioner, autoencoder, scenes[chosen], pixels[chosen], seed, steps=HARDENING_STEPS, steps_before=STEPS
    )
    return model, processor


def build_git_processor(seed: int) -> GitProcessor:
    """Make the processor of 64 px images and captions; as in GIT's own, the image processor is CLIP's."""
    image_processor = CLIPImageProcessor(
        size={"shortest_edge": IMAGE_SIZE},
        crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        image_mean=list(CLIP_MEAN),
        image_std=list(CLIP_STD),
    )
    return GitProcessor(image_processor, build_bert_tokenizer(seed))


def build_git_config(processor: GitProcessor) -> GitConfig:
    """Size a GIT for the miniature world, as wide and deep as the BLIP beside it."""
    tokenizer: Any = processor.tokenizer
    shared: dict[str, Any] = {
        "hidden_size": WIDTH,
        "intermediate_size": 192,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
    }
    return GitConfig(
        vision_config={**shared, "image_size": IMAGE_SIZE, "patch_size": PATCH_SIZE},
        **shared,
        vocab_size=len(tokenizer),
        max_position_embeddings=TEXT_LENGTH,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
