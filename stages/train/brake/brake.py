"""The brake as the training loop knows it: what is judged after a step, and what follows from it."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from stages.train.brake.bench import Bench
from stages.train.brake.examination import Examiner
from stages.train.brake.record import BrakeRecord, metrics_of
from stages.train.brake.settings import BrakeSettings
from stages.train.brake.validation_set import ValidationPrompt
from stages.train.learning.averages import copied, put_in_for_now
from stages.train.learning.state import TrainingState
from stages.train.steps import Run

FIDELITY_WEIGHT = "fidelity_weight"


class Brake:
    """Judges the weights of a training, and remembers the best of them in the training's state.

    Args:
        run: the training; `run.config.brake` is set.
        state: of the training, restored from its checkpoint if there is one.
    """

    def __init__(self, run: Run, state: TrainingState, bench: Bench, prompts: Sequence[ValidationPrompt]) -> None:
        assert run.config.brake is not None and state.brake is not None
        self._config = run.config
        self._settings: BrakeSettings = run.config.brake
        self._state = state
        self._examiner = Examiner(run, self._settings, bench, prompts)

    @property
    def record(self) -> BrakeRecord:
        """What was found so far."""
        assert self._state.brake is not None
        return self._state.brake

    @property
    def is_over(self) -> bool:
        """Whether training ends before its last step."""
        return self.record.is_over(self._settings)

    @property
    def has_judged(self) -> bool:
        """Whether the weights after the newest step were judged."""
        return self._state.step in {one.step for one in self.record.evaluations[-2:]}

    def judge_base(self) -> None:
        """Judge the base model, whose numbers all others are held against. Before the first step."""
        self.record.base = self._examiner.measure_base()

    def after_step(self) -> dict[str, float]:
        """Judge the weights if it is their turn, and the averaged ones beside them; return what there is to log."""
        record, state, settings = self.record, self._state, self._settings
        if not record.is_due(state.step, self._config.steps, settings):
            return {}
        metrics = self._judge(state.trainee.online.parameters)
        record.steer(record.evaluations[-1], settings, self._config.weights.fidelity)
        if state.average is not None:
            metrics |= self._judge_average(state.average)
        return metrics | ({} if settings.steering is None else {FIDELITY_WEIGHT: record.fidelity_weight})

    def _judge_average(self, average: Mapping[str, Tensor]) -> dict[str, float]:
        with put_in_for_now(average, self._state.trainee.online.parameters):
            return self._judge(average, averaged=True)

    def _judge(self, values: Mapping[str, Tensor], *, averaged: bool = False) -> dict[str, float]:
        """Judge the model as it is; `values` are the parameters that it has."""
        record, state = self.record, self._state
        assert record.base is not None, "the base model is judged before the first step"
        evaluation = self._examiner.evaluate(state.step, record.base, averaged=averaged)
        record.evaluations.append(evaluation)
        if record.best(self._settings) is evaluation:
            state.best = copied(values)
        return metrics_of(evaluation, record.base)
