"""The form in which a benchmark's module says what it is: its BENCHMARK."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from stages.plan.splits import TEST
from stages.plan.stage import ShardedStage, Stage

OFFICIAL: Final = "official"
"""The mode that measures as the authors' script does, faults and all."""
ScoredItem = Mapping[str, Any]
"""A row of an items table."""


def _explains_nothing(_item: ScoredItem) -> Sequence[str]:
    return ()


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A score that a summary holds, and how it is shown.

    Attributes:
        name: in the summary; followed by a slash and a skill for prompts of that skill alone.
        label: for tables and pictures.
        meaning: one line for somebody who sees the label for the first time.
        of_features: what follows the slash in its names is the network whose features are compared, not a skill.
        digits: decimal places in tables.
        headline: its place among the scores at the top of the page and on the time line; None elsewhere. Of a metric
            by several networks it is the one that the summary names.
        title: what the page's first screen calls it, in large print; without one it stands further down.
        ranking: its place among the scores by which examples are chosen, of which the first that was measured is taken.
        skills: what the skills of the prompts begin with that it was made for, and whose examples it chooses.
        in_prompt_table: it has columns in the table of all prompts.
        is_drawn: it has an axis in the two pictures of all scores: a share of 1, higher is better.
        is_divided: of its axes there is one for each skill.
    """

    name: str
    label: str
    meaning: str
    higher_is_better: bool = True
    of_features: bool = False
    digits: int = 3
    headline: int | None = None
    title: str = ""
    ranking: int | None = None
    skills: tuple[str, ...] = ()
    in_prompt_table: bool = False
    is_drawn: bool = False
    is_divided: bool = False

    @property
    def in_sentence(self) -> str:
        """The label amid a sentence: names keep their capitals."""
        return self.label.lower() if self.label[1:] == self.label[1:].lower() else self.label


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A benchmark.

    Attributes:
        name: of its module, which presets have as the section "evaluate.<name>".
        place: where it stands among the others in the DAG and on every page; after those that it reads.
        metrics: the scores in its summary. One that several benchmarks have is described by one of them.
        split: of the prompts whose images it scores.
        scores: the stage that scores one model, mostly its images; None if it joins the scores of other benchmarks.
        real_scores: the stage that looks at real images, if it compares with any.
        distances: the stage that measures one model's scores against those of the real images, if its comparison reads
            distances in the place of scores.
        real_distances: the stage that measures real images against each other, if its comparison reads that too.
        inputs: role -> node of what its comparison, the module's STAGE, reads besides prompts and its own scores.
        of_models: its scores look at the base and the tuned model themselves, not at their images. What its section
            leaves open of the sampling is as images are drawn.
        of_single_images: its items are scores of single images, which pages show beside them; otherwise it measures
            sets of images.
        read_item: an item -> the metrics' scores in it, for items whose columns are not called like them. An image's
            score is the mean over its items.
        explain_item: an item -> what the scoring model said of the image, for somebody who wonders at its score.
        of_training: it measures what rewards a training, and nothing of a model that draws.
        reading: the mode of its protocol, where it is measured in two at once; "" for the one that its section says.
    """

    name: str
    place: int
    metrics: tuple[Metric, ...]
    split: str = TEST
    scores: ShardedStage | None = None
    real_scores: ShardedStage | None = None
    distances: Stage | None = None
    real_distances: Stage | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    of_models: bool = False
    of_single_images: bool = True
    read_item: Callable[[ScoredItem], Mapping[str, float | None]] | None = None
    explain_item: Callable[[ScoredItem], Sequence[str]] = _explains_nothing
    of_training: bool = False
    reading: str = ""

    @property
    def node(self) -> str:
        """The node that compares its scores, and its section in presets."""
        return f"evaluate.{self._place_in_dag}"

    @property
    def has_modes(self) -> bool:
        """Whether its settings choose between its authors' protocol and one without its faults."""
        return self.scores is not None and "mode" in self.scores.config_type.model_fields

    @property
    def _place_in_dag(self) -> str:
        return f"{self.name}_{self.reading}" if self.reading else self.name

    def scores_node(self, model: str) -> str:
        """The node of a model's scores, or of those of the real images."""
        return f"scores.{self._place_in_dag}.{model}"

    def distances_node(self, model: str) -> str:
        """The node of a model's distances to real images, or of those of the real images."""
        return f"distances.{self._place_in_dag}.{model}"

    def scores_in(self, item: ScoredItem) -> Mapping[str, float | None]:
        """The metrics' scores in an item."""
        if self.read_item is not None:
            return self.read_item(item)
        return {metric.name: item[metric.name] for metric in self.metrics if metric.name in item}
