"""What a checkpoint's image processor does to an image, as tensor operations that let the gradient through."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from comat_core.support.errors import UserError
from comat_core.support.numerics import at_least_float32

_INTERPOLATIONS: Final = {
    0: InterpolationMode.NEAREST,
    2: InterpolationMode.BILINEAR,
    3: InterpolationMode.BICUBIC,
}
"""PIL's numbers for the resampling filters, as they stand in preprocessor_config.json."""


@dataclass(frozen=True)
class ImagePreprocessing:
    """Resize with antialiasing, crop the centre, normalise.

    It differs from the processors of transformers in what training needs: it is differentiable, and it neither clamps
    nor rounds to 8 bits, so that values a little outside [0, 1] keep their gradient.
    """

    size: tuple[int, int] | int
    """(height, width) in pixels, whatever the aspect ratio; or the shorter side's length, which keeps the ratio."""
    crop: tuple[int, int] | None
    """(height, width) of the centre crop in pixels; None keeps everything."""
    interpolation: InterpolationMode
    mean: tuple[float, ...]
    """Per channel, in the unit of a [0, 1] image."""
    std: tuple[float, ...]

    @classmethod
    def from_processor(
        cls, image_processor: Any, where: str, *, size: tuple[int, int] | None = None
    ) -> "ImagePreprocessing":
        """Read the settings of a checkpoint's own image processor.

        Args:
            image_processor: a transformers image processor.
            where: what an error message calls the checkpoint.
            size: (height, width) in place of the processor's own, where its size is a rule.

        Raises:
            UserError: the processor does something that this class cannot reproduce.
        """
        interpolation = _INTERPOLATIONS.get(int(image_processor.resample))
        rescales = image_processor.do_rescale and abs(image_processor.rescale_factor * 255 - 1) < 1e-6
        pads = getattr(image_processor, "do_pad", False)
        if interpolation is None or not image_processor.do_resize or not rescales or pads:
            raise UserError(
                "the image processor pads, does not resize, does not rescale by 1/255, or uses an unknown filter",
                where,
                "use a checkpoint whose processor resizes, crops and normalises",
            )
        normalises = image_processor.do_normalize
        crops = getattr(image_processor, "do_center_crop", False)
        return cls(
            size=size or _read_size(image_processor.size, where),
            crop=_read_crop(image_processor.crop_size) if crops else None,
            interpolation=interpolation,
            mean=tuple(image_processor.image_mean) if normalises else (0.0, 0.0, 0.0),
            std=tuple(image_processor.image_std) if normalises else (1.0, 1.0, 1.0),
        )

    def without_crop(self) -> "ImagePreprocessing":
        """The same with the whole image squeezed into the crop's size: a centre crop leaves the borders unseen."""
        return replace(self, size=self.crop or self.size, crop=None)

    def __call__(self, images: Tensor) -> Tensor:
        """Turn (B, 3, H, W) images in [0, 1], of any size and float type, into a model input of at least float32."""
        height, width = images.shape[-2:]
        size = list(self.size) if isinstance(self.size, tuple) else _shorter_side(height, width, self.size)
        images = at_least_float32(images)
        if size != [height, width]:
            images = transforms.resize(images, size, interpolation=self.interpolation, antialias=True)
        if self.crop is not None:
            images = transforms.center_crop(images, list(self.crop))
        return transforms.normalize(images, list(self.mean), list(self.std))


def _shorter_side(height: int, width: int, length: int) -> list[int]:
    """Scale (height, width) so that the shorter side has the given length; the longer is cut to whole pixels."""
    if height <= width:
        return [length, int(length * width / height)]
    return [int(length * height / width), length]


def _read_size(size: Mapping[str, int] | Any, where: str) -> tuple[int, int] | int:
    sides = {key: value for key, value in dict(size).items() if value is not None}
    if set(sides) == {"height", "width"}:
        return sides["height"], sides["width"]
    if set(sides) == {"shortest_edge"}:
        return sides["shortest_edge"]
    raise UserError(
        f"the image processor resizes by {', '.join(sorted(sides))}", where, "use one that sets height and width"
    )


def _read_crop(crop: Mapping[str, int] | Any) -> tuple[int, int]:
    sides = dict(crop)
    return sides["height"], sides["width"]
