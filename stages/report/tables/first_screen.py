"""What a reader sees first: what was gained, by the judge and by the answering model, and what became of fidelity."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from stages.report.pictures.charts import Interval
from stages.report.render import interval, number
from stages.report.tables.scores import Evaluation, ScoreRow, headline_rank

MOST: Final = 1.05
"""Ratio above which fidelity counts as worse, whatever its interval says."""
NO_NAMES: Final[Mapping[str, str]] = {}
WORDS: Final = {"better": "better", "worse": "worse", "unclear": "no clear change"}


@dataclass(frozen=True)
class Card:
    """One score in large print."""

    title: str
    meaning: str
    row: ScoreRow
    verdict: str  # "better", "worse" or "unclear"

    @property
    def in_words(self) -> str:
        return WORDS[self.verdict]


def first_screen(evaluations: Sequence[Evaluation], names: Mapping[str, str] = NO_NAMES) -> dict[str, Any]:
    """The page's top, by the template's names.

    Args:
        names: model -> what the page calls it; base and tuned where it says nothing.
    """
    scored = [row for evaluation in evaluations for row in evaluation.rows]
    rows = [row for row in scored if row.change] or [row for row in scored if "base" in row.scores]
    headlines = sorted((row for row in rows if row.is_headline), key=lambda row: headline_rank(row.name))
    cards = [_card(row) for row in headlines]
    leading = [card for card in cards if card.row.metric.title or card.row.ratio]
    distances = [row for row in rows if row.ratio]
    return {
        "headlines": leading,
        "further_headlines": [card for card in cards if card not in leading],
        "warnings": fidelity_warnings(distances, names) if any(row.change for row in rows) else [],
    }


def fidelity_verdict(ratio: Interval) -> str:
    """Of a distance's ratio, tuned over base. Chance may hide a loss, so a ratio above MOST is one in any case."""
    if ratio.low > 1 or ratio.mean > MOST:
        return "worse"
    return "better" if ratio.high < 1 else "unclear"


def fidelity_warnings(distances: Sequence[ScoreRow], names: Mapping[str, str] = NO_NAMES) -> list[tuple[str, str]]:
    """(what is wrong, the sentence that says so) for a reader who looks at nothing else.

    Args:
        distances: every row that compares with real images. The judge's own, and those by networks that training looked
            at, count only where there are no others.
        names: model -> what the page calls it.
    """
    if not distances:
        return [("Fidelity was not measured.", "Whether the gain was paid for with the images' quality is not known.")]
    independent = [row for row in distances if row.independent]
    warnings = []
    if not independent:
        reasons = "; ".join(f"{row.metric.label}: {row.remark}" for row in distances)
        warnings.append(("No independent features measured fidelity.", f"{reasons}."))
    counted = [(row.metric.label, row.ratio) for row in independent or distances if row.ratio is not None]
    worse = [_sentence(label, ratio) for label, ratio in counted if fidelity_verdict(ratio) == "worse"]
    if worse:
        measured = "; ".join(worse)
        tuned, base = names.get("tuned", "The tuned model"), names.get("base", "the base model")
        told = f"{tuned}'s images lie further from real ones than {base}'s: {measured}."
        warnings.append(("Fidelity got worse.", told))
    return warnings


def _sentence(label: str, ratio: Interval) -> str:
    doubt = ", which may be chance" if ratio.low <= 1 else ""
    return f"{label} × {number(ratio.mean)} {interval(ratio)}{doubt}"


def _card(row: ScoreRow) -> Card:
    verdict = row.verdict if row.ratio is None else fidelity_verdict(row.ratio)
    if not row.features:
        return Card(row.metric.title or row.metric.label, row.metric.meaning, row, verdict)
    title = "Fidelity, by independent features" if row.independent else "Fidelity, by features that are not independent"
    meaning = f"Fréchet distance to real images by the {row.features}; lower is better"
    if row.real is not None:
        meaning += f". Real images among themselves: {number(row.real.mean)}"
    return Card(title, meaning, row, verdict)
