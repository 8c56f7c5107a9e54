"""What the prompts stage did, as numbers and as a table to read."""

from collections import Counter
from typing import Any

from stages.plan.splits import TRAIN
from stages.prompts.mixture import Mixture


def summarise(mixture: Mixture) -> dict[str, Any]:
    """Counts per split and source; complete only after the mixture's rows were drawn."""
    sources = [
        {"split": split, "source": source, "read": tally.read, "kept": tally.kept, "dropped": dict(tally.dropped)}
        for (split, source), tally in mixture.tallies.items()
    ]
    return {
        "kept": {split: sum(row["kept"] for row in sources if row["split"] == split) for split in _splits(sources)},
        "leakage_guard": mixture.config.leakage_guard,
        "leaks_by_evaluation_set": dict(mixture.leaks),
        "seen_by_evaluation_set": dict(Counter(prompt.source for prompt in mixture.seen)),
        "sources": sources,
    }


def as_markdown(summary: dict[str, Any]) -> str:
    """The counts as a Markdown table: one row per source, one column per reason to drop a prompt."""
    reasons = sorted({reason for row in summary["sources"] for reason in row["dropped"]})
    header = ["split", "source", "read", "kept", *reasons]
    lines = [_line(header), _line(["---"] * len(header))]
    for row in summary["sources"]:
        counts = [row["dropped"].get(reason, 0) for reason in reasons]
        lines.append(_line([row["split"], row["source"], row["read"], row["kept"], *counts]))
    totals = [sum(row["dropped"].get(reason, 0) for row in summary["sources"]) for reason in reasons]
    kept = sum(summary["kept"].values())
    lines.append(_line(["all", "", sum(row["read"] for row in summary["sources"]), kept, *totals]))
    if summary["leaks_by_evaluation_set"]:
        leaks = ", ".join(f"{name} {count}" for name, count in sorted(summary["leaks_by_evaluation_set"].items()))
        lines += ["", f"Training prompts dropped because they stand in an evaluation set: {leaks}."]
    if summary["seen_by_evaluation_set"]:
        seen = ", ".join(f"{name} {count}" for name, count in sorted(summary["seen_by_evaluation_set"].items()))
        lines += ["", f"Evaluation prompts that stand in a training source: {seen}."]
    return "\n".join(lines) + "\n"


def training_count(summary: dict[str, Any]) -> int:
    return summary["kept"].get(TRAIN, 0)


def _splits(sources: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["split"] for row in sources))


def _line(cells: list[Any]) -> str:
    return "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells) + " |"
