"""The models of the miniature world, and the seed that each is trained with."""

from typing import Final

SEEDS: Final = {"base": 1, "captioner": 11, "vqa": 44, "judge": 22, "segmenter": 33, "git": 55, "dino": 66, "sd3": 77}
"""Each model has a seed of its own and so scenes of its own: what measures is never what was trained against."""
