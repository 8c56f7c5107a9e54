"""How near sentences are to each other, by a sentence transformer (all-mpnet-base-v2 in TIFA)."""

from collections.abc import Sequence

import torch
from torch.nn import functional
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from comat_core.support.errors import UserError
from comat_core.support.pretrained import load_tokenizer, load_with_report, read_model_config

_UNUSED = "pooler."
"""Begins the names of weights that many encoders are saved without, and whose result is not used here."""


class SentenceSimilarity:
    """Mean of the tokens' states, scaled to length 1, compared by the dot product."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model = model
        self.tokenizer = tokenizer

    @classmethod
    def load(
        cls, folder: str, *, revision: str | None = None, device: torch.device | str = "cpu"
    ) -> "SentenceSimilarity":
        """Load a frozen encoder from a folder or hub id.

        Raises:
            UserError: there is none, or it lacks weights.
        """
        read_model_config(folder, revision, "cannot load the sentence encoder")
        model, report = load_with_report(AutoModel, folder, revision)
        missing = sorted(name for name in report["missing_keys"] if not name.startswith(_UNUSED))
        if missing:
            problem = f"the sentence encoder lacks {len(missing)} weights, among them {missing[0]}"
            advice = "give a folder or a hub id such as sentence-transformers/all-mpnet-base-v2"
            raise UserError(problem, folder, advice)
        return cls(model.requires_grad_(False).eval().to(device), load_tokenizer(folder, revision))

    @torch.no_grad()
    def __call__(self, sentence: str, others: Sequence[str]) -> list[float]:
        """Cosine of a sentence with each of the others, in [-1, 1]."""
        tokens = self.tokenizer([sentence, *others], padding=True, truncation=True, return_tensors="pt")
        tokens = tokens.to(self.model.device)
        states = self.model(**tokens).last_hidden_state
        mask = tokens["attention_mask"][..., None].to(states.dtype)
        vectors = functional.normalize((states * mask).sum(dim=1) / mask.sum(dim=1), dim=1)
        return (vectors[1:] @ vectors[0]).tolist()
