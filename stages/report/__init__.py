"""The report stage: one self-contained HTML page about a run, `report.html`.

The page is a plain file: styles, script and pictures are inside it, and its content policy lets it ask no server for
anything. Every text from prompts, configs and models passes through the template's escaping.
"""

from typing import Annotated

from pydantic import Field

from stages.plan.config import NOT_IN_KEY_IF_EMPTY, StageConfig
from stages.plan.stage import Inputs, Stage
from stages.store.artifact_writer import ArtifactWriter

PAGE = "report.html"


class ReportConfig(StageConfig):
    """Settings of the report."""

    title: str = Field(default="Base and tuned", min_length=1, max_length=200, description="the page's heading")
    names: Annotated[dict[str, str], NOT_IN_KEY_IF_EMPTY] = Field(
        default={}, description="model -> what the page calls it, where that says more than base and tuned"
    )
    resolution: int = Field(ge=8, le=4096, description="pixels per side of the generated images")
    seed: int = Field(ge=0, lt=2**63, description="of the random sample")
    examples: int = Field(default=6, ge=1, le=100, description="prompts shown in each group of examples")
    shown_samples: int = Field(default=2, ge=1, le=16, description="images shown of each example's prompt")
    skill_examples: int = Field(
        default=2, ge=0, le=100, description="prompts shown of each skill that gained most, and that lost most"
    )
    thumbnails: int = Field(
        default=1000,
        ge=0,
        le=100_000,
        description="rows with pictures in the table of all prompts: the largest changes",
    )


def build(config: ReportConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Gather what the run has left behind and write the page. What only a model can tell lies in the inputs."""
    from stages.report.compose import compose
    from stages.report.render import render

    writer.write_bytes(PAGE, render(compose(config, inputs)).encode())


STAGE = Stage(
    name="report",
    version=6,
    config_type=ReportConfig,
    inputs=("prompts", "base"),
    optional_inputs=(
        *("entities", "pairs", "latents", "adapt", "train", "tuned", "other"),
        *("attention", "scores", "distances", "evaluate"),
    ),
    build=build,
)
run = STAGE.run
