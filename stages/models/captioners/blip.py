"""Settings of BLIP as the captioner."""

from typing import TYPE_CHECKING, Literal

from stages.models.captioners.settings import TransformersCaptionerSettings

if TYPE_CHECKING:
    from comat_core.captioners.blip import BlipCaptioner


class Blip(TransformersCaptionerSettings):
    """BLIP, the paper's choice."""

    kind: Literal["blip"] = "blip"

    def _captioner_class(self) -> "type[BlipCaptioner]":
        from comat_core.captioners.blip import BlipCaptioner

        return BlipCaptioner
