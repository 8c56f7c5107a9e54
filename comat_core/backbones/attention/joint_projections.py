"""The attention projections that transformers with joint attention have: the image's and, beside them, the text's."""

from typing import Final

from comat_core.backbones.lora.original_layers import QKV

JOINT_PROJECTIONS: Final = (
    "attn.to_q",
    "attn.to_k",
    "attn.to_v",
    "attn.to_out.0",
    "attn.add_q_proj",
    "attn.add_k_proj",
    "attn.add_v_proj",
    "attn.to_add_out",
)
"""Ends of their names in diffusers, which the field's LoRAs of SD3 and FLUX adapt."""


def original_ends(image: str, text: str) -> tuple[tuple[str, str, str], ...]:
    """Where they stand in the original releases, for `original_layers.renamed`.

    Args:
        image, text: what the two sides' attention is called there.
    """
    return (
        *((f"attn.to_{part}", f"{image}_qkv", part) for part in QKV),
        *((f"attn.add_{part}_proj", f"{text}_qkv", part) for part in QKV),
        ("attn.to_out.0", f"{image}_proj", ""),
        ("attn.to_add_out", f"{text}_proj", ""),
    )
