"""What a run shows in Prefect's UI: its steps, its scores and the way to the report."""

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from flows.execution import Outcome
from stages.artifacts import Artifact
from stages.store import Store


def publish(preset: str, outcomes: dict[str, Outcome], store: Store) -> None:
    """Publish a finished run: a table of its steps, one of its scores, and links to the reports.

    Args:
        outcomes: step name -> what became of it; only those present are published.
    """
    steps = [{"step": name, **outcome.model_dump()} for name, outcome in outcomes.items()]
    create_table_artifact(steps, key="comat-steps", description=f"Steps of the preset {preset}")
    scores = _scores(outcomes, store)
    if scores:
        create_table_artifact(scores, key="comat-scores", description="Mean scores with 95 % intervals")
    for name in outcomes:
        if name == "report":
            artifact = _artifact(name, outcomes, store)
            create_link_artifact(f"{artifact.url}/report.html", link_text="Report", key="comat-report")
            create_markdown_artifact(f"The report: `{artifact.url}/report.html`", key="comat-report-path")


def _scores(outcomes: dict[str, Outcome], store: Store) -> list[dict[str, str]]:
    rows = []
    for name in outcomes:
        if not name.startswith("evaluate."):
            continue
        summary = _artifact(name, outcomes, store).read_json("summary.json")
        for model, metrics in summary["models"].items():
            for metric, score in metrics.items():
                interval = f"{score['low']:.4f} to {score['high']:.4f}"
                row = {"benchmark": summary["benchmark"], "metric": metric, "model": model}
                rows.append(row | {"mean": f"{score['mean']:.4f}", "interval": interval, "n": str(score["n"])})
    return rows


def _artifact(name: str, outcomes: dict[str, Outcome], store: Store) -> Artifact:
    return store.artifact(name, outcomes[name].key)
