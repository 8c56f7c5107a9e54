"""Bars of the words' shares of the attention, both models' below each other."""

from collections.abc import Mapping, Sequence
from typing import Final

from stages.studies.figures.drawing.lettering import SMALL, cut_to, font
from stages.studies.figures.drawing.sheet import COLOURS, Sheet
from stages.studies.figures.word_shares import WordShare

BAR_ROW: Final = 0.19
"""Inches of a word's bars."""
AXIS: Final = 0.62
"""Inches below them, for the axis and the legend."""


def draw_shares(
    sheet: Sheet,
    shares: Sequence[WordShare],
    labels: Mapping[str, str],
    *,
    left: float,
    top: float,
    width: float,
    longest: float,
) -> None:
    """Draw one prompt's bars; words with maps are in bold.

    Args:
        labels: model -> its name in the legend.
        longest: inches that a word may take, to the left of `left`.
    """
    axes = sheet.axes(left, top, width, len(shares) * BAR_ROW)
    thickness = 0.8 / len(labels)
    for number, (model, label) in enumerate(labels.items()):
        places = [row - 0.4 + (number + 0.5) * thickness for row in range(len(shares))]
        values = [100 * share.by_model[model] for share in shares]
        axes.barh(places, values, height=thickness, color=COLOURS[model], label=label)
    axes.set_ylim(len(shares) - 0.5, -0.5)
    axes.set_yticks(range(len(shares)), [cut_to(share.text, longest, SMALL, share.has_map) for share in shares])
    for tick, share in zip(axes.get_yticklabels(), shares, strict=True):
        tick.set_fontproperties(font(SMALL, bold=share.has_map))
    axes.locator_params(axis="x", nbins=4)
    axes.tick_params(axis="x", labelsize=SMALL, width=0.5, length=2)
    axes.tick_params(axis="y", length=0, pad=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("mean share of the attention (%)", size=SMALL, labelpad=2)
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.36 / (len(shares) * BAR_ROW)),
        ncols=len(labels),
        prop=font(SMALL),
        frameon=False,
        handlelength=1,
        borderaxespad=0,
    )
