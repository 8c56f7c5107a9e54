"""When what a segmenter finds of a noun counts as several objects. Planning reads it too: no model library here."""

from typing import Annotated

from pydantic import Field

from comat_core.settings import Settings


class InstanceSettings(Settings):
    """When a mask is one more object of its noun."""

    smallest_share: Annotated[
        float, Field(ge=0, lt=1, description="of the image's pixels; what covers less is a speck and no object")
    ] = 0.005
    most_overlap: Annotated[
        float,
        Field(ge=0, le=1, description="share of the smaller of two masks; beyond it they are one object"),
    ] = 0.5
