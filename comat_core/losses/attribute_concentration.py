"""Attribute concentration: the attention of an entity's tokens must fall on that entity, and nowhere else."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from comat_core.support.numerics import at_least_float32, full_precision, safe_log
from comat_core.training.step_settings import ConcentrationVariant

COVERAGE_THRESHOLD = 0.5
SMALLEST_TOTAL = 1e-6
"""A token whose attention over the whole map sums to less than this is divided by this: its gradient stays bounded."""


@dataclass(frozen=True)
class EntityTokens:
    """One entity of a prompt, as the segmenter (the noun) and the attention maps (the token indices) know it."""

    noun: str
    noun_tokens: tuple[int, ...]
    """Positions of the noun in the encoded prompt, start token included; empty when truncation has cut the noun off."""
    attribute_tokens: tuple[int, ...] = ()

    @property
    def tokens(self) -> tuple[int, ...]:
        """n_i u a_i of the equations, each index once."""
        return tuple(sorted({*self.noun_tokens, *self.attribute_tokens}))


class ConcentrationLoss(NamedTuple):
    """Scalars in float32 (float64 for float64 maps), with alpha and beta already applied."""

    positive: Tensor
    negative: Tensor


class _PackedEntities(NamedTuple):
    """The entities of a batch, padded to N entities per prompt. Padding has no token and weight 0."""

    membership: Tensor  # (B, N, L), 1 where token l belongs to entity n
    masks: Tensor  # (B, N, H, W), boolean
    weights: Tensor  # (B, N), 1 / (entities of the prompt * B): a weighted sum is a mean over entities, then prompts


def attribute_concentration_loss(
    attention_maps: Sequence[Mapping[str, Tensor]],
    entities: Sequence[Sequence[EntityTokens]],
    masks: Sequence[Tensor],
    *,
    alpha: float,
    beta: float,
    variant: ConcentrationVariant = "paper",
) -> ConcentrationLoss:
    """Equations 4 and 5, averaged over prompts, captured steps and layers.

    An entity whose noun was cut off by truncation is left out: the model never saw it. An entity that the segmenter
    did not find keeps its all-zero mask, so that its attention is pushed away everywhere. A prompt without an entity
    contributes 0.

    Args:
        attention_maps: for each captured step, layer name -> (B, h, w, L) attention probabilities over the L tokens
            (each pixel's sum over all tokens is 1), already averaged over heads.
        entities: the entities of each of the B prompts.
        masks: for each prompt (entities, H, W) booleans, in the entities' order; all false when not found.
        alpha: weight of the region part.
        beta: weight of the pixel part.
        variant: "paper", or "release" for the terms of the authors' code (see `_release_losses`).
    """
    layers = [layer for step in attention_maps for layer in step.values()]
    assert layers, "attribute concentration needs at least one captured attention map"
    assert len(entities) == len(masks) == len(layers[0]), "one list of entities and one mask tensor for each row"
    assert all(len(row) == len(mask) for row, mask in zip(entities, masks, strict=True)), "one mask for each entity"
    with full_precision(layers[0].device):
        packed = _pack(entities, masks, layers[0])
        losses = _paper_losses if variant == "paper" else _release_losses
        per_map = [losses(step, packed, alpha, beta) for step in attention_maps]
        positive, negative = (torch.stack(parts).mean() for parts in zip(*per_map, strict=True))
        return ConcentrationLoss(positive, negative)


def resize_masks(masks: Tensor, height: int, width: int) -> Tensor:
    """Bring boolean masks (B, N, H, W) to an attention map's resolution, (B, N, height, width) booleans.

    A cell belongs to the object when the object covers at least half of it. An object too small to cover half of any
    cell keeps the cells it covers most, so that it never vanishes; an empty mask stays empty.
    """
    coverage = adaptive_avg_pool2d(masks.float(), (height, width))
    largest = coverage.amax(dim=(-2, -1), keepdim=True)
    return (coverage >= largest.clamp(max=COVERAGE_THRESHOLD)) & (coverage > 0)


def _paper_losses(
    maps: Mapping[str, Tensor], packed: _PackedEntities, alpha: float, beta: float
) -> tuple[Tensor, Tensor]:
    """L_pos and L_neg of one step, |A| being the number of pixels of a map."""
    positives, negatives = [], []
    for attention, inside in _with_masks(maps, packed):
        pixels = inside.shape[-2] * inside.shape[-1]
        region = _sum_tokens(share_of_total(attention), packed)  # (B, N, h, w): sum_k A^k_uv / sum_xy A^k_xy
        token_sum = _sum_tokens(attention, packed)  # (B, N, h, w): sum_k A^k_uv
        attract = alpha * region + beta * safe_log(token_sum) / pixels
        repel = -alpha * region + beta * safe_log(1 - token_sum) / pixels
        positives.append(-_mean_over_entities((attract * inside).sum(dim=(-2, -1)), packed))
        negatives.append(-_mean_over_entities((repel * ~inside).sum(dim=(-2, -1)), packed))
    return torch.stack(positives).mean(), torch.stack(negatives).mean()


def _release_losses(
    maps: Mapping[str, Tensor], packed: _PackedEntities, alpha: float, beta: float
) -> tuple[Tensor, Tensor]:
    """The authors' code: squared region term, and binary cross entropy of the token-summed map.

    Region, for each layer: mean over an entity's tokens k of (1 - sum_{uv: M=1} A^k_uv / sum_xy A^k_xy)^2. Pixel:
    the maps of one resolution are averaged first; the cross entropy's mean over pixels falls apart into the pixels
    inside and outside the mask. The region term and the inside pixels count as positive, the outside pixels as
    negative. Heads are averaged before the square here, where that code averages the ratio over heads.
    """
    regions, by_resolution = [], {}
    tokens_per_entity = packed.membership.sum(dim=-1).clamp(min=1)
    for attention, inside in _with_masks(maps, packed):
        inside_share = torch.einsum("bhwl,bnhw->bnl", share_of_total(attention), inside.to(attention.dtype))
        squared = ((1 - inside_share) ** 2 * packed.membership).sum(dim=-1) / tokens_per_entity
        regions.append(_mean_over_entities(squared, packed))
        by_resolution.setdefault(inside.shape[-2:], (inside, []))[1].append(attention)
    positives, negatives = [], []
    for inside, attentions in by_resolution.values():
        token_sum = _sum_tokens(torch.stack(attentions).mean(dim=0), packed)
        hit, miss = safe_log(token_sum) * inside, safe_log(1 - token_sum) * ~inside
        positives.append(-_mean_over_entities(hit.mean(dim=(-2, -1)), packed))
        negatives.append(-_mean_over_entities(miss.mean(dim=(-2, -1)), packed))
    positive = alpha * torch.stack(regions).mean() + beta * torch.stack(positives).mean()
    return positive, beta * torch.stack(negatives).mean()


def _with_masks(maps: Mapping[str, Tensor], packed: _PackedEntities) -> Iterator[tuple[Tensor, Tensor]]:
    """Each layer's map in full precision with the masks (B, N, h, w) at its resolution."""
    resized: dict[tuple[int, int], Tensor] = {}
    for layer in maps.values():
        resolution = (layer.shape[1], layer.shape[2])
        if resolution not in resized:
            resized[resolution] = resize_masks(packed.masks, *resolution)
        yield at_least_float32(layer), resized[resolution]


def share_of_total(attention: Tensor) -> Tensor:
    """A^k_uv / sum_xy A^k_xy: (B, h, w, L), each token's shares sum to 1 over the map."""
    return attention / attention.sum(dim=(1, 2), keepdim=True).clamp(min=SMALLEST_TOTAL)


def _sum_tokens(per_token: Tensor, packed: _PackedEntities) -> Tensor:
    """Sum over each entity's tokens: (B, h, w, L) -> (B, N, h, w)."""
    return torch.einsum("bhwl,bnl->bnhw", per_token, packed.membership)


def _mean_over_entities(per_entity: Tensor, packed: _PackedEntities) -> Tensor:
    """(B, N) -> scalar: the mean over a prompt's entities, then over prompts."""
    return (per_entity * packed.weights).sum()


def _pack(entities: Sequence[Sequence[EntityTokens]], masks: Sequence[Tensor], layer: Tensor) -> _PackedEntities:
    """Pad the kept entities of all prompts to one shape, so that every layer is a few batched operations."""
    kept = [[n for n, entity in enumerate(row) if entity.noun_tokens] for row in entities]
    most = max(1, *(len(row) for row in kept))
    rows, tokens, like = len(layer), layer.shape[-1], at_least_float32(layer.detach())
    height, width = masks[0].shape[-2:]
    membership = torch.zeros(rows, most, tokens)
    weights = torch.zeros(rows, most)
    packed_masks = torch.zeros(rows, most, height, width, dtype=torch.bool, device=layer.device)
    for row, positions in enumerate(kept):
        for slot, position in enumerate(positions):
            membership[row, slot, list(entities[row][position].tokens)] = 1
            packed_masks[row, slot] = masks[row][position].bool()
            weights[row, slot] = 1 / (len(positions) * rows)
    return _PackedEntities(membership.to(like), packed_masks, weights.to(like))
