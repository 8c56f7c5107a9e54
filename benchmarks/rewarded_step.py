"""Training steps with and without rewards beside concept activation; for `benchmarks.train_step`."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from benchmarks.alternating import Timing, alternate
from benchmarks.bare_model_calls import bare_model_calls
from benchmarks.training_workload import ONLINE, SEED, Workload
from comat_core.backbones.adapters import lora_parameters
from comat_core.language.counterfactuals import counterfactuals
from comat_core.language.parsers import load_parser
from comat_core.language.prompt_questions import prompt_questions
from comat_core.language.read_once import read_once
from comat_core.rewards.caption_contrast import CaptionContrast
from comat_core.rewards.names import CONCEPT_ACTIVATION, reward_role
from comat_core.rewards.prompt_answers import YesToQuestions
from comat_core.rewards.protocol import WeightedReward
from comat_core.scorers.visual_question_answering import CORRECTED, VisualQuestionAnswerer
from comat_core.support.randomness import make_generator
from comat_core.training.training_step import discriminator_step, training_step
from data.noun_filter import load_noun_filter
from stages.models.model_references import DEFAULT_PARSER
from stages.train.learning.objectives import SeparateGradients

VQA = "vqa"


def with_rewards(workload: Workload) -> Workload:
    """The same with two rewards beside concept activation: the captioner's contrast, and questions to a BLIP."""
    parser, words = load_parser(DEFAULT_PARSER), load_noun_filter()
    captioner, device = workload.models.captioner, workload.models.online.device
    assert captioner is not None
    assert workload.folder is not None, "the answering model lies beside the others"
    answerer = VisualQuestionAnswerer.load(str(workload.folder / VQA), device=device, protocol=CORRECTED)
    rewards = {
        "contrast": WeightedReward(CaptionContrast(captioner, read_once(counterfactuals, parser, words)), 0.5),
        "questions": WeightedReward(YesToQuestions(answerer, read_once(prompt_questions, parser, words)), 0.5),
    }
    return replace(workload, models=replace(workload.models, rewards=rewards))


def step_over_bare_calls(workload: Workload, timing: Timing) -> dict[str, object]:
    """Time a full step against the model calls that it cannot avoid."""
    make_calls = bare_model_calls(workload, step=0)

    def whole_step() -> None:
        full_step(workload)
        workload.forget_gradients()

    def bare_step() -> None:
        make_calls()
        workload.forget_gradients()

    return alternate(whole_step, bare_step, timing, workload.models.online.device.type)


def full_step(workload: Workload, autocast: Callable[[], AbstractContextManager[object]] = nullcontext) -> None:
    """Both learners' backward passes, on all losses.

    Args:
        autocast: makes the context of each forward pass.
    """
    models, batch, settings = workload.models, workload.batch, workload.settings
    with autocast():
        output = training_step(models, batch, settings, seed=SEED, step=0)
    output.total.backward()
    with autocast():
        scored = discriminator_step(models, batch, output, settings)
    scored.loss.backward()


def projected_step(workload: Workload) -> None:
    """A full step with a backward pass for each reward, and their gradients projected."""
    models, batch, settings = workload.models, workload.batch, workload.settings
    online = lora_parameters(models.online.denoiser, ONLINE)
    rewarded = [CONCEPT_ACTIVATION, *map(reward_role, models.rewards)]
    apart = SeparateGradients({str(number): one for number, one in enumerate(online)}, rewarded)
    output = training_step(models, batch, settings, seed=SEED, step=0)
    apart.walk_back(output.terms, lambda loss: loss)
    apart.put_in_projected(make_generator(SEED, "projection order"))
    output.total, output.terms = output.total.detach(), {}
    discriminator_step(models, batch, output, settings).loss.backward()
    workload.forget_gradients()
