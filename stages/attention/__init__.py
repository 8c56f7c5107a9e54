"""The attention stage: where some prompts' words look, in the base model or, with a train input, in the tuned one.

Writes what `stages.attention.tables` says. Each prompt's image is the first that the images stage draws of it: the same
model, sampler and noise, once more with the attention recorded.
"""

import math
from collections.abc import Sequence

from pydantic import Field

from stages.attention.words import ChosenPrompt, choose_prompts
from stages.batches import batches, in_parts
from stages.images.image_rows import image_seed
from stages.models.model_references import Vae
from stages.plan.splits import TEST
from stages.plan.stage import Inputs, ShardedStage
from stages.sampling import SamplingConfig, sampling_model
from stages.store.artifact_writer import ArtifactWriter


class AttentionConfig(SamplingConfig):
    """Which prompts' attention is recorded, and how they are drawn: as the images are, where nothing else is said."""

    vae: Vae = None
    split: str = Field(default=TEST, pattern=r"^[a-z_]+$", description="split of the prompts to choose from")
    examples: int = Field(
        default=4, ge=0, le=10_000, description="prompts, drawn by the seed among those that name an object; 0 for none"
    )
    prompts_per_shard: int = Field(default=64, ge=1, le=10_000, description="what a killed run draws again at most")


def count_shards(config: AttentionConfig, inputs: Inputs) -> int:
    """Number of shards that the chosen prompts fill: none if no prompt names an object."""
    return math.ceil(len(_chosen(config, inputs)) / config.prompts_per_shard)


def build_shard(config: AttentionConfig, inputs: Inputs, writer: ArtifactWriter, index: int) -> None:
    """Draw the prompts of one shard and record their attention."""
    from stages.attention.recording import record
    from stages.attention.tables import write_recordings

    prompts = in_parts(_chosen(config, inputs), config.prompts_per_shard)[index]
    recordings = []
    with sampling_model(config, inputs, config.vae) as model:
        for batch in batches(prompts, config.batch_size, f"Attention, shard {index + 1}"):
            seeds = [image_seed(config.seed, prompt.prompt_id, 0) for prompt in batch]
            texts, words = [prompt.text for prompt in batch], [prompt.words for prompt in batch]
            recordings += record(model, config, texts, seeds, words)
    write_recordings(writer, index, prompts, recordings)


def _chosen(config: AttentionConfig, inputs: Inputs) -> Sequence[ChosenPrompt]:
    return choose_prompts(inputs, config.split, config.examples, config.seed)


STAGE = ShardedStage(
    name="attention",
    version=1,
    config_type=AttentionConfig,
    inputs=("prompts", "entities"),
    optional_inputs=("train", "adapt"),
    count_shards=count_shards,
    build_shard=build_shard,
)
run = STAGE.run
