"""Texts of any origin in a figure: shown as they are written, broken where the room ends."""

import logging
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from matplotlib.font_manager import FontProperties

logger = logging.getLogger("comat")

FAMILY: Final = "DejaVu Sans"
"""Comes with matplotlib: the same on every machine."""
SMALL, NORMAL = 6.5, 8.0
"""Points."""
LINE: Final = 1.25
"""Height of a line, in sizes of the font."""
POINTS_PER_INCH: Final = 72


def font(size: float, bold: bool = False) -> "FontProperties":
    from matplotlib.font_manager import FontProperties

    return FontProperties(family=FAMILY, size=size, weight="bold" if bold else "normal")


def width_of(text: str, size: float, bold: bool = False) -> float:
    """Inches that a line takes."""
    from matplotlib.textpath import text_to_path

    width, _, _ = text_to_path.get_text_width_height_descent(text, font(size, bold), ismath=False)
    return width / POINTS_PER_INCH


def height_of(lines: int, size: float) -> float:
    """Inches that lines take."""
    return lines * size * LINE / POINTS_PER_INCH


def in_lines(text: str, width: float, size: float, bold: bool = False) -> list[str]:
    """Break a text between its words, and within one that is longer than a line.

    Args:
        width: of a line, in inches.
    """
    lines = [""]
    for word in printable(text).split():
        joined = f"{lines[-1]} {word}".lstrip()
        if width_of(joined, size, bold) <= width:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        for character in word:
            if lines[-1] and width_of(lines[-1] + character, size, bold) > width:
                lines.append("")
            lines[-1] += character
    return lines


def cut_to(text: str, width: float, size: float, bold: bool = False) -> str:
    """A text on one line, its end left out if need be."""
    text = " ".join(printable(text).split())
    if width_of(text, size, bold) <= width:
        return text
    while text and width_of(f"{text}…", size, bold) > width:
        text = text[:-1]
    return f"{text}…"


def printable(text: str) -> str:
    """A text without what no figure can show: control characters become spaces."""
    return "".join(one if one.isprintable() else " " for one in text)


def tell_missing_glyphs(texts: list[str]) -> None:
    """Say which characters will be boxes."""
    missing = sorted({one for text in texts for one in printable(text) if not one.isspace()} - _glyphs())
    if missing:
        logger.warning("the font %s has no %s: drawn as boxes", FAMILY, " ".join(missing[:20]))


@cache
def _glyphs() -> frozenset[str]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(map(chr, get_font(findfont(font(NORMAL))).get_charmap()))
