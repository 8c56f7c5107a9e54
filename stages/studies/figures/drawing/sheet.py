"""A figure laid out in inches, and its files."""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from comat_core.support.errors import UserError
from stages.studies.figures.drawing.lettering import FAMILY, NORMAL, font, height_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL.Image import Image

MARGIN: Final = 0.12
GAP: Final = 0.06
LONGEST_SIDE: Final = 100
"""Inches of a sheet; the PNG would have more pixels than matplotlib draws."""
DOTS_PER_INCH: Final = 300
COLOURS: Final = {"base": "#8b93a3", "tuned": "#4a56d8"}
"""Model -> its colour in the report."""
STYLE: Final[Any] = {
    "font.family": FAMILY,
    "text.parse_math": False,  # a prompt may have dollar signs
    "pdf.fonttype": 42,  # fonts in the file, as TrueType: texts stay texts
    "axes.linewidth": 0.5,
    "savefig.dpi": DOTS_PER_INCH,
}


@contextmanager
def drawing_style() -> Iterator[None]:
    """Draw and write figures inside the block alike on every machine, whatever its matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing")  # `tell_missing_glyphs` says it, once
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


class Sheet:
    """A white sheet; places are inches from its left and upper edge. To be used inside `drawing_style`."""

    def __init__(self, width: float, height: float) -> None:
        """Take a sheet.

        Raises:
            UserError: it is larger than any page.
        """
        from matplotlib.figure import Figure

        if max(width, height) > LONGEST_SIDE:
            where = f"{width:.0f} x {height:.0f} inches, {LONGEST_SIDE} at most"
            raise UserError("the figure is too large", where, "show fewer prompts, seeds or words")
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height))

    def axes(self, left: float, top: float, width: float, height: float) -> "Axes":
        """An area to draw in."""
        bottom = self.height - top - height
        place = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(place)

    def picture(self, image: "Image", left: float, top: float, side: float) -> "Axes":
        """A picture in a square; its own pixels are the units of the area."""
        import numpy as np

        axes = self.axes(left, top, side, side)
        axes.imshow(np.asarray(image))
        axes.set_axis_off()
        return axes

    def write(
        self, left: float, top: float, lines: Sequence[str], *, size: float = NORMAL, bold: bool = False, **options: Any
    ) -> None:
        """Lines below each other.

        Args:
            options: further ones of matplotlib's texts: ha, rotation, color.
        """
        for number, line in enumerate(lines):
            place = (left / self.width, 1 - (top + height_of(number, size)) / self.height)
            self.figure.text(*place, line, fontproperties=font(size, bold), **{"va": "top", **options})

    def as_files(self) -> dict[str, bytes]:
        """Ending of a file -> its content, which depends on nothing but the drawing: no dates, no versions."""
        from matplotlib.image import AxesImage

        png, pdf = io.BytesIO(), io.BytesIO()
        self.figure.savefig(png, format="png", metadata={"Software": None})
        for image in self.figure.findobj(AxesImage):
            image.set_interpolation("none")  # with all of its own pixels, whatever the size on paper
        metadata = {"Creator": None, "Producer": None, "CreationDate": None}
        self.figure.savefig(pdf, format="pdf", metadata=metadata)
        return {".png": png.getvalue(), ".pdf": pdf.getvalue()}
