"""What a way of drawing with somebody's pipeline has to offer."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from comat_core.support.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image


class DrawingMethod(ABC):
    """A loaded pipeline, and how it is asked for images."""

    pipeline_class: ClassVar[str | None] = None
    """Name in diffusers of the class that the checkpoint's parts are put together as; None for its own."""
    gives: ClassVar[frozenset[str]] = frozenset()
    """Arguments of the pipeline that the method supplies beside the prompt."""

    def __init__(self, pipeline: Any, parser: str, where: str) -> None:
        """Check that the pipeline can be drawn with in this way.

        Args:
            parser: the spaCy pipeline that reads the prompts, for methods that have them read.
            where: the checkpoint, for messages.

        Raises:
            UserError: it does not draw from a prompt alone, or its kind is not what the method works on.
        """
        self.pipeline = pipeline
        self.parser = parser
        self.where = where
        parameters = inspect.signature(type(pipeline).__call__).parameters
        needed = {name for name, one in parameters.items() if one.default is inspect.Parameter.empty}
        needed -= {"self", "prompt", "args", "kwargs"} | self.gives
        if "prompt" not in parameters or "generator" not in parameters or needed:
            lacks = f"needs {', '.join(sorted(needed))} beside a prompt" if needed else "takes no prompt"
            raise UserError(f"{type(pipeline).__name__} {lacks}", where, "give a text-to-image pipeline")

    @abstractmethod
    def draw(
        self, prompts: Sequence[str], generators: Sequence[torch.Generator], options: Mapping[str, Any]
    ) -> "list[Image]":
        """Draw one image of each prompt.

        Args:
            generators: one per prompt, for its noise.
            options: further arguments of the pipeline: steps, guidance, size.
        """
