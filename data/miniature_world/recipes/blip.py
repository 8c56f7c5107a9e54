"""What the miniature captioner and the miniature VQA model share: their BLIP configuration and processor."""

from transformers import BertTokenizer, BlipConfig, BlipImageProcessor, BlipProcessor

from data.miniature_world.recipes.tokenizers import DECODER_START, build_bert_tokenizer
from data.miniature_world.vocabulary import IMAGE_SIZE

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def build_processor(seed: int) -> BlipProcessor:
    """Make the processor of 64 px images and captions."""
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    image_processor = BlipImageProcessor(size=size, image_mean=list(CLIP_MEAN), image_std=list(CLIP_STD))
    return BlipProcessor(image_processor, build_bert_tokenizer(seed))


def build_config(tokenizer: BertTokenizer, *, text_layers: int) -> BlipConfig:
    """Size a BLIP for the miniature world: width 96, patches of 8 px, 3 vision layers."""
    return BlipConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 96,
            "encoder_hidden_size": 96,
            "intermediate_size": 192,
            "projection_dim": 96,
            "num_hidden_layers": text_layers,
            "num_attention_heads": 4,
            "max_position_embeddings": 64,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            "bos_token_id": tokenizer.convert_tokens_to_ids(DECODER_START),
            "eos_token_id": tokenizer.sep_token_id,
            "sep_token_id": tokenizer.sep_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "label_smoothing": 0.0,
        },
        vision_config={
            "hidden_size": 96,
            "intermediate_size": 192,
            "projection_dim": 96,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "image_size": IMAGE_SIZE,
            "patch_size": 8,
        },
        projection_dim=96,
        image_text_hidden_size=96,
    )
