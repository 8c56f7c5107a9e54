"""Settings of the train stage. Defaults are the paper's for Stable Diffusion 1.5 (Table 8)."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from comat_core.backbones.quantisation import Quantisation
from comat_core.files.paths import user_path
from comat_core.language.parser_identity import parser_identity
from comat_core.rewards.names import CONCEPT_ACTIVATION, reward_role
from comat_core.settings import Precision, Sampler, Settings
from comat_core.training.step_settings import AdversarySettings, StepSettings
from stages.models.captioners import AnyCaptioner, Blip
from stages.models.devices import AUTO
from stages.models.discriminators import AnyDiscriminator, Denoiser
from stages.models.model_references import Checkpoint, Vae, spacy_pipelines
from stages.models.rewards import AnyReward
from stages.models.segmenters import AnySegmenter, ClipSeg
from stages.plan.config import NOT_IN_KEY, NOT_IN_KEY_IF_EMPTY, ModelReference, StageConfig
from stages.sampling import SamplingConfig, check_quantisation
from stages.store.local_disk import check_folder
from stages.train.brake.settings import BrakeSettings
from stages.train.brake.validation_set import count_candidates
from stages.train.hardware import HardwareSettings, check_sharding

if TYPE_CHECKING:
    from stages.store.artifacts import Artifact

Betas = Annotated[
    tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]], Field(description="AdamW's betas")
]
ClipNorm = Annotated[float, Field(gt=0, description="largest norm of the whole gradient")]


class LearnerSettings(Settings):
    """What moves a set of parameters."""

    learning_rate: Annotated[float, Field(gt=0, le=1, description="learning rate, the highest of the schedule")] = 5e-5
    schedule: Annotated[
        Literal["constant", "linear", "cosine"],
        Field(description="of the learning rate after the warm-up; others end at 0"),
    ] = "constant"
    warmup_steps: Annotated[int, Field(ge=0, description="optimiser steps in which the learning rate rises from 0")] = 0
    betas: Betas = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0, description="AdamW's weight decay")] = 0.01
    gradient_clip: ClipNorm = 0.1


class OnlineSettings(LearnerSettings):
    """The online model's LoRA and its optimiser."""

    rank: Annotated[int, Field(ge=1, le=1024, description="rank of the LoRA")] = 128
    target_modules: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...] | None,
        NOT_IN_KEY_IF_EMPTY,
        Field(min_length=1, description="ends of the adapted layers' names, as attn2.to_q; none: the family's choice"),
    ] = None
    average_decay: Annotated[
        float | None,
        NOT_IN_KEY_IF_EMPTY,
        Field(gt=0, lt=1, description="keep a moving average of the LoRA, and deliver it; none keeps none"),
    ] = None


class DiscriminatorSettings(LearnerSettings, AdversarySettings):
    """The discriminator and its optimiser."""

    network: Annotated[AnyDiscriminator, Field(description="what it is made of")] = Denoiser()
    betas: Betas = (0.0, 0.999)
    gradient_clip: ClipNorm = 1.0


class CheckpointSettings(Settings):
    """When state is saved; no part of the result."""

    every: Annotated[int, Field(ge=1, description="steps between two checkpoints")] = 100
    keep: Annotated[int, Field(ge=1, le=100, description="how many of the last checkpoints stay")] = 2


class TrackingSettings(Settings):
    """What is logged while training; no part of the result."""

    folder: Annotated[str, Field(description="local folder of TensorBoard's logs, one folder per run below it")] = (
        "tensorboard"
    )
    trackers: Annotated[
        tuple[str, ...], Field(description="further trackers that accelerate knows (wandb, mlflow, ...)")
    ] = ()
    images_every: Annotated[int, Field(ge=0, description="steps between two pictures of the batch; 0 for none")] = 50
    validation_every: Annotated[
        int, Field(ge=0, description="steps between two drawings of the validation prompts; 0 for none")
    ] = 100
    validation_prompts: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...],
        Field(max_length=64, description="prompts drawn from the same noise each time; some training prompts if none"),
    ] = ()

    @property
    def logs(self) -> Path:
        """The folder, with a ~ resolved."""
        return user_path(self.folder)

    def check_folder(self) -> None:
        """Make sure that the logs can be written.

        Raises:
            UserError: they cannot.
        """
        check_folder("training's logs", self.logs, "choose another train.tracking.folder")


class TrainConfig(StepSettings, StageConfig):
    """Fine-tune the base model's LoRA with the CoMat losses. What a single step does are the kernel's own settings."""

    seed: Annotated[int, Field(ge=0, description="of the run")]
    base: Annotated[Checkpoint, Field(description="the text-to-image checkpoint")]
    vae: Vae = None
    captioner: Annotated[ModelReference | None, Field(description="the image-to-text checkpoint")] = None
    segmenter: Annotated[
        ModelReference | None, Field(description="CLIPSeg's, GroundingDINO's or SAM 3's checkpoint")
    ] = None

    steps: Annotated[int, Field(ge=1, description="optimiser steps")] = 2000
    batch_size: Annotated[int, Field(ge=1, description="prompts of one process in one micro-batch")] = 4
    pair_batch_size: Annotated[int, Field(ge=0, description="real images beside them")] = 2
    gradient_accumulation: Annotated[int, Field(ge=1, description="micro-batches per optimiser step")] = 1
    processes: Annotated[
        int, Field(ge=1, description="processes, one per GPU, that share the work; on one machine, or `train-node`'s")
    ] = 1
    precision: Annotated[Precision, Field(description="of the frozen models and autocast; LoRA stays fp32")] = "fp16"
    base_quantisation: Annotated[
        Quantisation | None,
        NOT_IN_KEY_IF_EMPTY,
        Field(description="keep the base's largest networks in fewer bits, beside a LoRA of full precision"),
    ] = None
    optimizer: Annotated[
        Literal["adamw", "adamw_8bit", "adamw_8bit_if_installed"],
        Field(description="AdamW, its state in 32 bits or, by bitsandbytes, in 8"),
    ] = "adamw"
    nonfinite_limit: Annotated[
        int, Field(ge=1, description="steps in a row with a non-finite loss or gradient after which training stops")
    ] = 10

    online: OnlineSettings = OnlineSettings()
    discriminator: DiscriminatorSettings = DiscriminatorSettings()
    captioning: Annotated[AnyCaptioner, Field(description="what the captioner is")] = Blip()
    rewards: Annotated[
        dict[Annotated[str, Field(pattern=r"^\w+$")], AnyReward],
        NOT_IN_KEY_IF_EMPTY,
        Field(default_factory=dict, description="name -> what is rewarded beside concept activation"),
    ]
    conflicting_rewards: Annotated[
        Literal["project"] | None,
        NOT_IN_KEY_IF_EMPTY,
        Field(description="project gradients of rewards that oppose each other (PCGrad); none: add them as they are"),
    ] = None
    segmentation: Annotated[AnySegmenter, Field(description="what the segmenter is")] = ClipSeg()
    brake: Annotated[
        BrakeSettings | None,
        NOT_IN_KEY_IF_EMPTY,
        Field(description="judges that choose which step is delivered, and may end training; none: the last step is"),
    ] = None
    device: Annotated[str, NOT_IN_KEY, Field(description="torch device; auto takes a GPU when there is one")] = AUTO
    hardware: Annotated[HardwareSettings, NOT_IN_KEY] = HardwareSettings()
    checkpoints: Annotated[CheckpointSettings, NOT_IN_KEY] = CheckpointSettings()
    tracking: Annotated[TrackingSettings, NOT_IN_KEY] = TrackingSettings()

    @property
    def denoised_pairs(self) -> int:
        """Real images that one process denoises in one micro-batch."""
        is_rewarded = self.weights.concept_activation or self.rewards
        return self.pair_batch_size if self.mixed_latents and is_rewarded else 0

    @property
    def needs_captioner(self) -> bool:
        """Whether concept activation or another reward asks the captioner."""
        return self.weights.concept_activation != 0 or any(one.needs_captioner for one in self.rewards.values())

    @property
    def rewarded(self) -> list[str]:
        """The losses that are rewards: concept activation, if it is on, and the roles of the others."""
        first = [CONCEPT_ACTIVATION] if self.weights.concept_activation else []
        return first + sorted(map(reward_role, self.rewards))

    @property
    def yardsticks(self) -> dict[str, str]:
        """Loss -> the loss whose gradient's size its own is brought to."""
        return {
            reward_role(name): named if named == CONCEPT_ACTIVATION else reward_role(named)
            for name, one in self.rewards.items()
            if (named := one.as_strong_as) is not None
        }

    @property
    def weighed_by_failures(self) -> list[str]:
        """Roles of the rewards whose parts weigh by how often they fail now."""
        return [reward_role(name) for name, one in self.rewards.items() if one.weighs_failures]

    def key_payload(self) -> dict[str, Any]:
        """The settings; and how rewards and judges read prompts, which the pipelines' names alone do not say."""
        pipelines = {
            name for setting in ("rewards", "brake") for _, name in spacy_pipelines(getattr(self, setting), setting)
        }
        parsers = {name: parser_identity(name) for name in sorted(pipelines)}
        real = self.brake.identity_of_real if self.brake is not None else []
        return super().key_payload() | ({"parsers": parsers} if parsers else {}) | ({"real": real} if real else {})

    def fetch_files(self) -> None:
        """Make sure of what is needed only after all stages before it: logs' folder, packages, the brake's files."""
        self.tracking.check_folder()
        self.check_packages()
        if self.brake is not None:
            self.brake.fetch_files()

    def check_prompts(self, prompts: "Artifact") -> None:
        """Make sure that there are prompts to judge by."""
        if self.brake is not None:
            count_candidates(self.brake, prompts)

    def check_packages(self) -> None:
        """Make sure that this machine can do what not every installation can.

        Raises:
            UserError: a package is missing, or does not do it on this device or in this precision.
        """
        check_quantisation(self.base_quantisation, self.precision, self.device)
        if self.hardware.shard_base:
            from comat_core.backbones.sharding import check_versions

            check_versions("train.hardware.shard_base")
        for name, reward in self.rewards.items():
            reward.check_packages(f"train.rewards.{name}")
        if self.optimizer == "adamw_8bit":
            from stages.train.learning.optimizers import check_installed

            check_installed(self.optimizer)

    def check_beside(self, sections: Mapping[str, StageConfig]) -> None:
        """The discriminator would tell a difference in sampling instead of one between the models.

        Nor can training start where nothing is kept.
        """
        latents = sections.get("latents")
        if not isinstance(latents, SamplingConfig):
            return
        for name in Sampler.model_fields:
            ours, theirs = getattr(self.sampling, name), getattr(latents.sampling, name)
            if ours != theirs:
                raise ValueError(f"train.sampling.{name} = {ours} differs from latents.sampling.{name} = {theirs}")
        kept = {0, *(getattr(latents, "kept_steps", None) or ())}
        missing = sorted(set(self.sampling.start_steps or ()) - kept)
        if missing:
            raise ValueError(f"train.sampling.start_steps has {missing[0]}, which latents.kept_steps has not")

    @field_validator("rewards")
    @classmethod
    def _rewards_weigh_something(cls, rewards: dict[str, Any]) -> dict[str, Any]:
        """A weight of 0 switches a reward off, and what it costs with it."""
        return {name: reward for name, reward in rewards.items() if reward.weight}

    @model_validator(mode="after")
    def _something_is_learned(self) -> "TrainConfig":
        if self.weights.all_off and not self.rewards:
            raise ValueError("one weight at least must be above 0")
        return self

    @model_validator(mode="after")
    def _rewards_fit_each_other(self) -> "TrainConfig":
        for role, yardstick in self.yardsticks.items():
            if yardstick not in self.rewarded or yardstick in self.yardsticks:
                what = "is brought to another's size itself" if yardstick in self.yardsticks else "is off"
                raise ValueError(f"{role.replace('/', 's.')}.as_strong_as names {yardstick}, which {what}")
        if self.conflicting_rewards is not None and len(self.rewarded) < 2:
            raise ValueError("conflicting_rewards needs two rewards at least; concept activation is one")
        return self

    @model_validator(mode="after")
    def _models_fit_the_weights(self) -> "TrainConfig":
        if self.needs_captioner and self.captioner is None:
            asking = next((name for name, one in self.rewards.items() if one.needs_captioner), None)
            what = "concept activation" if self.weights.concept_activation else f"rewards.{asking}"
            raise ValueError(f"{what} needs models.captioner")
        if self.weights.attribute_concentration and self.segmenter is None:
            raise ValueError("attribute concentration needs models.segmenter")
        return self

    @model_validator(mode="after")
    def _real_images_are_there(self) -> "TrainConfig":
        if self.weights.fidelity and self.discriminator.real == "real" and not self.pair_batch_size:
            raise ValueError("discriminator.real = real needs a pair_batch_size of 1 or more")
        return self

    @model_validator(mode="after")
    def _something_is_steered(self) -> "TrainConfig":
        if self.brake is not None and self.brake.steering is not None and not self.weights.fidelity:
            raise ValueError("brake.steering multiplies weights.fidelity, which must be above 0")
        return self

    @model_validator(mode="after")
    def _base_can_be_sharded(self) -> "TrainConfig":
        check_sharding(self)
        return self
