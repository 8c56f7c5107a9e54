"""Which prompts the page shows: by rule, so that nobody picks the pretty ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stages.attention.words import in_drawn_order


@dataclass(frozen=True)
class Group:
    """Some prompts with the rule that chose them."""

    title: str
    rule: str
    prompt_ids: tuple[str, ...]


def choose_groups(
    prompt_ids: Sequence[str], gains: Mapping[str, float], metric: str, count: int, seed: int
) -> list[Group]:
    """The prompts with the largest gain, those with the smallest, and a random sample of all.

    Args:
        prompt_ids: all held-out prompts.
        gains: prompt id -> mean score of its tuned images minus that of its base images; may lack prompts.
        metric: what the score is called.
        count: prompts per group, at most.
        seed: of the random sample.
    """
    best, worst = choose_ends(gains, count)
    groups = []
    if best:
        scored = f"of {len(gains)} held-out prompts by change in {metric}, averaged over the prompt's images"
        groups = [
            Group("Largest gains", f"The {len(best)} highest {scored}.", best),
            Group("Largest losses", f"The {len(worst)} lowest {scored}.", worst),
        ]
    sample = in_drawn_order(prompt_ids, seed)[:count]
    rule = f"{len(sample)} of {len(prompt_ids)} held-out prompts, drawn by the run's seed without a look at any image."
    return [*groups, Group("Random sample", rule, tuple(sample))]


def choose_ends(gains: Mapping[str, float], count: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The prompts that gained most and those that gained least, at most `count` of each and none of them in both."""
    ranked = sorted(gains, key=lambda prompt_id: (gains[prompt_id], prompt_id))
    count_each = min(count, len(ranked) // 2)
    return tuple(ranked[::-1][:count_each]), tuple(ranked[:count_each])
