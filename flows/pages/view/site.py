"""What the pages of `comat view` are made of, and what they ask for."""

import base64
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from flows.pages.answers import parse_body
from flows.pages.view.rendering import render_page
from stages.plan.pipeline import make_plan
from stages.plan.presets import Preset
from stages.report.timeline import timeline_page
from stages.store.store import Store
from stages.tuned.comparison import Comparer, Comparison

LONGEST_PROMPT = 1_000  # characters
ADVICE = 'send JSON: {"prompt": "a red circle", "seed": 0}'


class Question(BaseModel):
    """What the page asks for."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, str_strip_whitespace=True)

    prompt: Annotated[str, Field(min_length=1, max_length=LONGEST_PROMPT)]
    seed: Annotated[int, Field(ge=0, lt=2**63)]

    @classmethod
    def parse(cls, body: bytes) -> "Question":
        """Read a request's body.

        Raises:
            UserError: it is no question.
        """
        return parse_body(cls, body, ADVICE)


class Answer(BaseModel):
    """A comparison as the page takes it; pictures are data URIs."""

    prompt: str
    seed: int
    seconds: float
    images: dict[str, str]
    words: list[dict[str, Any]]

    @classmethod
    def of(cls, comparison: Comparison) -> "Answer":
        images = {
            model: "data:image/png;base64," + base64.b64encode(png).decode("ascii")
            for model, png in comparison.images.items()
        }
        return cls(
            prompt=comparison.prompt,
            seed=comparison.seed,
            seconds=round(comparison.seconds, 2),
            images=images,
            words=comparison.words,
        )


class Site:
    """A preset's pages."""

    def __init__(self, preset: Preset, store: Store, comparer: Comparer) -> None:
        self._preset = preset
        self._store = store
        self._comparer = comparer

    def page(self) -> str:
        return render_page(self._preset, self._store, LONGEST_PROMPT)

    def report(self) -> str | None:
        """The preset's report, if the store holds one."""
        node = make_plan(self._preset.sections).by_name.get("report")
        artifact = self._store.look_up(node.stage.name, node.key).artifact if node else None
        return artifact.read_bytes("report.html").decode() if artifact else None

    def timeline(self) -> str:
        return timeline_page(self._store, self._preset.name)

    def compare(self, question: Question, is_abandoned: Callable[[], bool]) -> Answer:
        """Draw an answer. Not for several threads at once.

        Raises:
            ComparisonAbandoned: `is_abandoned` said that nobody waits for it any more.
        """
        return Answer.of(self._comparer.compare(question.prompt, question.seed, is_abandoned))
