"""The four input artifacts of the train stage, tiny, and a config that runs in seconds."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from comat_core.support.randomness import make_generator
from stages.plan.config import StageConfig
from stages.plan.stage import Inputs, Stage
from stages.store.artifact_writer import ArtifactWriter
from stages.store.artifacts import Artifact
from stages.store.store import Store
from stages.train import TrainConfig
from tests.tiny_captioners import save_tiny_blip
from tests.tiny_families import TINY_FAMILIES
from tests.tiny_models import IMAGE_SIDE, LATENT_CHANNELS, LATENT_SIDE
from tests.tiny_segmenters import save_tiny_clipseg

PROMPTS = (
    "a red circle and a blue square",
    "a green star above a white heart",
    "a black circle and a red star",
    "a white square and a green heart",
)
PAIRS = 3


@pytest.fixture(scope="session")
def captioner_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_blip(tmp_path_factory.mktemp("models") / "captioner")


@pytest.fixture(scope="session")
def segmenter_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_clipseg(tmp_path_factory.mktemp("models") / "segmenter")


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """Artifacts as the stages before training write them."""
    return make_inputs(tmp_path_factory.mktemp("inputs"), (LATENT_CHANNELS, LATENT_SIDE, LATENT_SIDE))


def make_inputs(
    folder: Path, latent_shape: tuple[int, int, int], *, without_entities: Collection[int] = ()
) -> dict[str, Artifact]:
    """Write artifacts as the stages before training do.

    Args:
        latent_shape: (C, h, w) of the base model.
        without_entities: numbers of prompts of which none was kept.
    """
    store = Store(str(folder))
    builders = {
        "prompts": _prompts,
        "entities": lambda writer: _entities(writer, without_entities),
        "latents": lambda writer: _latents(writer, latent_shape),
        "pairs": lambda writer: _pairs(writer, latent_shape),
    }
    return {name: _fake_stage(name, builder).run(StageConfig(), {}, store) for name, builder in builders.items()}


@pytest.fixture(scope="session")
def family_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Tiny checkpoints by the name of their family, each made once."""
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = TINY_FAMILIES[family].save(tmp_path_factory.mktemp("families") / family)
        return made[family]

    return folder


@pytest.fixture
def config_of(
    make_config: Callable[..., TrainConfig], family_folder: Callable[[str], Path]
) -> Callable[..., TrainConfig]:
    """As `make_config`, of the base of a family, with one of its schedulers."""

    def make(family: str, **changes: Any) -> TrainConfig:
        sampling = {"scheduler": TINY_FAMILIES[family].scheduler} | changes.pop("sampling", {})
        return make_config(base={"path": str(family_folder(family))}, sampling=sampling, **changes)

    return make


@pytest.fixture
def make_config(
    tiny_sd_folder: Path, captioner_folder: str, segmenter_folder: str, tmp_path: Path
) -> Callable[..., TrainConfig]:
    """A config of three quick steps; keyword arguments replace its values, dictionaries those of a group."""

    def make(**changes: Any) -> TrainConfig:
        values: dict[str, Any] = {
            "seed": 5,
            "resolution": IMAGE_SIDE,
            "base": {"path": str(tiny_sd_folder)},
            "captioner": {"path": str(captioner_folder)},
            "segmenter": {"path": str(segmenter_folder)},
            "steps": 3,
            "batch_size": 2,
            "pair_batch_size": 1,
            "precision": "fp32",
            "device": "cpu",
            "online": {"rank": 2, "learning_rate": 1e-3},
            "discriminator": {"network": {"kind": "denoiser", "rank": 2}, "learning_rate": 1e-3},
            "sampling": {"num_inference_steps": 4, "gradient_steps": 2, "attention_steps": 1},
            "tracking": {"folder": str(tmp_path / "logs"), "images_every": 2, "validation_every": 2},
        }
        for name, change in changes.items():
            values[name] = {**values.get(name, {}), **change} if isinstance(change, dict) else change
        return TrainConfig.model_validate(values)

    return make


def _fake_stage(name: str, builder: Callable[[ArtifactWriter], None]) -> Stage[StageConfig]:
    def build(config: StageConfig, inputs: Inputs, writer: ArtifactWriter) -> None:  # noqa: ARG001
        builder(writer)

    return Stage(name=name, version=1, config_type=StageConfig, build=build)


def _prompts(writer: ArtifactWriter) -> None:
    rows = [
        {"prompt_id": f"p{k}", "text": text, "source": "test", "skill": "colour", "split": "train"}
        for k, text in enumerate(PROMPTS)
    ]
    rows.append({"prompt_id": "held-out", "text": "a cross", "source": "test", "skill": "colour", "split": "test"})
    writer.write_table("prompts.parquet", pa.Table.from_pylist(rows))


def _entities(writer: ArtifactWriter, without: Collection[int]) -> None:
    rows = []
    for number, text in enumerate(PROMPTS):
        words = text.split()
        for index, (attribute, noun) in enumerate(((1, 2), (len(words) - 2, len(words) - 1))):
            rows.append(
                {
                    "prompt_id": f"p{number}",
                    "entity_index": index,
                    "noun": words[noun],
                    "attributes": [words[attribute]],
                    "noun_tokens": [noun + 1],
                    "attribute_tokens": [attribute + 1],
                    "kept": number not in without and (index == 0 or number != 1),
                    "removed_because": None,
                }
            )
    writer.write_table("entities.parquet", pa.Table.from_pylist(rows))


def _latents(writer: ArtifactWriter, shape: tuple[int, int, int]) -> None:
    _write_latents(writer, len(PROMPTS), shape)
    rows = [
        {"prompt_id": f"p{row}", "trajectory_seed": 100 + row, "shard": "latents/00000.safetensors", "row": row}
        for row in range(len(PROMPTS))
    ]
    writer.write_table("index.parquet", pa.Table.from_pylist(rows))


def _pairs(writer: ArtifactWriter, shape: tuple[int, int, int]) -> None:
    _write_latents(writer, PAIRS, shape)
    rows = [
        {"pair_id": f"g{row}", "caption": PROMPTS[row], "shard": "latents/00000.safetensors", "row": row}
        for row in range(PAIRS)
    ]
    writer.write_table("index.parquet", pa.Table.from_pylist(rows))


def _write_latents(writer: ArtifactWriter, count: int, shape: tuple[int, int, int]) -> None:
    latents = torch.randn((count, *shape), generator=make_generator(0, "test latents", count))
    writer.write_tensors("latents/00000.safetensors", {"latents": latents})
