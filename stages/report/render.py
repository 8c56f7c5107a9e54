"""Fill the pages' templates."""

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from stages.report.page_templates import page_template
from stages.report.pictures.charts import Interval


def render(content: Mapping[str, Any]) -> str:
    """Render the report. Everything in `content` is escaped unless it is Markup made by the charts."""
    script = _page_file("report.js")
    # The page's content policy runs this very script and no other.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return _fill("report.html", {**content, "script": Markup(script), "script_digest": digest})


def render_timeline(content: Mapping[str, Any]) -> str:
    """Render the time line, escaped as the report is; it needs no script."""
    return _fill("timeline.html", content)


def _fill(template: str, content: Mapping[str, Any]) -> str:
    filters = {
        "number": number,
        "signed": signed,
        "interval": interval,
        "words": words,
        "precise": precise,
        "brief": brief,
    }
    page = page_template("stages.report", template, **filters)
    return page.render(**content, style=Markup(_page_file("report.css")))


def number(value: float, digits: int = 3) -> str:
    """A value to so many decimals, with a true minus sign and none for zero."""
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


def signed(value: float, digits: int = 3) -> str:
    """A change to so many decimals, with its sign unless it rounds to zero."""
    text = number(value, digits)
    return f"+{text}" if value > 0 and float(text) > 0 else text


def interval(value: Interval, digits: int = 3) -> str:
    """An interval's two ends."""
    return f"[{number(value.low, digits)}, {number(value.high, digits)}]"


def brief(value: float) -> str:
    """A value in large print: three decimals, one for values of two digits and more."""
    return number(value, 3 if abs(value) < 10 else 1)


def precise(value: float) -> str:
    """A value as publications print it: shares to four decimals, distances to two."""
    return number(value, 4 if abs(value) <= 1 else 2)


def words(name: str) -> str:
    """A name of ours as a reader sees it."""
    return name.replace("_", " ")


def _page_file(name: str) -> str:
    return files("stages.report").joinpath("page", name).read_text(encoding="utf-8")
