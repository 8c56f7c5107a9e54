"""Settings of LLaVA as the captioner."""

from typing import TYPE_CHECKING, Literal

from stages.models.captioners.settings import TransformersCaptionerSettings

if TYPE_CHECKING:
    from comat_core.captioners.llava import LlavaCaptioner


class Llava(TransformersCaptionerSettings):
    """LLaVA."""

    kind: Literal["llava"] = "llava"

    def _captioner_class(self) -> "type[LlavaCaptioner]":
        from comat_core.captioners.llava import LlavaCaptioner

        return LlavaCaptioner
