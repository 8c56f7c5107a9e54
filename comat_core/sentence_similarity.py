"""How near sentences are to each other, by a sentence transformer (all-mpnet-base-v2 in TIFA)."""

from collections.abc import Sequence

import torch
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from comat_core.errors import UserError
from comat_core.model_building import building_models


class SentenceSimilarity:
    """Mean of the tokens' states, scaled to length 1, compared by the dot product."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model = model
        self.tokenizer = tokenizer

    @classmethod
    @building_models()
    def load(
        cls, folder: str, *, revision: str | None = None, device: torch.device | str = "cpu"
    ) -> "SentenceSimilarity":
        """Load a frozen encoder from a folder or hub id.

        Raises:
            UserError: there is none.
        """
        try:
            model = AutoModel.from_pretrained(folder, revision=revision)
            tokenizer = AutoTokenizer.from_pretrained(folder, revision=revision)
        except (OSError, ValueError) as error:
            reason = (str(error).strip().splitlines() or ["unreadable"])[0]
            advice = "give a folder or a hub id such as sentence-transformers/all-mpnet-base-v2"
            raise UserError(f"cannot load the sentence encoder: {reason}", folder, advice) from error
        return cls(model.requires_grad_(False).eval().to(device), tokenizer)

    @torch.no_grad()
    def __call__(self, sentence: str, others: Sequence[str]) -> list[float]:
        """Cosine of a sentence with each of the others, in [-1, 1]."""
        tokens = self.tokenizer([sentence, *others], padding=True, truncation=True, return_tensors="pt")
        tokens = tokens.to(self.model.device)
        states = self.model(**tokens).last_hidden_state
        mask = tokens["attention_mask"][..., None].to(states.dtype)
        vectors = functional.normalize((states * mask).sum(dim=1) / mask.sum(dim=1), dim=1)
        return (vectors[1:] @ vectors[0]).tolist()
