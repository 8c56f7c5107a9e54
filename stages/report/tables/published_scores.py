"""The run's scores beside published ones, where both are of the same benchmark and skill."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from data.paper_results import PublishedModel, PublishedRow, load_paper_results
from stages.evaluate.declared.registry import benchmarks
from stages.plan.splits import TEST
from stages.prompts.tables import read_prompts
from stages.report.tables.scores import Evaluation, ScoreRow
from stages.store.artifacts import Artifact

SkillSources = dict[str, set[str]]


@dataclass(frozen=True)
class Comparison:
    """One score of the run with the published ones."""

    published: PublishedRow
    own: ScoreRow
    mode: str | None
    same_prompts: bool

    @property
    def changes(self) -> dict[str, float]:
        """Fine-tuned model -> its published score minus that of the model it was made from."""
        models, scores = load_paper_results().models, self.published.scores
        return {
            name: score - scores[origin]
            for name, score in scores.items()
            if (origin := models[name].tuned_from) in scores
        }


@dataclass(frozen=True)
class BesideThePaper:
    """The table's content."""

    models: dict[str, PublishedModel]  # those that some row has a score of
    rows: list[Comparison]
    publications: list[str]
    notes: list[str]  # "evaluation label: note"


def compare_with_paper(evaluations: Sequence[Evaluation], prompts: Artifact) -> BesideThePaper:
    """Find the run's own score of every published row."""
    results = load_paper_results()
    sources = _sources(prompts)
    rows = []
    for row in results.rows:
        found = _own_row(row, evaluations, sources)
        if found is not None:
            evaluation, own = found
            used = _sources_used(own, evaluation, _of_benchmark(evaluation, sources))
            same = bool(used) and all(fnmatchcase(source, row.prompts) for source in used)
            rows.append(Comparison(row, own, evaluation.mode, same))
    present = {name for row in rows for name in row.published.scores}
    cited = dict.fromkeys(results.sources[row.published.source].title for row in rows)
    published = [row.published for row in rows]
    notes = [f"{row.benchmark}, {row.label}: {row.note}" for row in published if row.note]
    return BesideThePaper(
        {name: model for name, model in results.models.items() if name in present}, rows, list(cited), notes
    )


def _own_row(
    row: PublishedRow, evaluations: Sequence[Evaluation], sources: Mapping[str, SkillSources]
) -> tuple[Evaluation, ScoreRow] | None:
    """The score of the row's skill; the score of all prompts where the row names no skill, or they are all of it."""
    for evaluation in evaluations:
        own = {score.name: score for score in evaluation.rows if score.change}
        for skill in row.skills:
            if f"{row.metric}/{skill}" in own:
                return evaluation, own[f"{row.metric}/{skill}"]
        scored = set(evaluation.skills or _of_benchmark(evaluation, sources))
        if row.metric in own and (not row.skills or (len(scored) == 1 and scored <= set(row.skills))):
            return evaluation, own[row.metric]
    return None


def _sources_used(own: ScoreRow, evaluation: Evaluation, sources: SkillSources) -> set[str]:
    """Where the scored prompts come from."""
    skills = [own.skill] if own.skill in sources else evaluation.skills or list(sources)
    return set().union(*(sources.get(skill, set()) for skill in skills if skill))


def _of_benchmark(evaluation: Evaluation, sources: Mapping[str, SkillSources]) -> SkillSources:
    """The prompts that the benchmark scored: of its own split where there is one, else the held-out ones."""
    split = next((one.split for one in benchmarks() if one.name == evaluation.name), TEST)
    return sources.get(split, sources.get(TEST, {}))


def _sources(prompts: Artifact) -> dict[str, SkillSources]:
    """Split -> skill -> prompt sets that its prompts come from."""
    found: dict[str, SkillSources] = {}
    for row in read_prompts(prompts):
        found.setdefault(row.split, {}).setdefault(row.skill, set()).add(row.source)
    return found
