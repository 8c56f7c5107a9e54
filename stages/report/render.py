"""Fill the page's template."""

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from stages.report.charts import Interval


def render(content: Mapping[str, Any]) -> str:
    """Render the page. Everything in `content` is escaped unless it is Markup made by the charts."""
    environment = Environment(
        loader=PackageLoader("stages.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "signed": signed, "interval": interval}
    script, style = _page_file("report.js"), _page_file("report.css")
    # The page's content policy runs this very script and no other.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return environment.get_template("report.html").render(
        **content, style=Markup(style), script=Markup(script), script_digest=digest
    )


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


def _page_file(name: str) -> str:
    return files("stages.report").joinpath("page", name).read_text(encoding="utf-8")
