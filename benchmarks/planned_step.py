"""What the memory plan says of a training with two rewards against what its first step takes; for `train_step`."""

from typing import cast

import torch

from benchmarks.peak_memory import peak_bytes
from benchmarks.training_workload import SEED, make_batch
from comat_core.backbones.adapters import active_adapter
from comat_core.support.memory.stored_bytes import stored_bytes
from comat_core.training.training_inputs import CoMatModels
from comat_core.training.training_step import discriminator_step, training_step
from stages.plan.presets import load_preset
from stages.train.config import TrainConfig
from stages.train.memory_plan import plan_memory
from stages.train.models import ADAPTER_NAME, Learner, load_models, make_trainee

REWARDS = (
    "train.rewards={contrast: {kind: caption_contrast, weight: 0.5}, "
    'questions: {kind: yes_to_questions, model: "data://miniature/vqa", weight: 0.5}}'
)


def plan_against_peak(device: str, *overrides: str) -> dict[str, object]:
    """Plan the miniature preset with two rewards, and take its first step.

    The measured peak is what the loaded models hold plus how far the step rises above that at torch's allocator,
    gradients and the optimisers' state included.
    """
    preset = load_preset("miniature", [REWARDS, f"train.device={device}", *overrides])
    config = cast("TrainConfig", preset.sections["train"])
    models = load_models(config, torch.device(device))
    batch = make_batch(models.online, config, config.batch_size, config.pair_batch_size)
    captions = [*batch.prompts, *(batch.pair_captions if config.denoised_pairs else ())]
    plan = plan_memory(config, models, captions=captions)
    held = bytes_held(models)
    trainee = make_trainee(config, models)

    def first_step() -> None:
        output = training_step(models, batch, config, seed=SEED, step=0)
        output.total.backward()
        output.total, output.terms = output.total.detach(), {}
        _move(trainee.online)
        if trainee.discriminator is not None:
            discriminator_step(models, batch, output, config).loss.backward()
            _move(trainee.discriminator)

    with active_adapter(models.online.denoiser, ADAPTER_NAME):
        measured = held + peak_bytes(first_step, device)
    return {
        "planned_bytes": plan.peak,
        "measured_bytes": measured,
        "ratio": plan.peak / measured,
        "held_bytes": held,
        "activations": plan.activations,
        "repetitions": 1,
    }


def bytes_held(models: CoMatModels) -> int:
    """Bytes of all weights and buffers, each once."""
    networks = [*models.online.networks.values()]
    networks += [network for helper in models.helpers.values() for network in helper.networks.values()]
    values = {id(value): value for network in networks for value in (*network.parameters(), *network.buffers())}
    return sum(map(stored_bytes, values.values()))


def _move(learner: Learner) -> None:
    learner.optimizer.step()
    learner.optimizer.zero_grad(set_to_none=True)
