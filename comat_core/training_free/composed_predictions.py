"""Composable Diffusion: one prediction per part of a prompt, all added up (Liu et al. 2022, arXiv 2206.01714)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class PromptParts:
    """The encoded parts of B prompts, those of one prompt standing together."""

    prompt_embeds: Tensor
    """(N, L, D), N = sum(counts)."""
    pooled_prompt_embeds: Tensor | None
    """(N, P) where the denoiser is told it (Stable Diffusion XL), else None."""
    counts: tuple[int, ...]
    """Parts of each prompt, each at least 1."""


@contextmanager
def composed_predictions(unet: nn.Module, parts: PromptParts) -> Iterator[None]:
    """Let every guided call of a UNet predict the conjunction of each prompt's parts.

    The paper's prediction is e(x) + sum_i w (e(x | c_i) - e(x)). A pipeline with guidance scale w forms
    e(x) + w (e_c - e(x)), so the conditional half returned here is e_c = e(x) + sum_i (e(x | c_i) - e(x)): every part
    weighs as much as the prompt of a plain call would. A prompt with one part is drawn as a plain call draws it.

    Args:
        unet: a diffusers UNet2DConditionModel, called by a pipeline with 2 B rows, the unconditional half first.
        parts: of the B prompts that the pipeline draws.

    Raises:
        ValueError: (by the call) the pipeline has no unconditional half, because its guidance is off.
    """
    handles = [
        unet.register_forward_pre_hook(_Expansion(parts), with_kwargs=True),
        unet.register_forward_hook(_Composition(parts)),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True)
class _Expansion:
    """Puts the parts' rows in the place of the prompts'."""

    parts: PromptParts

    def __call__(self, _unet: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        batch = len(self.parts.counts)
        latents, *others = arguments
        if len(latents) != 2 * batch:
            raise ValueError("parts of a prompt are composed by guidance: its scale has to be above 1")
        rows = [*range(batch)]
        rows += [batch + prompt for prompt, count in enumerate(self.parts.counts) for _ in range(count)]
        changed = dict(named)
        negative = named["encoder_hidden_states"][:batch]
        changed["encoder_hidden_states"] = torch.cat([negative, self.parts.prompt_embeds.to(negative)])
        added = named.get("added_cond_kwargs")
        if added:
            changed["added_cond_kwargs"] = self._added(added, rows, batch)
        return (latents[rows], *others), changed

    def _added(self, added: dict[str, Tensor], rows: Sequence[int], batch: int) -> dict[str, Tensor]:
        expanded = {name: tensor[list(rows)] for name, tensor in added.items()}
        if self.parts.pooled_prompt_embeds is not None:
            negative = added["text_embeds"][:batch]
            expanded["text_embeds"] = torch.cat([negative, self.parts.pooled_prompt_embeds.to(negative)])
        return expanded


@dataclass(frozen=True)
class _Composition:
    """Adds up the parts' predictions."""

    parts: PromptParts

    def __call__(self, _unet: nn.Module, _arguments: Any, output: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        predictions, *others = output
        unconditional, of_parts = predictions.split([len(self.parts.counts), sum(self.parts.counts)])
        composed = [
            base + (one - base).sum(dim=0)
            for base, one in zip(unconditional, of_parts.split(list(self.parts.counts)), strict=True)
        ]
        return torch.cat([unconditional, torch.stack(composed)]), *others
