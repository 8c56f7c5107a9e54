"""Summaries as evaluations write them, with numbers to be checked by hand."""

from stages.studies.ablation.results import Results, gather
from stages.studies.ablation.settings import Ablation
from stages.studies.ablation.variants import Variant

ABLATION = Ablation.model_validate(
    {
        "metrics": [
            {"evaluation": "attributes", "metric": "attribute_binding"},
            {"evaluation": "judge", "metric": "all_right"},
            {"evaluation": "fidelity", "metric": "frechet_distance_ratio/dino"},
            {"evaluation": "fidelity", "metric": "frechet_distance/judge"},
        ],
        "tables": {
            "fidelity": {
                "title": "Fidelity",
                "measured": "FID-10K",
                "higher_is_better": False,
                "base": 16.69,
                "rows": [
                    {"name": "without", "label": "no D", "settings": {"weights.fidelity": 0}, "paper": 19.02},
                    {"name": "full", "label": "UNet | D", "paper": 15.43},
                ],
            },
            "captioner": {
                "title": "Captioners",
                "measured": "color",
                "higher_is_better": True,
                "rows": [{"name": "none", "label": "none"}],
            },
        },
    }
)

BASE = {"attributes": ("attribute_binding", 0.4), "fidelity": ("frechet_distance/judge", 20.0)}
DINO_BASE = 2.0
TUNED = {
    ("without", 1): (0.5, 30.0),
    ("without", 2): (0.6, 33.0),
    ("without", 3): (0.7, 36.0),
    ("full", 1): (0.35, 19.0),
    ("full", 2): (0.41, 20.0),
    ("full", 3): (0.44, 18.0),
    ("none", 1): (0.4, 20.0),
    ("none", 2): (0.4, 20.0),
    ("none", 3): (0.4, 20.0),
}


def make_results(seeds: tuple[int, ...] = (1, 2, 3)) -> Results:
    """Results of all rows; the preset has no evaluate.judge, and only the row "full" trains against DINO."""
    variants, summaries = [], []
    for seed in seeds:
        for table, content in ABLATION.tables.items():
            for row in content.rows:
                evaluations = ("evaluate.attributes", "evaluate.fidelity")
                variant = Variant(table, row, seed, "miniature", (f"train.seed={seed}",), evaluations)
                variant.__dict__["keys"] = dict.fromkeys(evaluations, f"{row.name}-{seed}")
                variants.append(variant)
                summaries.append(_summaries(*TUNED[row.name, seed], seen="discriminator.model" * (row.name == "full")))
    return gather(ABLATION, "miniature", ["train.steps=4"], variants, summaries)


def _summaries(*tuned: float, seen: str) -> dict[str, dict]:
    """Tuned images twice as far from the real ones, by the judge, are four times as far by DINO."""
    found = {}
    for (evaluation, (metric, base)), value in zip(BASE.items(), tuned, strict=True):
        models = {"base": {metric: {"mean": base}}, "tuned": {metric: {"mean": value}}}
        found[f"evaluate.{evaluation}"] = {"benchmark": evaluation, "models": models, "delta": {}}
    fidelity, ratio = found["evaluate.fidelity"], (tuned[1] / BASE["fidelity"][1]) ** 2
    for model, value in (("base", DINO_BASE), ("tuned", DINO_BASE * ratio)):
        fidelity["models"][model]["frechet_distance/dino"] = {"mean": value}
    fidelity["delta"]["frechet_distance_ratio/dino"] = {"mean": ratio}
    facts = {"seen_by": seen or None, "remark": "training looks at this network" if seen else ""}
    fidelity["extractors"] = {"dino": facts, "judge": {"seen_by": None, "remark": "the judge"}}
    return found
