"""A study's results to read: lines for the terminal, and a page with the chart."""

from importlib.resources import files
from pathlib import Path

from markupsafe import Markup

from comat_core.files.whole_files import write_whole
from comat_core.metrics.bootstrap import Estimate
from stages.report.page_templates import page_template
from stages.report.pictures.charts import svg
from stages.report.render import number
from stages.store.local_disk import OUTPUT_ADVICE, check_output_file, disk_errors_told
from stages.studies.preference.results import PREFERENCES, Preference, QuestionResult, StudyResults

NAMES: dict[Preference, str] = {"tuned": "tuned preferred", "tie": "tie", "base": "base preferred"}
WIDTH, LABEL, ROW, BAR = 640, 92, 46, 24
"""Units of the chart: of the whole, of the questions' names, of a row and of a bar in it."""
NARROWEST = 0.08
"""A share below this has no room for its number inside the bar."""


def as_lines(results: StudyResults) -> list[str]:
    """The results in words and numbers, one line each."""
    lines = [introduction(results)]
    for one in results.questions:
        lines += ["", f"{one.question}: {one.text}"]
        lines += [f"  {NAMES[name]:<15} {share_text(one.shares[name])}" for name in PREFERENCES]
        lines += [f"  {'lead of tuned':<15} {lead_text(one.lead)}", f"  agreement       {alpha_text(one.alpha)}"]
    return lines


def write_page(results: StudyResults, output: Path) -> None:
    """Write the page, which needs nothing beside it.

    Raises:
        UserError: it cannot be written.
    """
    check_output_file("page", output)
    with disk_errors_told("page", output, OUTPUT_ADVICE):
        output.parent.mkdir(parents=True, exist_ok=True)
        write_whole(output, as_page(results).encode())


def as_page(results: StudyResults) -> str:
    """The chart, stacked bars as in Figure 8 of the paper, and the table; everything is escaped."""
    template = page_template(
        "stages.studies.preference", "results.html", share=share_text, lead=lead_text, alpha=alpha_text
    )
    style = files("stages.report").joinpath("page", "report.css").read_text(encoding="utf-8")
    return template.render(
        results=results,
        introduction=introduction(results),
        names=NAMES,
        chart=stacked_bars(results.questions),
        style=Markup(style),
    )


def introduction(results: StudyResults) -> str:
    """Who was asked what."""
    raters = "one rater" if results.raters == 1 else f"{results.raters} raters"
    return (
        f"{results.preset}: {results.answers:,} answers by {raters} on {results.pairs} pairs of images"
        f" (split {results.split}). Intervals of 95 %, over raters and prompts."
    )


def stacked_bars(questions: list[QuestionResult]) -> Markup:
    """One bar per question, its parts the shares of the preferences."""
    parts, told = [], []
    for row, one in enumerate(questions):
        top, left = row * ROW + 8, float(LABEL)
        parts.append(
            Markup('<text class="label" x="0" y="{y}">{name}</text>').format(y=top + BAR * 0.67, name=one.question)
        )
        for name in PREFERENCES:
            share = one.shares[name].mean
            width = share * (WIDTH - LABEL)
            parts.append(_part(name, share, left, top, width))
            left += width
        told.append(
            f"{one.question}: " + ", ".join(f"{NAMES[name]} {one.shares[name].mean:.0%}" for name in PREFERENCES)
        )
    return svg(WIDTH, ROW * len(questions), "; ".join(told), Markup("").join(parts))


def _part(name: Preference, share: float, left: float, top: float, width: float) -> Markup:
    drawn = Markup('<rect class="bar {name}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{height}"/>').format(
        name=name, x=left, y=top, width=width, height=BAR
    )
    if share < NARROWEST:
        return drawn
    return drawn + Markup('<text class="share {name}" x="{x:.1f}" y="{y}" text-anchor="middle">{share}</text>').format(
        name=name, x=left + width / 2, y=top + BAR * 0.68, share=f"{share:.0%}"
    )


def share_text(estimate: Estimate) -> str:
    """ "54.0 % [46.2, 61.5]"."""
    return f"{_percent(estimate.mean)} % [{_percent(estimate.low)}, {_percent(estimate.high)}]"


def lead_text(estimate: Estimate) -> str:
    """ "+12.0 points [3.1, 20.7]", and which way it is certain."""
    sign = "+" if estimate.mean > 0 else ""
    verdict = "tuned is preferred" if estimate.low > 0 else "base is preferred" if estimate.high < 0 else "unclear"
    interval = f"[{_percent(estimate.low)}, {_percent(estimate.high)}]"
    return f"{sign}{_percent(estimate.mean)} points {interval}: {verdict}"


def alpha_text(alpha: float | None) -> str:
    """Krippendorff's alpha, or why there is none."""
    return "no pair has two answers that could differ" if alpha is None else f"Krippendorff's alpha {number(alpha, 2)}"


def _percent(share: float) -> str:
    return number(100 * share, 1)
