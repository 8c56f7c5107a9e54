"""The images stage: images of the evaluation prompts, by the base model or, with a train input, by the tuned one.

Writes what `stages.images.image_rows` says. The images of a row began with the same noise, whichever model drew them.
"""

from typing import Any

from pydantic import Field, field_validator

from stages.batches import batches
from stages.images.image_rows import ImagesToDraw, count_shards, image_seed, images_of_shard, write_images
from stages.images.other_generators import OtherGenerator, check_name
from stages.images.other_images import OtherImagesConfig
from stages.images.png import encode_png
from stages.models.model_references import Vae
from stages.plan.stage import Inputs, ShardedStage
from stages.sampling import SamplingConfig, decode_images, sample_latents, sampling_model
from stages.store.artifact_writer import ArtifactWriter


class ImagesConfig(SamplingConfig, ImagesToDraw):
    """How many images are drawn, and how."""

    vae: Vae = None
    others: dict[str, OtherGenerator] = Field(
        default={}, description="name -> a further generator, whose images are scored beside those of base and tuned"
    )

    @field_validator("others")
    @classmethod
    def _has_names_of_their_own(cls, others: dict[str, OtherGenerator]) -> dict[str, OtherGenerator]:
        for name in others:
            check_name(name)
        return others

    def of_others(self) -> dict[str, OtherImagesConfig]:
        shared = {name: getattr(self, name) for name in ImagesToDraw.model_fields}
        return {
            name: OtherImagesConfig(generator=generator, **shared)
            for name, generator in self.others.items()
            if generator.splits is None or set(self.samples) <= set(generator.splits)
        }

    def key_payload(self) -> dict[str, Any]:
        payload = super().key_payload()
        return {name: value for name, value in payload.items() if name != "others"}  # their images are not these


def build_shard(config: ImagesConfig, inputs: Inputs, writer: ArtifactWriter, index: int) -> None:
    """Draw the images of one shard."""
    wanted = images_of_shard(config, inputs, index)
    files: list[bytes] = []
    with sampling_model(config, inputs, config.vae) as model:
        for batch in batches(wanted, config.batch_size, f"Images, shard {index + 1}"):
            seeds = [image_seed(config.seed, image["prompt_id"], image["sample"]) for image in batch]
            latents = sample_latents(model, config, [image["text"] for image in batch], seeds)
            files += [encode_png(image) for image in decode_images(model, latents)]
    write_images(writer, index, wanted, files)


STAGE = ShardedStage(
    name="images",
    version=1,
    config_type=ImagesConfig,
    inputs=("prompts",),
    optional_inputs=("train", "adapt"),
    count_shards=count_shards,
    build_shard=build_shard,
)
run = STAGE.run
