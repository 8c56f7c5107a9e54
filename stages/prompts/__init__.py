"""Stage prompts: the training mixture and the evaluation sets, cleaned, distinct and free of leaks.

Writes `prompts.parquet` (prompt_id, text, source, skill, split), `seen_in_training.parquet` (prompt_id, split, source,
training_source: the evaluation prompts that training sources hold), `summary.json` and `summary.md`. Prompt ids are
digests of the text; the second prompt of an evaluation set with the same text gets another one.
"""

from typing import Any

import pyarrow as pa

from comat_core.support.errors import UserError
from stages.plan.splits import TRAIN
from stages.plan.stage import Inputs, Stage
from stages.progress import progress_bar
from stages.prompts.config import PromptsConfig, PromptSelection
from stages.prompts.mixture import Mixture
from stages.prompts.summary import as_markdown, summarise, training_count
from stages.prompts.tables import PROMPTS, PROMPTS_SCHEMA, SEEN_IN_TRAINING, SEEN_SCHEMA
from stages.store.artifact_writer import ArtifactWriter
from stages.store.streamed_tables import in_batches, write_streamed_table

__all__ = ["STAGE", "PromptSelection", "PromptsConfig", "run"]

ROWS_PER_GROUP = 8192


def build(config: PromptsConfig, _inputs: Inputs, writer: ArtifactWriter) -> None:
    """Stream the mixture into one Parquet file, then write what became of each source."""
    mixture = Mixture(config)
    rows = (vars(row) for row in progress_bar(mixture.rows(), "prompts"))
    row_groups = (pa.Table.from_pylist(group, schema=PROMPTS_SCHEMA) for group in in_batches(rows, ROWS_PER_GROUP))
    write_streamed_table(writer, PROMPTS, PROMPTS_SCHEMA, row_groups)
    summary = summarise(mixture)
    if training_count(summary) == 0:
        raise UserError("no training prompt is left", "prompts", f"see why: {_reasons(summary)}")
    seen = [vars(prompt) for prompt in mixture.seen]
    writer.write_table(SEEN_IN_TRAINING, pa.Table.from_pylist(seen, schema=SEEN_SCHEMA))
    writer.write_json("summary.json", summary)
    writer.write_bytes("summary.md", as_markdown(summary).encode())


def _reasons(summary: dict[str, Any]) -> str:
    rows = [row for row in summary["sources"] if row["split"] == TRAIN]
    told = {
        row["source"]: ", ".join(f"{count} dropped, {why}" for why, count in row["dropped"].items()) for row in rows
    }
    return "; ".join(f"{source}: {why or 'nothing read'}" for source, why in told.items())


STAGE = Stage(name="prompts", version=3, config_type=PromptsConfig, build=build)
run = STAGE.run
