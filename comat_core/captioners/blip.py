"""BLIP as the captioner (BlipForConditionalGeneration), the paper's choice."""

from collections.abc import Sequence

from transformers import BlipForConditionalGeneration

from comat_core.captioners.caption_tokens import CaptionTokens, tokenize_captions
from comat_core.captioners.transformers_captioner import TransformersCaptioner


class BlipCaptioner(TransformersCaptioner):
    """log p(caption | image) of a frozen BLIP.

    What counts: the caption's word pieces and the [SEP] that ends it, as in the labels that BLIP is trained with. The
    likelihood is the plain one: the loss that transformers computes smooths its labels by
    `text_config.label_smoothing` (0.1 in BLIP's training), which is no likelihood. A row begins with the start
    token `text_config.bos_token_id`, as in BLIP's training and in generate(), not with the tokenizer's [CLS].
    """

    model_class = BlipForConditionalGeneration

    def tokenize(self, captions: Sequence[str]) -> CaptionTokens:
        """Lay out the lower-cased captions after the prefix, and mark what counts."""
        text_config = self.model.config.text_config
        tokens = tokenize_captions(
            self.tokenizer,
            self.prefix.lower(),
            [caption.lower() for caption in captions],
            max_length=text_config.max_position_embeddings,
        )
        tokens.input_ids[:, 0] = text_config.bos_token_id
        return tokens
