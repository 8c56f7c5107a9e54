"""Rows of images from one noise each, a column per model: the paper's Figures 5 and 7."""

from collections.abc import Sequence
from typing import Final

from stages.images.png import decode_png
from stages.studies.figures.drawing.lettering import NORMAL, height_of, in_lines, tell_missing_glyphs
from stages.studies.figures.drawing.sheet import GAP, MARGIN, Sheet
from stages.studies.figures.variants import ImageRow

CELL: Final = 1.6
"""Inches of an image's side."""
SPACE: Final = 0.1
"""Inches between two rows."""


def draw_image_rows(labels: Sequence[str], rows: Sequence[ImageRow], columns: Sequence[Sequence[bytes]]) -> Sheet:
    """Draw the figure.

    Args:
        labels: of the columns.
        columns: per label, an image of each row as PNG file.
    """
    width = 2 * MARGIN + len(labels) * CELL + (len(labels) - 1) * GAP
    texts = [in_lines(text, width - 2 * MARGIN, NORMAL) for text in _headings(rows)]
    tell_missing_glyphs([row.prompt for row in rows])
    heads = [in_lines(label, CELL, NORMAL, bold=True) for label in labels]
    head = height_of(max(map(len, heads)), NORMAL)
    height = MARGIN + head + sum(SPACE + height_of(len(text), NORMAL) + GAP + CELL for text in texts) + MARGIN
    sheet = Sheet(width, height)
    lefts = [MARGIN + number * (CELL + GAP) for number in range(len(labels))]
    for left, lines in zip(lefts, heads, strict=True):
        sheet.write(left + CELL / 2, MARGIN + head - height_of(len(lines), NORMAL), lines, bold=True, ha="center")
    top = MARGIN + head
    for number, text in enumerate(texts):
        sheet.write(MARGIN, top + SPACE, text)
        top += SPACE + height_of(len(text), NORMAL) + GAP
        for left, images in zip(lefts, columns, strict=True):
            sheet.picture(decode_png(images[number]), left, top, CELL)
        top += CELL
    return sheet


def _headings(rows: Sequence[ImageRow]) -> list[str]:
    several = len({row.seed for row in rows}) > 1
    return [f"{row.prompt} (seed {row.seed})" if several else row.prompt for row in rows]
