"""S(I'): the mask of each prompt's entities, objects of one noun told apart by the attention that they receive.

A segmenter knows nouns alone, so the two circles of "a red circle and a blue circle" are the same to it. Which of the
circles in the image is the red one is asked of the online model itself: the circle at which the tokens of "red circle"
look, in the attention maps that are to be concentrated.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from comat_core.losses.attribute_concentration import EntityTokens, resize_masks, share_of_total
from comat_core.segmenters.protocol import InstanceSegmenter
from comat_core.support.numerics import at_least_float32, full_precision

Steps = Sequence[Mapping[str, Tensor]]
"""For each captured step, layer name -> (B, h, w, L) attention probabilities."""


@torch.no_grad()
def entity_masks(
    segmenter: InstanceSegmenter, images: Tensor, entities: Sequence[Sequence[EntityTokens]], attention_maps: Steps
) -> list[Tensor]:
    """Find the entities of each prompt in its image, looking only into images whose prompt has any.

    An entity whose noun is its own gets all that the segmenter finds of it. Of entities that share a noun each gets one
    object, see `assign_instances`. What is not found, or not left over for it, gets an empty mask.

    Args:
        images: (B, 3, H, W); values outside [0, 1] are clamped.
        attention_maps: of the images' own denoising, B rows each; looked at only where entities share a noun.

    Returns:
        For each prompt (entities, H, W) booleans, in the entities' order.
    """
    masks = [torch.zeros(0, *images.shape[-2:], dtype=torch.bool, device=images.device) for _ in images]
    shared = [_shared_nouns(row) for row in entities]
    if apart := [row for row, nouns in enumerate(shared) if entities[row] and not nouns]:
        nouns = [[entity.noun for entity in entities[row]] for row in apart]
        for row, found in zip(apart, segmenter.segment(images[apart].clamp(0, 1), nouns), strict=True):
            masks[row] = found
    if alike := [row for row, nouns in enumerate(shared) if nouns]:
        nouns = [list(dict.fromkeys(map(_name, entities[row]))) for row in alike]
        found = segmenter.segment_instances(images[alike].clamp(0, 1), nouns)
        for row, of_row, instances in zip(alike, nouns, found, strict=True):
            of_noun = dict(zip(of_row, instances, strict=True))
            masks[row] = _masks_of_row(entities[row], shared[row], of_noun, _rows_of(attention_maps, row))
    return masks


def assign_instances(mentions: Sequence[EntityTokens], instances: Tensor, attention_maps: Steps) -> dict[int, int]:
    """Give mentions of a noun different objects of it, so that they receive the most attention of all assignments.

    As many as there are of the fewer: mentions or objects beyond that number go without.

    Args:
        mentions: M entities of one noun.
        instances: (n, H, W) booleans.
        attention_maps: maps (h, w, L) of one prompt.

    Returns:
        Index of a mention -> index of its instance.
    """
    if not len(instances):
        return {}
    attention = received_attention(mentions, instances, attention_maps).double().cpu().numpy()
    # A step whose numbers have overflown is thrown away later, and has to come that far.
    rows, columns = linear_sum_assignment(np.nan_to_num(attention, nan=0.0, posinf=0.0, neginf=0.0), maximize=True)
    return dict(zip(rows.tolist(), columns.tolist(), strict=True))


def received_attention(mentions: Sequence[EntityTokens], instances: Tensor, attention_maps: Steps) -> Tensor:
    """The region part of equation 4 for each pair: (M, n), the share of a mention's attention that an instance gets.

    sum_{k in n_i u a_i} sum_{uv: M^j=1} A^k_uv / sum_xy A^k_xy, the mean over steps and layers. An assignment with the
    most of it is one with the least loss in the region parts of equations 4 and 5.
    """
    layers = [layer for step in attention_maps for layer in step.values()]
    membership = torch.zeros(len(mentions), layers[0].shape[-1], device=layers[0].device)
    for index, mention in enumerate(mentions):
        membership[index, list(mention.tokens)] = 1
    with full_precision(layers[0].device):
        return torch.stack([_share_inside(at_least_float32(layer), instances, membership) for layer in layers]).mean(0)


def _share_inside(attention: Tensor, instances: Tensor, membership: Tensor) -> Tensor:
    """(h, w, L), (n, H, W) and (M, L) -> (M, n)."""
    inside = resize_masks(instances[None], attention.shape[0], attention.shape[1])[0]
    shares = share_of_total(attention[None])[0]
    per_token = torch.einsum("hwl,nhw->ln", shares, inside.to(shares.dtype))
    return membership.to(shares.dtype) @ per_token


def _masks_of_row(
    entities: Sequence[EntityTokens], shared: frozenset[str], instances: Mapping[str, Tensor], attention_maps: Steps
) -> Tensor:
    """Masks (entities, H, W) of one prompt from the single objects of each of its nouns."""
    masks = torch.stack([instances[_name(entity)].any(dim=0) for entity in entities])
    for noun in sorted(shared):
        places = [place for place, entity in enumerate(entities) if entity.noun_tokens and _name(entity) == noun]
        mentions = [entities[place] for place in places]
        assigned = assign_instances(mentions, instances[noun], attention_maps)
        masks[places] = False
        for mention, instance in assigned.items():
            masks[places[mention]] = instances[noun][instance]
    return masks


def _shared_nouns(entities: Sequence[EntityTokens]) -> frozenset[str]:
    """The nouns of several entities, without those whose noun the text encoder does not see."""
    counts = Counter(_name(entity) for entity in entities if entity.noun_tokens)
    return frozenset(noun for noun, count in counts.items() if count > 1)


def _name(entity: EntityTokens) -> str:
    return entity.noun.lower()


def _rows_of(attention_maps: Steps, row: int) -> list[dict[str, Tensor]]:
    return [{name: layer[row] for name, layer in step.items()} for step in attention_maps]
