"""How far raters agree beyond chance: Krippendorff's alpha."""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence


def nominal_alpha(units: Iterable[Sequence[Hashable]]) -> float | None:
    """Krippendorff's alpha of values without an order (Computing Krippendorff's Alpha-Reliability, 2011).

    1 - D_o / D_e: the share of unlike values among all pairs of values that one unit was given, over the share among
    all pairs of values whichever unit they were given to. The values of a unit that was given m of them weigh
    1 / (m - 1) in each pair, so that every value counts once; units with one value pair nothing and are left out.

    Args:
        units: the values that each unit was given, those that are missing left out, in any order.

    Returns:
        1 for perfect agreement, 0 for that of chance, less for raters who contradict each other; None where nothing
        could disagree: there are no two values of one unit, or all values are alike.
    """
    counts = [Counter(values) for values in units if len(values) > 1]
    totals = sum(counts, Counter[Hashable]())
    number = totals.total()
    if len(totals) < 2:
        return None
    observed = sum(_unlike_pairs(of_unit) / (of_unit.total() - 1) for of_unit in counts) / number
    expected = _unlike_pairs(totals) / (number * (number - 1))
    return 1.0 - observed / expected


def _unlike_pairs(counts: Counter[Hashable]) -> int:
    """Ordered pairs of unlike values."""
    number = counts.total()
    return sum(count * (number - count) for count in counts.values())
