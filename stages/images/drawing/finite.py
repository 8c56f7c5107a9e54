"""Let a pipeline end with an error where it would draw numbers that are none as black pixels."""

from typing import Any

import torch

from comat_core.support.finite_numbers import check_finite


def refuse_non_finite(pipeline: Any, where: str) -> None:
    """Check images on their way to pixels.

    Whatever the architecture, its images come through one of these two converters.
    """
    converters: tuple[Any, ...] = (pipeline, getattr(pipeline, "image_processor", None))
    for converter in converters:
        convert = getattr(converter, "numpy_to_pil", None)
        if convert is not None:

            def checked(images: Any, convert: Any = convert) -> Any:
                check_finite(torch.as_tensor(images), "the images that the pipeline draws", where)
                return convert(images)

            converter.numpy_to_pil = checked
