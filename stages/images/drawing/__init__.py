"""How another generator's pipeline draws its prompts, by the name that its settings give."""

from stages.images.drawing.as_saved import AsSaved
from stages.images.drawing.attend_and_excite import AttendAndExcite
from stages.images.drawing.composable import Composable
from stages.images.drawing.method import DrawingMethod
from stages.images.drawing.structure import Structure

METHODS: dict[str, type[DrawingMethod]] = {
    "as saved": AsSaved,
    "attend and excite": AttendAndExcite,
    "composable": Composable,
    "structure": Structure,
}
