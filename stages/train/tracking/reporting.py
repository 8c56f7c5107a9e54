"""What a person sees of a running training: progress bar, TensorBoard, pictures."""

import torch
from accelerate import Accelerator
from tqdm import tqdm

from stages.models.devices import choose_device
from stages.train.config import TrainConfig
from stages.train.tracking.trackers import TENSORBOARD, start_trackers

PICTURES = 8
"""Images of one picture strip at most."""


class Reporter:
    """Reports from the main process; the other processes stay silent.

    Args:
        run_name: names this run's folder of logs; the same when it is resumed.
        step: the number of steps already taken.
    """

    def __init__(self, config: TrainConfig, accelerator: Accelerator, run_name: str, step: int) -> None:
        self._config = config
        self._accelerator = accelerator
        start_trackers(accelerator, run_name, step)
        self._bar = tqdm(
            total=config.steps,
            initial=step,
            desc="Training",
            unit="step",
            disable=not accelerator.is_main_process,
            mininterval=5.0,
        )

    def step(self, step: int, metrics: dict[str, float], images: torch.Tensor | None) -> None:
        """Report one finished step.

        Args:
            step: steps taken so far.
            images: (B, 3, H, W) of the step's batch in [0, 1] with tails.
        """
        self._accelerator.log({name: value for name, value in metrics.items() if name != "step"}, step=step)
        self._bar.set_postfix(loss=f"{metrics['total']:.3f}", skipped=int(metrics["skipped"]), refresh=False)
        self._bar.update()
        every = self._config.tracking.images_every
        if images is not None and every and step % every == 0:
            self.pictures("batch", step, images[:PICTURES])

    def close(self) -> None:
        """End the bar and flush the trackers."""
        self._bar.close()
        self._accelerator.end_training()

    def pictures(self, name: str, step: int, images: torch.Tensor) -> None:
        """Report images (B, 3, H, W) in [0, 1] with tails, to the trackers that take images."""
        pixels = (images.float().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        for tracker in self._accelerator.trackers:
            if tracker.name == TENSORBOARD:
                tracker.log_images({name: pixels}, step=step, dataformats="NHWC")
            elif hasattr(tracker, "log_images"):
                tracker.log_images({name: list(pixels)}, step=step)


def make_accelerator(config: TrainConfig) -> Accelerator:
    """Make the object that knows the processes and the trackers. TensorBoard is always among them."""
    return Accelerator(
        cpu=choose_device(config.device).type == "cpu",
        log_with=[TENSORBOARD, *config.tracking.trackers],
        project_dir=str(config.tracking.logs),
    )
