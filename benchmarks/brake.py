"""What the brake is worth on a training that is provoked to hack its reward: nothing holds it, and the rate is high.

    python -m benchmarks.brake --store FOLDER            # three seeds; half an hour on a core
    python -m benchmarks.brake --store FOLDER --seeds 1 --set train.steps=40

Each training of the miniature preset runs to its last step with the brake watching. Then the weights that the brake
delivers and those of the last step are judged once more, on prompts and noises that the brake never saw: it chose the
weights by its own prompts, on which they look better than they are. FOLDER keeps what goes before training.

The last line is one JSON object: seed -> what was delivered, and scores and distances of base, delivered and last step.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from comat_core.backbones.adapters import active_adapter
from comat_core.training.brake import Evaluation, Measurement
from stages.plan.pipeline import make_plan
from stages.plan.presets import load_preset
from stages.store.artifacts import Artifact
from stages.store.store import Store
from stages.train.brake.bench import load_bench
from stages.train.brake.examination import Examiner
from stages.train.brake.record import outcome_of
from stages.train.brake.validation_set import choose_prompts
from stages.train.config import TrainConfig
from stages.train.data.dataset import TrainingData
from stages.train.data.dataset import prepared as readable
from stages.train.learning.averages import put_in_for_now
from stages.train.loop import train
from stages.train.models import ADAPTER_NAME, load_models
from stages.train.steps import Run
from stages.train.tracking.reporting import make_accelerator

FRESH_SPLIT, FRESH_PROMPTS = "test", 100
DISTANCES = 'dino: {kind: patch_mean, model: "data://miniature/dino"}, dino_patches: {kind: patches, model: "data://miniature/dino"}'
PROVOCATION: Final = (
    "prompts.train=[{source: miniature/training, count: 160}]",
    f"prompts.evaluation=[{{source: miniature/held_out, split: {FRESH_SPLIT}, count: {FRESH_PROMPTS}}}, "
    "{source: miniature/held_out, split: validation, count: 40}, "
    "{source: miniature/fidelity, split: fidelity, count: 6}]",
    "pairs.count=16",
    "train.batch_size=8",
    "train.pair_batch_size=1",
    "train.steps=80",
    "train.weights.fidelity=0",
    "train.weights.attribute_region=0",
    "train.weights.attribute_pixel=0",
    "train.online.learning_rate=6e-3",
    "train.online.schedule=constant",
    "train.online.warmup_steps=0",
    "train.checkpoints.every=20",
    "train.tracking.validation_every=0",
    "train.tracking.images_every=0",
    "train.brake={every: 10, split: validation, prompts: 40, batch_size: 20, real: {count: 300}, judges: "
    f'{{objects: {{kind: described_objects, model: "data://miniature/judge"}}}}, distances: {{{DISTANCES}}}}}',
)
"""Settings over the miniature preset's."""


def main() -> None:
    arguments = _arguments()
    found = {}
    for seed in arguments.seeds:
        overrides = [*PROVOCATION, f"seed={seed}", *arguments.settings]
        found[seed] = provoke(arguments.preset, overrides, Store(arguments.store))
        print(table(seed, found[seed]), flush=True)
    print(json.dumps({"settings": [*PROVOCATION, *arguments.settings], "seeds": found}))


def provoke(preset: str, overrides: Sequence[str], store: Store) -> dict[str, Any]:
    """Train once, and judge what the brake delivers and the last step on fresh prompts."""
    config, inputs = prepared(preset, overrides, store)
    brake = config.brake
    assert brake is not None
    with tempfile.TemporaryDirectory() as folder, readable(inputs, Path(folder) / "data"):
        quiet = config.tracking.model_copy(update={"folder": f"{folder}/logs"})
        config = config.model_copy(update={"tracking": quiet})
        accelerator = make_accelerator(config)
        models = load_models(config, accelerator.device)
        training_data = TrainingData(inputs, Path(folder) / "data", seed=config.seed)
        bench = load_bench(config, brake, accelerator.device)
        watched = bench, choose_prompts(brake, inputs["prompts"], seed=config.seed)
        place = {"checkpoint_folder": Path(folder) / "checkpoints", "run_name": "provoked"}
        state = train(config, models, training_data, accelerator, watched=watched, **place)
        assert state.brake is not None and state.best is not None
        fresh = brake.model_copy(update={"split": FRESH_SPLIT, "prompts": FRESH_PROMPTS})
        prompts = choose_prompts(fresh, inputs["prompts"], seed=config.seed)
        examiner = Examiner(Run(config, models, training_data, accelerator), fresh, bench, prompts)
        outcome = outcome_of(state.brake, brake, steps=config.steps, stopped_at=state.step)
        with active_adapter(models.online.denoiser, ADAPTER_NAME):
            base = examiner.measure_base()
            last = examiner.evaluate(state.step, base, averaged=False)
            with put_in_for_now(state.best, state.trainee.online.parameters):
                delivered = examiner.evaluate(outcome.delivered_step, base, averaged=False)
    return {
        "delivered_step": outcome.delivered_step,
        "remark": outcome.remark,
        "rewarded": {row["step"]: row["concept_activation"] for row in state.history[:: max(1, brake.every)]},
        "watched": [_numbers(one) for one in state.brake.evaluations],
        "fresh": {"base": _of_base(base), "delivered": _numbers(delivered), "last": _numbers(last)},
    }


def prepared(preset: str, overrides: Sequence[str], store: Store) -> tuple[TrainConfig, dict[str, Artifact]]:
    """The training's settings, and its inputs, made unless the store has them."""
    plan = make_plan(load_preset(preset, overrides).sections)
    node = plan.by_name["train"]
    assert isinstance(node.config, TrainConfig)
    wanted, made = plan.with_inputs({"train"}) - {"train"}, {}
    for one in plan.nodes:
        if one.name in wanted:
            sources = {role: made[name] for role, name in one.inputs.items()}
            made[one.name] = one.stage.run(one.config, sources, store)
    return node.config, {role: made[name] for role, name in node.inputs.items()}


def table(seed: int, result: dict[str, Any]) -> str:
    """Fresh scores and distances of one seed, in Markdown."""
    fresh = result["fresh"]
    columns = [*fresh["base"]]
    lines = [f"seed {seed} | step | {' | '.join(columns)}", " | ".join("---" for _ in range(len(columns) + 2))]
    steps = {"base": 0, "delivered": result["delivered_step"], "last": fresh["last"]["step"]}
    for name, step in steps.items():
        lines.append(f"{name} | {step} | {' | '.join(f'{fresh[name][column]:.3f}' for column in columns)}")
    return "\n".join(f"| {line} |" for line in lines)


def _numbers(one: Evaluation) -> dict[str, float]:
    return {"step": one.step, **one.scores, **one.distances, "gain": one.gain, "ratio": one.ratio}


def _of_base(base: Measurement) -> dict[str, float]:
    return {**base.scores, **base.distances, "gain": 0.0, "ratio": 1.0}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="miniature")
    parser.add_argument("--store", required=True, metavar="FOLDER", help="for what goes before training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
