"""What the raters' page is made of, and what it may send."""

import random
from pathlib import Path
from typing import Any

from comat_core.files.regular_files import read_file
from comat_core.support.randomness import derive_seed
from flows.pages.answers import parse_body
from stages.report.page_templates import page_template
from stages.studies.preference.answers import Answer, AnswerBook
from stages.studies.preference.folder import ADVICE, IMAGES, LARGEST_IMAGE, QUESTIONS, Study

BODY_ADVICE = 'send JSON: {"pair": "0001", "question": "alignment", "choice": "left"}'
SMALL_IMAGE = 256
"""Pixels; smaller images are enlarged without smoothing."""


class StudySite:
    """A study's pages. A rater is found by the token in the link, and sees nothing of the others."""

    def __init__(self, folder: Path, study: Study, raters: dict[str, int], book: AnswerBook) -> None:
        """Take a study that nobody else serves.

        Args:
            raters: token -> number.
        """
        self._folder = folder
        self._study = study
        self._raters = raters
        self._book = book
        self._images = {pair.image(side) for pair in study.pairs for side in ("left", "right")}
        self._template = page_template("flows.pages.study", "study.html")

    def rater(self, token: str) -> int | None:
        """The number of the rater with that link; None if there is none."""
        return self._raters.get(token)

    def page(self, token: str) -> str:
        """The page of one rater, everything escaped."""
        return self._template.render(token=token, pixelated=self._study.resolution <= SMALL_IMAGE)

    def state(self, rater: int) -> dict[str, Any]:
        """What the page shows: pairs in the rater's own order, the questions, and this rater's answers so far."""
        pairs = list(self._study.pairs)
        random.Random(derive_seed(rater, "order of a rater's pairs")).shuffle(pairs)
        answers = [
            {"pair": pair, "question": question, "choice": choice}
            for (pair, question), choice in self._book.of(rater).items()
        ]
        return {
            "questions": [{"name": name, "text": text} for name, text in QUESTIONS.items()],
            "pairs": [
                {"pair": pair.pair, "prompt": pair.prompt, "left": pair.image("left"), "right": pair.image("right")}
                for pair in pairs
            ],
            "answers": answers,
        }

    def image(self, name: str) -> bytes | None:
        """One of the study's images; None for any other name.

        Raises:
            UserError: it has gone.
        """
        if name not in self._images:
            return None
        return read_file(self._folder / IMAGES / name, "image", limit=LARGEST_IMAGE, advice=ADVICE)

    def take(self, rater: int, answer: Answer) -> int:
        """Keep an answer, and return how many questions the rater has answered.

        Raises:
            UserError: there is no such pair.
            OSError: the disk does not take it.
        """
        self._book.add(rater, answer)
        return len(self._book.of(rater))


def parse_answer(body: bytes) -> Answer:
    """Read a request's body.

    Raises:
        UserError: it is no answer.
    """
    return parse_body(Answer, body, BODY_ADVICE)
