"""Groups of prompts with their images, models below each other, the same noise in each column."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from stages.evaluate.scoring.images.generated_images import Prompt
from stages.report.pictures.drawn_images import ImageFiles
from stages.report.tables.prompt_scores import PromptScores, ranking_metric, verdict_of
from stages.report.tables.scores import describe
from stages.report.tables.selection import choose_ends

NO_SCORES = PromptScores()


@dataclass(frozen=True)
class Picture:
    """One shown image with its score under the metric that ranks the examples."""

    uri: str
    score: float | None
    answers: str


@dataclass(frozen=True)
class SkillGroup:
    """The prompts of one skill that gained and lost most."""

    skill: str
    metric: str
    rule: str
    gains: tuple[str, ...]
    losses: tuple[str, ...]

    @property
    def prompt_ids(self) -> tuple[str, ...]:
        return (*self.gains, *self.losses)


def changes_of(prompt_ids: Collection[str], scores: Mapping[str, PromptScores], metric: str | None) -> dict[str, float]:
    """Prompt id -> mean score of its tuned images minus that of its base images, for prompts that were scored."""
    if metric is None:
        return {}
    changes = {key: scores[key].change(metric) for key in prompt_ids if key in scores}
    return {key: change for key, change in changes.items() if change is not None}


def choose_skill_groups(
    prompts: Mapping[str, Prompt], scores: Mapping[str, PromptScores], shown: Collection[str], count: int
) -> list[SkillGroup]:
    """For every skill the prompts that gained most and those that lost most, without those shown already."""
    groups = []
    for skill in sorted({prompt.skill for prompt in prompts.values()}):
        ids = [key for key, prompt in prompts.items() if prompt.skill == skill]
        metric = ranking_metric([scores[key] for key in ids if key in scores], skill)
        changes = changes_of(ids, scores, metric)
        left = {key: change for key, change in changes.items() if key not in shown and verdict_of(change) != "unclear"}
        best, worst = choose_ends(left, count)
        gains = tuple(key for key in best if left[key] > 0)
        losses = tuple(key for key in worst if left[key] < 0)
        if metric is None or not (gains or losses):
            continue
        up, down = (
            sum(verdict_of(change) == verdict for change in changes.values()) for verdict in ("better", "worse")
        )
        rule = (
            f"{up} of {len(changes)} prompts gained in {describe(metric).in_sentence}, {down} lost,"
            f" {len(changes) - up - down} stayed. The largest changes that are not shown above."
        )
        groups.append(SkillGroup(skill, metric, rule, gains, losses))
    return groups


def show_prompts(
    prompt_ids: Collection[str],
    metric: str | None,
    prompts: Mapping[str, Prompt],
    scores: Mapping[str, PromptScores],
    images: ImageFiles,
    shown_samples: int,
) -> list[dict[str, Any]]:
    """The cards of some prompts, by the template's names."""
    cards = []
    for prompt_id in prompt_ids:
        own = scores.get(prompt_id, NO_SCORES)
        samples = images.samples.get(prompt_id, [])[:shown_samples]
        columns = [
            {
                "sample": sample,
                "pictures": {
                    model: _picture(prompt_id, model, sample, own, metric, images)
                    for model in images.models_of(prompt_id, sample)
                },
            }
            for sample in samples
        ]
        change = own.change(metric) if metric else None
        models = list(columns[0]["pictures"]) if columns else []
        card = {"text": prompts[prompt_id].text, "columns": columns, "models": models}
        cards.append(card | {"change": change, "verdict": verdict_of(change)})
    return cards


def _picture(
    prompt_id: str, model: str, sample: int, scores: PromptScores, metric: str | None, images: ImageFiles
) -> Picture:
    score = scores.samples.get(metric, {}).get(model, {}).get(sample) if metric else None
    return Picture(images.shown[model, prompt_id, sample], score, scores.told(model, sample))
