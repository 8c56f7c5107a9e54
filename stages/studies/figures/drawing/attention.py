"""Maps of a prompt's words by both models, and the words' shares as bars beside them: the paper's Figures 2 and 6."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from stages.attention.recording import SIDE
from stages.attention.words import Word
from stages.batches import in_parts
from stages.images.png import decode_png
from stages.report.pictures.overlays import blend_overlay
from stages.studies.figures.drawing.lettering import (
    NORMAL,
    SMALL,
    cut_to,
    height_of,
    in_lines,
    tell_missing_glyphs,
    width_of,
)
from stages.studies.figures.drawing.shares import AXIS, BAR_ROW, draw_shares
from stages.studies.figures.drawing.sheet import COLOURS, GAP, MARGIN, Sheet
from stages.studies.figures.entity_masks import share_inside
from stages.studies.figures.shown_prompts import ShownPrompt
from stages.studies.figures.word_shares import WordShare

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

CELL: Final = 1.2
"""Inches of a picture's side."""
LABELS: Final = {"base": "base model", "tuned": "CoMat"}
LABEL: Final = 0.2
"""Inches of the models' names, at the left."""
MAPS_IN_LINE: Final = 6
BARS: Final = 1.9
LONGEST_WORD: Final = 1.1
"""Inches of a bar's word."""
SPACE: Final = 0.22
"""Inches between two prompts."""
HEAD: Final = height_of(1, NORMAL) + height_of(1, SMALL) + GAP
"""Height of a word and its scale above the maps."""
OUTLINE: Final = "#00e5ff"


@dataclass(frozen=True)
class AttentionPanel:
    """What is shown of one prompt.

    Attributes:
        shares: of its words, for the bars.
        masks: model -> of each word with a map its object's mask, None for a word of no object; empty for no masks.
    """

    prompt: ShownPrompt
    shares: Sequence[WordShare]
    masks: "Mapping[str, Sequence[NDArray[np.bool_] | None]]" = field(default_factory=dict)

    @property
    def heading(self) -> str:
        return self.prompt.text + (f" (seed {self.prompt.seed})" if self.prompt.seed is not None else "")

    @property
    def lines_of_words(self) -> list[Sequence[int]]:
        """Numbers of the words whose maps stand beside each other."""
        return in_parts(range(len(self.prompt.words)), MAPS_IN_LINE)

    @property
    def height(self) -> float:
        """Inches below the heading."""
        maps = len(self.lines_of_words) * (HEAD + 2 * (CELL + GAP))
        return max(maps, HEAD + len(self.shares) * BAR_ROW + AXIS)


def draw_attention(panels: Sequence[AttentionPanel]) -> Sheet:
    """Draw the figure, one prompt below the other."""
    maps = max(len(line) for panel in panels for line in panel.lines_of_words)
    bars = MARGIN + LABEL + (1 + maps) * (CELL + GAP)
    words = max(_label_width(share) for panel in panels for share in panel.shares) + 2 * GAP
    width = bars + words + BARS + MARGIN
    tell_missing_glyphs([panel.prompt.text for panel in panels])
    headings = [in_lines(panel.heading, width - 2 * MARGIN, NORMAL, bold=True) for panel in panels]
    heights = [
        height_of(len(lines), NORMAL) + GAP + panel.height for lines, panel in zip(headings, panels, strict=True)
    ]
    sheet = Sheet(width, MARGIN + sum(heights) + SPACE * (len(panels) - 1) + MARGIN)
    top = MARGIN
    for panel, lines, height in zip(panels, headings, heights, strict=True):
        sheet.write(MARGIN, top, lines, bold=True)
        below = top + height_of(len(lines), NORMAL) + GAP
        _draw_maps(sheet, panel, below)
        draw_shares(sheet, panel.shares, LABELS, left=bars + words, top=below + HEAD, width=BARS, longest=LONGEST_WORD)
        top += height + SPACE
    return sheet


def _label_width(share: WordShare) -> float:
    return min(width_of(share.text, SMALL, share.has_map), LONGEST_WORD)


def _draw_maps(sheet: Sheet, panel: AttentionPanel, top: float) -> None:
    for line, numbers in enumerate(panel.lines_of_words):
        above = top + line * (HEAD + 2 * (CELL + GAP))
        tops = {model: above + HEAD + row * (CELL + GAP) for row, model in enumerate(LABELS)}
        for model, own_top in tops.items():
            sheet.write(
                MARGIN, own_top + CELL / 2, [LABELS[model]], rotation=90, va="center", color=COLOURS[model], bold=True
            )
            if line == 0:
                sheet.picture(decode_png(panel.prompt.recordings[model].png), MARGIN + LABEL, own_top, CELL)
        for column, number in enumerate(numbers, start=1):
            left = MARGIN + LABEL + column * (CELL + GAP)
            _draw_word(sheet, panel, number, left, above, tops)


def _draw_word(
    sheet: Sheet, panel: AttentionPanel, number: int, left: float, above: float, tops: Mapping[str, float]
) -> None:
    """A word with its map in each model's image, all on one scale of colours, whose top stands below the word."""
    word: Word = panel.prompt.words[number]
    heats = {model: panel.prompt.recordings[model].maps[number] for model in tops}
    highest = max(float(heat.max()) for heat in heats.values())
    middle = left + CELL / 2
    sheet.write(middle, above, [cut_to(word.text, CELL, NORMAL)], ha="center")
    scale = f"0 to {100 * highest:.2g} %"
    sheet.write(middle, above + height_of(1, NORMAL), [scale], size=SMALL, ha="center", color="#5b6270")
    for model, heat in heats.items():
        overlay = blend_overlay(panel.prompt.recordings[model].png, heat, highest)
        axes = sheet.picture(overlay, left, tops[model], CELL)
        mask = panel.masks[model][number] if panel.masks else None
        if mask is not None:
            _outline(axes, heat, mask)


def _outline(axes: "Axes", heat: "NDArray[np.float32]", mask: "NDArray[np.bool_]") -> None:
    """Draw a mask's edge over a map, and say how much of the map lies inside."""
    import numpy as np

    note = {"transform": axes.transAxes, "color": "white", "size": SMALL, "va": "bottom"}
    behind = {"facecolor": "black", "alpha": 0.55, "edgecolor": "none", "pad": 1.2}
    if not mask.any():
        axes.text(0.03, 0.03, "not found", bbox=behind, **note)
        return
    framed = np.pad(mask, 1).astype(np.float32)  # an object at the image's edge has an outline there, too
    height, width = mask.shape
    across = (np.arange(-1, width + 1) + 0.5) * SIDE / width - 0.5
    down = (np.arange(-1, height + 1) + 0.5) * SIDE / height - 0.5
    axes.contour(across, down, framed, levels=[0.5], colors=OUTLINE, linewidths=0.9)
    axes.set(xlim=(-0.5, SIDE - 0.5), ylim=(SIDE - 0.5, -0.5))
    axes.text(0.03, 0.03, f"{100 * share_inside(heat, mask):.0f} % inside", bbox=behind, **note)
