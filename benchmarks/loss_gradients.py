"""What each term of the loss asks of the LoRA: the size of its gradient, and how far the terms agree.

    python -m benchmarks.loss_gradients miniature --store runs                        # after `comat run miniature`
    python -m benchmarks.loss_gradients miniature --store runs --lora FOLDER          # of a trained LoRA
    python -m benchmarks.loss_gradients miniature --store runs --set train.token_reduction=mean

Of the preset's own training batches, which the store must have. Per term, with its weight in it:

norm          mean norm of its gradient on the LoRA's parameters over the batches
share         the norm over the norm of the caption likelihood's (or of the first term, where that is off)
to itself     mean cosine of its gradients of different batches
to the total  mean cosine with the gradient of all terms together, of the same batch

A gradient is proportional to its term's weight, so the share at any weight can be read from one run; alpha and beta are
inside both concentration terms. The discriminator is as before its first step. The last line is one JSON object.
"""

import argparse
import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from comat_core.backbones.adapters import active_adapter, load_lora, lora_parameters
from comat_core.rewards.names import CONCEPT_ACTIVATION
from comat_core.training.training_step import training_step
from stages.plan.pipeline import make_plan
from stages.plan.presets import load_preset
from stages.plan.stage import Inputs
from stages.store.store import Store
from stages.train.config import TrainConfig
from stages.train.data.dataset import TrainingData, prepared
from stages.train.models import ADAPTER_NAME, load_models
from stages.train.stored_inputs import find_stored_inputs

TOTAL: Final = "total"
TRAINED: Final = "trained"

Gradients = dict[str, list[Tensor]]
"""Term -> its gradient (P,) of each batch."""


def main() -> None:
    arguments = _arguments()
    plan = make_plan(load_preset(arguments.preset, arguments.settings).sections)
    config, inputs = find_stored_inputs(plan, Store(arguments.store), arguments.preset)
    gradients = measure(config, inputs, arguments.batches, arguments.lora)
    figures = {name: figures_of(name, gradients) for name in gradients}
    print("| term | norm | share | to itself | to the total |\n| --- | --- | --- | --- | --- |")
    for name, row in figures.items():
        cells = [f"{row['norm']:.4g}", f"{row['share']:.4g}", f"{row['to_itself']:.3f}", f"{row['to_total']:.3f}"]
        print(f"| {name} | {' | '.join(cells)} |")
    print(json.dumps({"batches": arguments.batches, "batch_size": config.batch_size, "terms": figures}))


def measure(config: TrainConfig, inputs: Inputs, batches: int, lora: Path | None = None) -> Gradients:
    """The gradients of every term, and of their total, of as many batches.

    Args:
        lora: folder of a trained LoRA; None for the fresh one that training starts with.

    Raises:
        UserError: the LoRA does not fit.
    """
    models = load_models(config, torch.device("cpu"))
    online, adapter = models.online, ADAPTER_NAME
    if lora is not None:
        load_lora(online, lora, TRAINED)
        adapter = TRAINED
    parameters, found = lora_parameters(online.denoiser, adapter), Gradients()
    with (
        TemporaryDirectory() as scratch,
        prepared(inputs, folder := Path(scratch) / "data"),
        active_adapter(online.denoiser, adapter),
    ):
        training_data = TrainingData(inputs, folder, seed=config.seed)
        for number in range(batches):
            batch = training_data.batch(number, config.batch_size, config.pair_batch_size)
            output = training_step(models, batch, config, seed=config.seed, step=number)
            for term, loss in (output.terms | {TOTAL: output.total}).items():
                parts = torch.autograd.grad(loss, parameters, retain_graph=term != TOTAL, materialize_grads=True)
                found.setdefault(term, []).append(torch.cat([part.flatten() for part in parts]))
    return found


def figures_of(name: str, gradients: Gradients) -> dict[str, float]:
    """A term's row of the table."""
    own, yardstick = gradients[name], gradients.get(CONCEPT_ACTIVATION, next(iter(gradients.values())))
    pairs = list(combinations(own, 2))
    return {
        "norm": _mean_norm(own),
        "share": _mean_norm(own) / max(_mean_norm(yardstick), torch.finfo(torch.float32).tiny),
        "to_itself": fmean(_cosine(one, other) for one, other in pairs) if pairs else float("nan"),
        "to_total": fmean(map(_cosine, own, gradients[TOTAL])),
    }


def _mean_norm(gradients: Sequence[Tensor]) -> float:
    return fmean(float(gradient.norm()) for gradient in gradients)


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(cosine_similarity(one, other, dim=0))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset")
    parser.add_argument("--store", default="runs")
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--lora", type=Path, help="folder of a trained LoRA")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
