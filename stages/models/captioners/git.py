"""Settings of GIT as the captioner."""

from typing import TYPE_CHECKING, Literal

from stages.models.captioners.settings import TransformersCaptionerSettings

if TYPE_CHECKING:
    from comat_core.captioners.git import GitCaptioner


class Git(TransformersCaptionerSettings):
    """GIT."""

    kind: Literal["git"] = "git"

    def _captioner_class(self) -> "type[GitCaptioner]":
        from comat_core.captioners.git import GitCaptioner

        return GitCaptioner
