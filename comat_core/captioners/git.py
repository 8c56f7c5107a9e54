"""GIT as the captioner (GitForCausalLM), one of the alternatives that the paper compares."""

from collections.abc import Sequence

from transformers import GitForCausalLM

from comat_core.captioners.caption_tokens import CaptionTokens, tokenize_captions
from comat_core.captioners.transformers_captioner import TransformersCaptioner


class GitCaptioner(TransformersCaptioner):
    """log p(caption | image) of a frozen GIT. What counts: the caption's word pieces and the [SEP] that ends it."""

    model_class = GitForCausalLM

    def tokenize(self, captions: Sequence[str]) -> CaptionTokens:
        """Lay out the lower-cased captions after the prefix, and mark what counts."""
        return tokenize_captions(
            self.tokenizer,
            self.prefix.lower(),
            [caption.lower() for caption in captions],
            max_length=self.model.config.max_position_embeddings,
        )
