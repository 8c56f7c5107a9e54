"""Adds everything up and writes a page."""

from stages.plan.config import StageConfig
from stages.plan.stage import Inputs, Stage
from stages.store.artifact_writer import ArtifactWriter
from tests.fakes.tally import tally


class ReportConfig(StageConfig):
    title: str = "Sums"


def build(config: ReportConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    tally("report")
    sums = {role: sum(artifact.read_table("squares")["square"].to_pylist()) for role, artifact in inputs.items()}
    writer.write_bytes("report.html", f"<h1>{config.title}</h1><p>{sums}</p>".encode())


STAGE = Stage(name="report", version=1, config_type=ReportConfig, inputs=("plain", "shifted"), build=build)
