"""Segmenter checkpoints of the real architectures and formats, as small as the packages permit."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from transformers import (
    BertConfig,
    BertModel,
    CLIPSegConfig,
    CLIPSegForImageSegmentation,
    CLIPSegProcessor,
    Sam3Config,
    Sam3ImageProcessor,
    Sam3Model,
    Sam3Processor,
    ViTImageProcessor,
)

from comat_core.segmenters.grounding_dino import GroundingDinoConfig, build_grounding_dino
from tests.deterministic_weights import fill_with_noise
from tests.tiny_captioners import word_piece_tokenizer
from tests.tiny_clip import letter_clip_tokenizer

SEGMENTER_SIDE = 32
SAM_SIDE = 64
SAM3_SIDE = 56
TINY_DETECTOR = GroundingDinoConfig(enc_layers=1, dec_layers=1, dim_feedforward=64, num_queries=20)
"""Swin-T's own sizes cannot be changed by configuration, nor the width of 256, which the decoder's queries fix."""


def save_tiny_clipseg(folder: Path) -> str:
    """Save a CLIPSegForImageSegmentation and its processor."""
    tokenizer = letter_clip_tokenizer()
    shared = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = CLIPSegConfig(
        text_config={
            **shared,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 24,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={**shared, "image_size": SEGMENTER_SIDE, "patch_size": 8},
        projection_dim=32,
        extract_layers=[0, 2],
        reduce_dim=16,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=32,
    )
    fill_with_noise(CLIPSegForImageSegmentation(config), seed=4, std=0.3).save_pretrained(folder)
    size = {"height": SEGMENTER_SIDE, "width": SEGMENTER_SIDE}
    CLIPSegProcessor(ViTImageProcessor(size=size), tokenizer).save_pretrained(folder)
    return str(folder)


def save_tiny_bert(folder: Path) -> str:
    """Save a BertModel of one layer, at the width of 768 that GroundingDINO's checkpoints have, and its tokenizer."""
    tokenizer = word_piece_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=768,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=256,
    )
    fill_with_noise(BertModel(config), seed=5, std=0.05).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def save_tiny_detector(folder: Path, text_encoder: str) -> str:
    """Save a GroundingDINO of `TINY_DETECTOR` as the published files are, leftovers included."""
    model = fill_with_noise(build_grounding_dino(TINY_DETECTOR, text_encoder), seed=6, std=0.05)
    weights = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    leftovers = {"module.label_enc.weight": torch.zeros(2, 2), "module.bert.embeddings.position_ids": torch.arange(9)}
    path = folder / "groundingdino_tiny.pth"
    torch.save({"model": weights | leftovers}, path)
    return str(path)


def tiny_sam(checkpoint: None = None) -> Sam:
    """Build a SAM of two layers that reads 64 px; the signature is that of segment_anything's registry."""
    assert checkpoint is None
    layer_norm: Any = partial(torch.nn.LayerNorm, eps=1e-6)
    sam = Sam(
        image_encoder=ImageEncoderViT(
            img_size=SAM_SIDE,
            patch_size=16,
            embed_dim=32,
            depth=2,
            num_heads=2,
            mlp_ratio=2,
            out_chans=32,
            norm_layer=layer_norm,
            use_rel_pos=True,
            window_size=2,
            global_attn_indexes=(1,),
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=32, image_embedding_size=(4, 4), input_image_size=(SAM_SIDE, SAM_SIDE), mask_in_chans=16
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=32, mlp_dim=64, num_heads=2),
            transformer_dim=32,
            iou_head_depth=3,
            iou_head_hidden_dim=32,
        ),
    )
    frequencies: Any = sam.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
    frequencies.copy_(torch.linspace(-1, 1, 32).view(2, 16))
    return sam


def save_tiny_sam(folder: Path) -> str:
    """Save the state dict of a `tiny_sam`."""
    path = folder / "sam_tiny.pth"
    torch.save(fill_with_noise(tiny_sam(), seed=7, std=0.3).state_dict(), path)
    return str(path)


def tiny_sam3_config() -> Sam3Config:
    """Make the configuration of a SAM 3 that reads 56 px, of one or two layers throughout."""
    tokenizer = letter_clip_tokenizer()
    narrow = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32}
    return Sam3Config(
        vision_config={
            "backbone_config": {
                **narrow,
                "model_type": "sam3_vit_model",
                "num_hidden_layers": 2,
                "image_size": SAM3_SIDE,
                "pretrain_image_size": SAM3_SIDE,
                "patch_size": 14,
                "window_size": 2,
                "global_attn_indexes": [1],
            },
            "fpn_hidden_size": 32,
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        },
        text_config={
            **narrow,
            "model_type": "clip_text_model",
            "num_hidden_layers": 1,
            "projection_dim": 16,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 32,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        geometry_encoder_config={**narrow, "num_layers": 1},
        detr_encoder_config={**narrow, "num_layers": 1},
        detr_decoder_config={**narrow, "num_layers": 1, "num_queries": 8},
        mask_decoder_config={"hidden_size": 32, "num_attention_heads": 2},
    )


def save_tiny_sam3(folder: Path) -> str:
    """Save a Sam3Model and its processor."""
    model = fill_with_noise(Sam3Model(tiny_sam3_config()), seed=9, std=0.3)
    with torch.no_grad():
        model.detr_decoder.query_embed.weight.mul_(10)  # its queries differ more than noise alone lets them
    model.save_pretrained(folder)
    save_sam3_processor(folder)
    return str(folder)


def save_sam3_processor(folder: Path) -> None:
    """Save what prepares images and nouns for the tiny SAM 3."""
    size = {"height": SAM3_SIDE, "width": SAM3_SIDE}
    Sam3Processor(Sam3ImageProcessor(size=size), letter_clip_tokenizer()).save_pretrained(folder)
