"""One training run as a value that a file can hold, so that other processes can be given it."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict
from tqdm import tqdm

from comat_core.files.whole_files import write_whole
from stages.store.artifacts import Artifact
from stages.store.local_disk import disk_errors_told
from stages.store.locks import Claim, Lease
from stages.train.config import TrainConfig

if TYPE_CHECKING:
    from comat_core.backbones.protocol import Backbone
    from stages.train.learning.state import TrainingState


class Job(BaseModel):
    """What a training process needs to know; the same for all processes of a run.

    Attributes:
        folder: local; holds the checkpoints, and in the end the LoRA and the history.
        run_name: of the logs.
        claim: the lease under which the folder is written. Once that is lost, training ends without saving anything.
        machine: number of the machine that this is given to, of several that may share the folder's disk.
    """

    model_config = ConfigDict(frozen=True)

    config: TrainConfig
    inputs: dict[str, Artifact]
    folder: Path
    run_name: str
    claim: Claim | None = None
    machine: int = 0

    @property
    def checkpoint_folder(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def lora_folder(self) -> Path:
        return self.folder / "lora"

    @property
    def data_folder(self) -> Path:
        """What training reads beside its inputs, for the processes of this machine; gone when they have ended."""
        return self.folder / f"data-{self.machine}"

    def read_history(self) -> list[dict[str, float]]:
        """One row of metrics per step of the finished run."""
        return json.loads(self._history_file.read_text())

    def run(self) -> None:
        """Train in this process alone. Raises what `work` does."""
        with self.prepared():
            self.work()

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """While the block runs, the processes of this machine find their data.

        Raises:
            UserError: there is no training prompt, the disk is full, or an input is damaged.
        """
        from stages.train.data.dataset import prepared

        with prepared(self.inputs, self.data_folder):
            yield

    def work(self) -> None:
        """Train, alone or as one of several processes; the main one leaves LoRA and history in the folder.

        Raises:
            UserError: an input, a model or a setting cannot be used, the disk is full, or training goes nowhere.
            LeaseLostError: another run has taken the work over.
            TrainingStopped: after SIGTERM, once the state is saved.
        """
        from stages.train.brake.bench import load_bench
        from stages.train.brake.validation_set import choose_prompts
        from stages.train.data.dataset import TrainingData
        from stages.train.loop import train
        from stages.train.memory_plan import describe_peak, plan_memory
        from stages.train.models import load_models
        from stages.train.tracking.reporting import make_accelerator

        held = Lease(self.claim) if self.claim is not None else None
        accelerator = make_accelerator(self.config)
        training_data = TrainingData(
            self.inputs, self.data_folder, seed=self.config.seed, start_steps=self.config.sampling.start_steps
        )
        with self.inputs["adapt"].local_path("denoiser/") if "adapt" in self.inputs else nullcontext() as denoiser:
            models = load_models(self.config, accelerator.device, denoiser, sharded=self.config.hardware.shard_base)
        watched, brake = None, self.config.brake
        if brake is not None:
            prompts = choose_prompts(brake, self.inputs["prompts"], seed=self.config.seed)
            watched = (load_bench(self.config, brake, accelerator.device), prompts)
        if accelerator.is_main_process:
            judging = watched[0].networks if watched is not None else {}
            captions = training_data.longest_captions(self.config.batch_size, self.config.denoised_pairs)
            tqdm.write(str(plan_memory(self.config, models, judging, captions)), file=sys.stderr)
        state = train(
            self.config,
            models,
            training_data,
            accelerator,
            checkpoint_folder=self.checkpoint_folder,
            run_name=self.run_name,
            held=held,
            watched=watched,
        )
        state.put_in_delivered()
        if accelerator.is_main_process:
            tqdm.write(describe_peak(accelerator.device), file=sys.stderr)
            self._leave(models.online, state, held)

    def _leave(self, online: "Backbone", state: "TrainingState", held: Lease | None) -> None:
        """Write LoRA, model card and history, and what the brake says of them, into the folder."""
        from comat_core.backbones.adapters import save_lora
        from comat_core.backbones.lora.lora_metadata import describe_lora
        from stages.train.brake.card import brake_section
        from stages.train.brake.files import write_outcome, write_record
        from stages.train.brake.record import outcome_of
        from stages.train.model_card import MODEL_CARD, base_name, model_title, write_model_card
        from stages.train.models import ADAPTER_NAME

        brake, outcome, chosen = self.config.brake, None, ""
        title, base = model_title(self.config), base_name(self.config)
        metadata = describe_lora(online, ADAPTER_NAME, base=base, resolution=self.config.resolution, title=title)
        if brake is not None and state.brake is not None:
            outcome = outcome_of(state.brake, brake, steps=self.config.steps, stopped_at=state.step)
            outcome.tell()
            chosen = brake_section(brake, state.brake, outcome)
        card = write_model_card(
            self.config, adapted="adapt" in self.inputs, usage=online.lora_files.usage, chosen=chosen
        )
        if held is not None:
            held.check()
        with disk_errors_told("LoRA", self.folder, "free some space; the same command goes on from the last step"):
            save_lora(online, self.lora_folder, ADAPTER_NAME, metadata)
            (self.lora_folder / MODEL_CARD).write_text(card)
            write_whole(self._history_file, json.dumps(state.history).encode())
            if state.brake is not None and outcome is not None:
                write_record(self.folder, state.brake)
                write_outcome(self.folder, outcome)

    @property
    def _history_file(self) -> Path:
        return self.folder / "history.json"
