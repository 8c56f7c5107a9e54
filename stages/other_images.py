"""The images stage of a generator that is neither base nor tuned: see `stages.other_generators`.

Writes what `stages.image_rows` says, every image at the run's resolution.
"""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from comat_core.errors import UserError
from comat_core.files.paths import folder_exists, user_path
from comat_core.parser_identity import parser_identity
from stages.artifacts import ArtifactWriter
from stages.image_folders import read_folder
from stages.image_rows import (
    ImagesToDraw,
    count_shards,
    image_seed,
    images_of_shard,
    images_to_draw,
    write_images,
)
from stages.other_generators import OtherGenerator, opened
from stages.progress import progress_bar
from stages.sampling import in_parts
from stages.stage import Inputs, ShardedStage

if TYPE_CHECKING:
    from PIL.Image import Image


class OtherImagesConfig(ImagesToDraw):
    """What a further generator draws."""

    generator: OtherGenerator = Field(description="who draws")

    def key_payload(self) -> dict[str, Any]:
        payload = super().key_payload()
        if self.generator.folder is not None:
            _folder_of(self)  # said before anything runs
        if self.generator.method == "attend and excite":
            payload["parser"] = parser_identity(self.generator.parser)
        return payload


def build_shard(config: OtherImagesConfig, inputs: Inputs, writer: ArtifactWriter, index: int) -> None:
    """Draw or read the images of one shard."""
    wanted = images_of_shard(config, inputs, index)
    if config.generator.folder is not None:
        paths = read_folder(_folder_of(config), images_to_draw(config, inputs))
        chosen = in_parts(paths, config.shard_size)[index]
        files = [_read(path, config.resolution) for path in progress_bar(chosen, f"Images, shard {index + 1}")]
    else:
        files = []
        with opened(config.generator, config.device) as painter:
            for batch in progress_bar(in_parts(wanted, config.batch_size), f"Images, shard {index + 1}"):
                seeds = [image_seed(config.seed, image["prompt_id"], image["sample"]) for image in batch]
                drawn = painter.draw([image["text"] for image in batch], seeds)
                files += [_encode(image, config.resolution) for image in drawn]
    write_images(writer, index, wanted, files)


def _folder_of(config: OtherImagesConfig) -> Path:
    assert config.generator.folder is not None
    folder = user_path(config.generator.folder.path)
    if not folder_exists(folder):
        raise UserError("no such folder of images", str(folder), "correct the generator's folder")
    return folder


def _read(path: Path, resolution: int) -> bytes:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            image.load()
            return _encode(image, resolution, str(path))
    except (UnidentifiedImageError, OSError) as error:
        raise UserError("the image cannot be read", str(path), "replace the file") from error


def _encode(image: "Image", resolution: int, where: str = "the generator's pipeline") -> bytes:
    """A PNG file of the image; one of another size is resized."""
    from PIL import Image

    if image.width != image.height:
        problem = f"an image is {image.width} x {image.height} px, not square"
        raise UserError(problem, where, "give square images; the benchmarks' scores depend on the shape")
    side = (resolution, resolution)
    resized = (
        image.convert("RGB") if image.size == side else image.convert("RGB").resize(side, Image.Resampling.LANCZOS)
    )
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
