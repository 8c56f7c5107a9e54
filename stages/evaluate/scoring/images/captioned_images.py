"""Real images with captions, as evaluations read them."""

import io
import random
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from comat_core.settings import Settings
from comat_core.support.errors import UserError
from stages.images.image_checks import check_all
from stages.models.model_references import ImageFolder
from stages.plan.config import NOT_IN_KEY

if TYPE_CHECKING:
    from PIL import Image

    from data.real_images.real_pairs import PairSource


class CaptionedImages(Settings):
    """Where real images with captions come from. Defaults are those of the miniature world."""

    source: Annotated[
        Literal["miniature world", "coco", "aro"],
        Field(description="drawn scenes, a folder in COCO's layout, or a list in ARO's layout with wrong captions"),
    ] = "miniature world"
    folder: Annotated[ImageFolder, NOT_IN_KEY, Field(description="the data set's local folder")] = None
    annotations: Annotated[str, Field(min_length=1, description="captions' file below the folder")] = (
        "annotations/captions_val2014.json"
    )
    images: Annotated[str, Field(min_length=1, description="images' folder below the folder")] = "val2014"
    count: Annotated[int, Field(ge=1, le=1_000_000, description="how many images, drawn by the seed")] = 200

    @model_validator(mode="after")
    def _has_a_folder(self) -> Self:
        if (self.source == "miniature world") != (self.folder is None):
            raise ValueError(f"source {self.source} {'needs a' if self.folder is None else 'has no'} folder")
        return self

    def open(self, seed: int, side: int) -> "PairSource":
        """Open the source.

        Args:
            seed: of the run, which is the miniature world's seed too.
            side: pixels per side of the miniature world's images.

        Raises:
            UserError: its files are missing, or of another format.
        """
        from data.real_images.aro import AroList
        from data.real_images.coco_folder import CocoFolder
        from data.real_images.real_pairs import MiniatureWorld

        if self.folder is None:
            return MiniatureWorld(seed, self.count, side, "validation")
        kind = {"coco": CocoFolder, "aro": AroList}[self.source]
        return kind(Path(self.folder.resolve()), self.annotations, self.images)

    def chosen(self, source: "PairSource", seed: int) -> list[int]:
        """The numbers of the images that are read, ascending.

        Raises:
            UserError: there are fewer.
        """
        from comat_core.support.randomness import derive_seed

        total = len(source)
        if total < self.count:
            raise UserError(f"{total} images instead of {self.count}", "real.count", "lower it")
        return sorted(random.Random(derive_seed(seed, "captioned images")).sample(range(total), self.count))

    def identity(self, seed: int, side: int) -> Any:
        """A JSON value that changes when the chosen images do.

        Raises:
            UserError: as `open` and `chosen`.
        """
        source = self.open(seed, side)
        return [source.identity(), self.chosen(source, seed)]

    def check(self, seed: int, side: int) -> None:
        """Read the chosen images.

        Raises:
            UserError: one cannot be read.
        """
        if self.source != "miniature world":
            source = self.open(seed, side)
            check_all(source.read, self.chosen(source, seed), "Checking captioned images")


def squeezed_png(image: "Image.Image", side: int) -> bytes:
    """Resize an image to a square, whatever its shape, so that its caption stays about all of it."""
    from PIL import Image

    buffer = io.BytesIO()
    image.resize((side, side), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()
