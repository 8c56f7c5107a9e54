"""The images stage of a generator that is neither base nor tuned: see `stages.images.other_generators`.

Writes what `stages.images.image_rows` says, every image at the run's resolution.
"""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from comat_core.files.paths import folder_exists, user_path
from comat_core.language.parser_identity import parser_identity
from comat_core.support.errors import UserError
from data.formats.images import READING, as_shown, read_image
from stages.batches import batches, in_parts
from stages.images.image_checks import check_all
from stages.images.image_folders import read_folder
from stages.images.image_rows import (
    ImagesToDraw,
    count_shards,
    image_seed,
    images_of_shard,
    images_to_draw,
    write_images,
)
from stages.images.other_generators import OtherGenerator, check_lora, opened
from stages.plan.stage import Inputs, ShardedStage
from stages.progress import progress_bar
from stages.store.artifact_writer import ArtifactWriter
from stages.store.artifacts import Artifact

if TYPE_CHECKING:
    from PIL.Image import Image


class OtherImagesConfig(ImagesToDraw):
    """What a further generator draws."""

    generator: OtherGenerator = Field(description="who draws")

    def key_payload(self) -> dict[str, Any]:
        payload = super().key_payload()
        if self.generator.folder is not None:
            _folder_of(self)  # said before anything runs
            payload["reading"] = READING
        if self.generator.reads_prompts:
            payload["parser"] = parser_identity(self.generator.parser)
        return payload

    def fetch_files(self) -> None:
        """Make sure that the pipeline takes its LoRA, if it has one."""
        if self.generator.lora is not None:
            check_lora(self.generator)

    def check_prompts(self, prompts: Artifact) -> None:
        if self.generator.folder is not None:
            files = read_folder(_folder_of(self), images_to_draw(self, {"prompts": prompts}))
            check_all(_read_square, files, "Checking images")


def build_shard(config: OtherImagesConfig, inputs: Inputs, writer: ArtifactWriter, index: int) -> None:
    """Draw or read the images of one shard."""
    wanted = images_of_shard(config, inputs, index)
    if config.generator.folder is not None:
        paths = read_folder(_folder_of(config), images_to_draw(config, inputs))
        chosen = in_parts(paths, config.shard_size)[index]
        bar = progress_bar(chosen, f"Images, shard {index + 1}")
        files = [_encode(_read_square(path), config.resolution) for path in bar]
    else:
        files = []
        with opened(config.generator, config.device) as painter:
            for batch in batches(wanted, config.batch_size, f"Images, shard {index + 1}"):
                seeds = [image_seed(config.seed, image["prompt_id"], image["sample"]) for image in batch]
                drawn = painter.draw([image["text"] for image in batch], seeds)
                for image in drawn:
                    _check_square(image, "the generator's pipeline")
                    files.append(_encode(as_shown(image), config.resolution))
    write_images(writer, index, wanted, files)


def _folder_of(config: OtherImagesConfig) -> Path:
    assert config.generator.folder is not None
    folder = user_path(config.generator.folder.path)
    if not folder_exists(folder):
        raise UserError("no such folder of images", str(folder), "correct the generator's folder")
    return folder


def _read_square(path: Path) -> "Image":
    image = read_image(path)
    _check_square(image, str(path))
    return image


def _check_square(image: "Image", where: str) -> None:
    if image.width != image.height:
        problem = f"an image is {image.width} x {image.height} px, not square"
        raise UserError(problem, where, "give square images; the benchmarks' scores depend on the shape")


def _encode(image: "Image", resolution: int) -> bytes:
    """A PNG file of an RGB image; one of another size is resized."""
    from PIL import Image

    side = (resolution, resolution)
    resized = image if image.size == side else image.resize(side, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    resized.save(buffer, "PNG")
    return buffer.getvalue()


STAGE = ShardedStage(
    name="images.other",
    version=1,
    config_type=OtherImagesConfig,
    inputs=("prompts",),
    count_shards=count_shards,
    build_shard=build_shard,
)
run = STAGE.run
