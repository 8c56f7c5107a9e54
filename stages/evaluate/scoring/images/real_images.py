"""The real images that fidelity is measured against."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from comat_core.files.paths import folder_exists
from comat_core.settings import Settings
from comat_core.support.errors import UserError
from data.formats.images import READING, SUFFIXES, read_image
from stages.images.image_checks import check_all
from stages.models.folder_files import files_below
from stages.models.model_references import ImageFolder
from stages.plan.config import NOT_IN_KEY

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

ADVICE = "replace it, or take it out of the folder"


class RealImages(Settings):
    """A folder of images (COCO's val2014, for FID-10K), or the miniature world's own validation images."""

    folder: Annotated[
        ImageFolder, NOT_IN_KEY, Field(description="folder of images; none means the miniature world")
    ] = None
    count: Annotated[int, Field(ge=2, le=1_000_000, description="how many images, the first by name or number")] = 2000


def read_real_images(
    source: RealImages, seed: int, resolution: int, numbers: Sequence[int]
) -> "Iterator[NDArray[np.uint8]]":
    """Yield the images of these numbers, each (resolution, resolution, 3).

    Args:
        seed: of the run, which is the miniature world's seed too.
        resolution: side in pixels; images of a folder are cropped to their middle square and resized to it.

    Raises:
        UserError: the folder has fewer images than asked for, one cannot be read, or the miniature world another size.
    """
    files = real_image_files(source)
    return (
        _miniature_world(numbers, seed, resolution)
        if source.folder is None
        else _from_files([files[number] for number in numbers], resolution)
    )


def real_image_files(source: RealImages) -> list[Path]:
    """The files of the images, in their order; none for the miniature world.

    Raises:
        UserError: the folder is missing, or has fewer images than asked for.
    """
    if source.folder is None:
        return []
    folder = Path(source.folder.resolve())
    if not folder_exists(folder):
        raise UserError("no such folder of images", f"real.folder {folder}", "correct it, or download the images")
    files = sorted(path for path in files_below(folder) if path.suffix.lower() in SUFFIXES)[: source.count]
    if len(files) < source.count:
        advice = f"lower real.count, or add images ({', '.join(sorted(SUFFIXES))})"
        raise UserError(f"{len(files)} images instead of {source.count}", f"real.folder {folder}", advice)
    return files


def check_real_images(source: RealImages) -> None:
    """Read the images of a folder.

    Raises:
        UserError: one cannot be read.
    """
    if files := real_image_files(source):
        check_all(_read, files, "Checking real images")


def identity_of_files(source: RealImages) -> list[Any]:
    """A JSON value that changes when the images of a folder do; empty for the miniature world.

    Names and sizes stand for the files: COCO's are gigabytes, and are never changed.
    """
    files = [(file.name, file.stat().st_size) for file in real_image_files(source)]
    return [READING, files] if files else []


def _read(file: Path) -> "Image.Image":
    return read_image(file, advice=ADVICE)


def _miniature_world(numbers: Sequence[int], seed: int, resolution: int) -> "Iterator[NDArray[np.uint8]]":
    from data.miniature_world.pairs import base_world_pair
    from data.miniature_world.vocabulary import IMAGE_SIZE

    if resolution != IMAGE_SIZE:
        advice = f"set resolution to {IMAGE_SIZE}, or name a folder of real images"
        raise UserError(f"the miniature world has no images of {resolution} px", "real images", advice)
    for number in numbers:
        yield base_world_pair(seed, "validation", number)[0]


def _from_files(files: Sequence[Path], resolution: int) -> "Iterator[NDArray[np.uint8]]":
    import numpy as np
    from PIL import Image, ImageOps

    for file in files:
        yield np.asarray(ImageOps.fit(_read(file), (resolution, resolution), Image.Resampling.BICUBIC))
