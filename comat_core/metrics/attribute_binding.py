"""Attribute binding as T2I-CompBench measures it: BLIP answers yes or no about every noun phrase of the prompt.

An image's score is the product of the probabilities of "yes" over the prompt's noun phrases. Two readings of the prompt
are offered. "official" asks about every noun chunk that the parser returns, pronouns included ("that?"), and a prompt
without any scores 1 whatever its image shows; "corrected" leaves out chunks that are pronouns, which name nothing that
an image could show, and gives a prompt without any other phrase no score.
"""

from collections.abc import Iterable, Sequence
from math import prod
from typing import TYPE_CHECKING, Final, Literal, Protocol

from comat_core.language.grammar.pronouns import is_pronoun
from comat_core.language.question_text import clean_question

if TYPE_CHECKING:
    from spacy.tokens import Doc
    from torch import Tensor

Reading = Literal["official", "corrected"]

EXCLUDED_CHUNKS: Final = frozenset({"top", "the side", "the left", "the right"})
"""Noun chunks that are places, compared with the chunk's exact text."""

MAXIMUM_PHRASES: Final = 8
QUESTION_WORDS: Final = 50


class YesNoAnswerer(Protocol):
    """A visual question answering model that says how likely the answer is yes."""

    def probability_of_yes(
        self, images: "Tensor", questions: Sequence[str], image_of_question: Sequence[int] | None = None
    ) -> "Tensor":
        """Answer Q questions about images.

        Args:
            images: (B, 3, H, W) in [0, 1].
            image_of_question: which image each question is about; None if question i is about image i.

        Returns:
            (Q,): p(yes) / (p(yes) + p(no)).
        """
        ...


def noun_phrases(doc: "Doc", reading: Reading = "corrected") -> list[str]:
    """The noun phrases of a parsed prompt that are asked about, in the prompt's order, at most 8."""
    chunks = [
        chunk.text
        for chunk in doc.noun_chunks
        if chunk.text not in EXCLUDED_CHUNKS and not (reading == "corrected" and is_pronoun(chunk.root))
    ]
    return chunks[:MAXIMUM_PHRASES]


def question_about(phrase: str) -> str:
    """The question of one phrase: the phrase and a question mark, lower case, without BLIP's stripped punctuation."""
    return " ".join(clean_question(f"{phrase}?").split(" ")[:QUESTION_WORDS])


def binding_score(probabilities: Iterable[float], reading: Reading = "official") -> float | None:
    """Score of one image, in [0, 1]: the product of its answers.

    As the official scripts do it, each answer and the product are rounded to 4 decimals.

    Args:
        probabilities: of "yes", one per phrase of the prompt. Without any, the official score is 1, because a phrase
            that the prompt does not have counts as 1 there; the corrected reading has no score: None.
    """
    answers = [round_answer(probability) for probability in probabilities]
    if not answers and reading == "corrected":
        return None
    return round_answer(prod(answers))


def round_answer(probability: float) -> float:
    """Round to the 4 decimals that the official result files hold."""
    return float(f"{probability:.4f}")
