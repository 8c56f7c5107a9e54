"""Evaluations that read the prompt's grammar: the parser among their settings, and the parsed prompts."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from comat_core.language.parser_identity import parser_identity
from stages.evaluate.scoring.images.generated_images import Prompt
from stages.evaluate.scoring.models_in_memory import loaded
from stages.evaluate.scoring.settings import EvaluationConfig
from stages.models.model_references import DEFAULT_PARSER, SpacyPipeline

if TYPE_CHECKING:
    from spacy.tokens import Doc


class ParsedPromptsConfig(EvaluationConfig):
    """Settings of every evaluation that parses prompts."""

    parser: SpacyPipeline = Field(default=DEFAULT_PARSER, description="spaCy pipeline that reads the prompts")

    def scores_payload(self) -> dict[str, Any]:
        return {**super().scores_payload(), "parser": parser_identity(self.parser)}


def parse_prompts(prompts: Mapping[str, Prompt], parser: str) -> "dict[str, Doc]":
    """Prompt id -> the parsed prompt.

    Raises:
        UserError: the parser is not installed.
    """
    from comat_core.language.parsers import load_parser

    docs = loaded(load_parser, parser).pipe(prompt.text for prompt in prompts.values())
    return dict(zip(prompts, docs, strict=True))
