"""What a run shows in Prefect's UI: its nodes, what it found, its scores, some images and the way to the report."""

import base64
import io

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from flows.execution import Outcome
from flows.markdown import escape, link_target, without_markup
from stages.images.image_rows import image_parts, read_images
from stages.images.png import decode_png
from stages.plan.splits import TEST
from stages.prompts.tables import read_texts
from stages.store.artifacts import Artifact

SUMMARISED = ("prompts", "entities")
GRID_PROMPTS = 8
GRID_PIXELS = 128


def publish(preset: str, outcomes: dict[str, Outcome], timeline: str | None = None) -> None:
    """Publish a finished run.

    Args:
        outcomes: node name -> what became of it; only what is present is published.
        timeline: URL of the page with the scores of this preset's trainings, if there is one.
    """
    artifacts = {name: outcome.artifact for name, outcome in outcomes.items()}
    nodes = [{"node": name, **outcome.model_dump(), "path": escape(outcome.path)} for name, outcome in outcomes.items()]
    create_table_artifact(nodes, key="comat-nodes", description=f"Nodes of the preset {escape(preset)}")
    for name in SUMMARISED:
        if name in artifacts:
            lines = artifacts[name].read_bytes("summary.md").decode().splitlines()  # nouns and sources are the users'
            summary = "\n".join(map(without_markup, lines))
            create_markdown_artifact(summary, key=f"comat-{name}", description=f"What the {name} stage found")
    scores = score_rows([artifact for name, artifact in artifacts.items() if name.startswith("evaluate.")])
    if scores:
        create_table_artifact(scores, key="comat-scores", description="Mean scores with 95 % intervals")
    if {"images.base", "images.tuned"} <= set(artifacts):
        grid = image_grid(artifacts["prompts"], artifacts["images.base"], artifacts["images.tuned"])
        create_markdown_artifact(grid, key="comat-images", description="Base and tuned model, from the same noise")
    if "report" in artifacts:
        create_link_artifact(
            link_target(f"{artifacts['report'].url}/report.html"), link_text="Report", key="comat-report"
        )
    if timeline is not None:
        create_link_artifact(link_target(timeline), link_text="Time line", key="comat-timeline")


def score_rows(evaluations: list[Artifact]) -> list[dict[str, str]]:
    """One row per benchmark, metric and model, from the evaluations' summaries.

    Below the models' distances to real images: those of real images among themselves, and the ratio of tuned to base.
    """
    rows = []
    for artifact in evaluations:
        summary = artifact.read_json("summary.json")
        changes = summary["delta"]
        ratios = {name: change for name, change in changes.items() if name.partition("/")[0].endswith("_ratio")}
        groups = [*summary["models"].items(), ("real", summary.get("real_to_real", {})), ("tuned over base", ratios)]
        for model, metrics in groups:
            for metric, score in metrics.items():
                interval = f"{score['low']:.4f} to {score['high']:.4f}"
                row = {"benchmark": summary["benchmark"], "metric": metric, "model": escape(model)}
                rows.append(row | {"mean": f"{score['mean']:.4f}", "interval": interval, "n": str(score.get("n", ""))})
    return rows


def image_grid(prompts: Artifact, base: Artifact, tuned: Artifact) -> str:
    """A Markdown table of some held-out prompts: text, and a thumbnail of each model's first image."""
    texts = {prompt.prompt_id: prompt.text for prompt in read_texts(prompts, TEST)}
    pictures = [_some_images(artifact) for artifact in (base, tuned)]
    lines = ["| prompt | base | tuned |", "| --- | --- | --- |"]
    for prompt_id in [prompt_id for prompt_id in pictures[0] if prompt_id in pictures[1]][:GRID_PROMPTS]:
        cells = [f"![]({_thumbnail(images[prompt_id])})" for images in pictures]
        lines.append(f"| {escape(texts[prompt_id])} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def _some_images(artifact: Artifact) -> dict[str, bytes]:
    """Prompt id -> PNG of the first image, of the last held-out prompts: no more files are read than it takes."""
    found: dict[str, bytes] = {}
    for part in reversed(image_parts(artifact)):
        found |= {row.prompt_id: row.png for row in read_images(artifact, part, TEST) if row.sample == 0}
        if len(found) >= GRID_PROMPTS:
            break
    return found


def _thumbnail(png: bytes) -> str:
    """A data URI of the picture, at most GRID_PIXELS per side."""
    picture = decode_png(png)
    picture.thumbnail((GRID_PIXELS, GRID_PIXELS))
    output = io.BytesIO()
    picture.save(output, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(output.getvalue()).decode()}"
