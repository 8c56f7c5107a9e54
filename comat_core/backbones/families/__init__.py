"""The kinds of pipelines that can be trained, one folder each. Nothing here imports a model library."""

from typing import Final

from comat_core.backbones.families import (
    flux,
    flux2_klein,
    pixart,
    sana,
    stable_diffusion,
    stable_diffusion_3,
    stable_diffusion_xl,
)
from comat_core.backbones.family import Family

FAMILIES: Final[dict[str, Family]] = {
    **stable_diffusion.FAMILIES,
    **stable_diffusion_xl.FAMILIES,
    **stable_diffusion_3.FAMILIES,
    **flux.FAMILIES,
    **flux2_klein.FAMILIES,
    **pixart.FAMILIES,
    **sana.FAMILIES,
}
"""Name of the pipeline's class -> what is known of it."""
