"""The results as files: Markdown for people who write, JSON for programs, one HTML page to look at."""

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from comat_core.files.whole_files import write_whole
from stages.report.page_templates import page_template
from stages.report.pictures.charts import Interval, Series, interval_chart
from stages.report.render import number
from stages.store.local_disk import OUTPUT_ADVICE, disk_errors_told
from stages.studies.ablation.results import Results, RowResult, Score
from stages.studies.ablation.settings import Table

MARKDOWN: Final = "ablation.md"
NUMBERS: Final = "ablation.json"
PAGE: Final = "ablation.html"

BASE: Final = Series("base model", "base")
TUNED: Final = Series("mean", "tuned")

MARK: Final = "†"
"""Stands at scores that have a remark, which is below the table."""

ROUNDING: Final = 1e-9
"""Changes below this are those of floating point."""


def write_results(results: Results, folder: Path) -> None:
    """Write the three files, each whole or not at all.

    Raises:
        UserError: the folder cannot be written.
    """
    contents = {
        MARKDOWN: as_markdown(results),
        NUMBERS: json.dumps(results.as_json(), indent=2) + "\n",
        PAGE: as_page(results),
    }
    with disk_errors_told("results", folder, OUTPUT_ADVICE):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            write_whole(folder / name, content.encode())


def as_markdown(results: Results) -> str:
    """One table after the other; where the paper has numbers, they stand in the last column, in italics."""
    lines = [f"# Ablation of {results.preset}", "", introduction(results)]
    for table, rows in results.tables.values():
        lines += ["", f"## {table.title}", "", *([table.note, ""] if table.note else [])]
        heads = [f"{metric.label}{_direction(metric.higher_is_better)}" for metric in results.metrics.values()]
        heads = ["", *heads, *_papers_cell(table, f"the paper's {table.measured}{_direction(table.higher_is_better)}")]
        lines += [_line(heads), _line(["---"] * len(heads))]
        base = [number(value) for value in results.base.values()]
        lines.append(_line(["base model", *base, *_papers_cell(table, _paper(table.base, table))]))
        for result in rows:
            cells = [score_text(score) for score in result.scores.values()]
            lines.append(_line([result.row.label, *cells, *_papers_cell(table, _paper(result.row.paper, table))]))
        lines += [line for remark in remarks(rows) for line in ("", f"{MARK} {remark}")]
    return "\n".join(lines) + "\n"


def as_page(results: Results) -> str:
    """The same tables with charts, as one page that needs nothing beside it."""
    page = page_template("stages.studies.ablation", "ablation.html", number=number, score=score_text)
    style = files("stages.report").joinpath("page", "report.css").read_text(encoding="utf-8")
    tables = [
        {
            "table": table,
            "rows": [_page_row(results, result, table) for result in rows],
            "digits": _digits(table),
            "remarks": [f"{MARK} {remark}" for remark in remarks(rows)],
        }
        for table, rows in results.tables.values()
    ]
    base_charts = {name: _chart(results, name, Score({0: value}), BASE) for name, value in results.base.items()}
    return page.render(
        results=results, introduction=introduction(results), tables=tables, base_charts=base_charts, style=Markup(style)
    )


def introduction(results: Results) -> str:
    """What the numbers are."""
    seeds = ", ".join(map(str, results.seeds))
    if len(results.seeds) > 1:
        spread = f"Mean ± sample standard deviation over {len(results.seeds)} training seeds ({seeds})."
    else:
        spread = f"One training seed ({seeds})."
    changed = f" Settings: {', '.join(results.settings)}." if results.settings else ""
    same = " Prompts, base images, reference latents and the evaluation's noise are the same for all rows."
    paper = " The paper's numbers are of its own models and data: their order compares, their values do not."
    beside_the_paper = any(table.measured for table, _ in results.tables.values())
    return f"{spread}{same}{changed}{paper if beside_the_paper else ''}"


def score_text(score: Score) -> str:
    """ "0.550 ± 0.012", or the value alone where there is no deviation; marked where there is a remark."""
    deviation = "" if score.deviation is None else f" ± {number(score.deviation)}"
    return number(score.mean) + deviation + (f" {MARK}" if score.remark else "")


def remarks(rows: Sequence[RowResult]) -> list[str]:
    """What is to be said against the marked scores of a table."""
    said = (score.remark for result in rows for score in result.scores.values() if score.remark)
    return [f"not independent in this row: {remark}" for remark in dict.fromkeys(said)]


def _page_row(results: Results, result: RowResult, table: Table) -> dict[str, Any]:
    cells = [
        {"score": score, "chart": _chart(results, name, score, TUNED), "verdict": _verdict(results, name, score)}
        for name, score in result.scores.items()
    ]
    return {
        "label": result.row.label,
        "name": result.row.name,
        "cells": cells,
        "paper": _paper(result.row.paper, table),
    }


def _chart(results: Results, name: str, score: Score, series: Series) -> Markup:
    """The mean, and a deviation to either side, on the axis that all rows of the metric share."""
    deviation = score.deviation or 0.0
    interval = Interval(score.mean, max(score.mean - deviation, 0.0), score.mean + deviation)
    return interval_chart([(series, interval)], _highest(results, name))


def _highest(results: Results, name: str) -> float:
    scores = [result.scores[name] for _, rows in results.tables.values() for result in rows]
    reached = max(score.mean + (score.deviation or 0.0) for score in scores)
    return max(reached, results.base[name], 1e-9) * 1.05


def _verdict(results: Results, name: str, score: Score) -> str:
    """ "better" or "worse" than the base model where the whole deviation lies on one side of it.

    A measure with a remark is never called better: the training may have learned to please it.
    """
    change, deviation = score.mean - results.base[name], score.deviation
    if deviation is None or abs(change) <= deviation + ROUNDING:
        return "unclear"
    if (change > 0) != results.metrics[name].higher_is_better:
        return "worse"
    return "unclear" if score.remark else "better"


def _paper(value: float | None, table: Table) -> str:
    return "" if value is None else number(value, _digits(table))


def _papers_cell(table: Table, text: str) -> list[str]:
    """The last column, in italics, of a table that the paper has too."""
    if not table.measured:
        return []
    return [f"*{text}*" if text else ""]


def _digits(table: Table) -> int:
    """As many as the paper gives: four for shares, two for distances."""
    return 4 if table.higher_is_better else 2


def _direction(higher_is_better: bool) -> str:
    return "" if higher_is_better else " ↓"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
