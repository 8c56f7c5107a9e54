"""What is known of a kind of pipeline before any of its networks is loaded. Nothing here imports a model library."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comat_core.backbones.protocol import Backbone


@dataclass(frozen=True)
class TextStream:
    """One tokenizer's part of the text axis that a denoiser's attention maps have."""

    tokenizer: str
    """Name of the pipeline's part."""
    encoder: str
    """Name of the text encoder it feeds; a checkpoint saved without it has no such stream."""
    longest: int | None = None
    """Tokens of the stream, start and end token included, if the tokenizer's own maximum is not below that."""
    instruction: Callable[[], str] | None = None
    """Makes the text that the pipeline puts before every prompt; may import a model library. Of the tokens of both, the
    first one and the last ones are kept, as many as the stream is long."""
    prefix: str = ""
    """Text before every prompt whose tokens stay on the axis."""
    lower_case: bool = False
    """Whether the pipeline makes capitals small, and takes white space off both ends."""


@dataclass(frozen=True)
class Family:
    """A kind of stock pipeline that can be trained."""

    parts: Mapping[str, tuple[str, ...]]
    """Part -> the classes that it may be of. The scheduler's are those whose noise levels can be taken over."""
    text_streams: tuple[TextStream, ...]
    """One after the other along the axis. All spans of a word, over all streams, count as that word."""
    backbone_class: "Callable[[], type[Backbone]]"
    """Imports it."""
    optional_parts: tuple[str, ...] = ()
    """Parts that a checkpoint may be saved without."""
    left_out: tuple[str, ...] = ()
    """Parts that are not loaded: drawing images calls none of them, and a safety checker would blacken some."""
