"""What is trained on: prompts with their entities and reference latents, and pairs of real latents and captions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from comat_core.losses.attribute_concentration import EntityTokens
from comat_core.support.errors import UserError
from comat_core.support.randomness import make_generator
from comat_core.training_inputs import CoMatBatch
from stages.store.artifacts import Artifact


@dataclass(frozen=True)
class TrainingPrompt:
    """One prompt with everything that belongs to it."""

    prompt_id: str
    text: str
    entities: tuple[EntityTokens, ...]
    trajectory_seed: int
    reference_latents: torch.Tensor  # (C, h, w)


@dataclass(frozen=True)
class Pair:
    """One real image, as latents of shape (C, h, w), with its caption."""

    pair_id: str
    caption: str
    latents: torch.Tensor


class TrainingData:
    """All prompts and pairs. Which of them a micro-batch holds is derived from its number, so nothing needs saving."""

    def __init__(self, prompts: Sequence[TrainingPrompt], pairs: Sequence[Pair], *, seed: int) -> None:
        self.prompts = prompts
        self.pairs = pairs
        self.seed = seed

    @classmethod
    def read(cls, inputs: Mapping[str, Artifact], *, seed: int) -> "TrainingData":
        """Join the tables of the stages prompts, entities, latents and pairs.

        Raises:
            UserError: there is no training prompt.
        """
        texts = {
            row["prompt_id"]: row["text"]
            for row in inputs["prompts"].read_table("prompts.parquet").to_pylist()
            if row["split"] == "train"
        }
        entities = _read_entities(inputs["entities"])
        latents = _read_latents(inputs["latents"])
        index = inputs["latents"].read_table("index.parquet").to_pylist()
        prompts = [
            TrainingPrompt(
                row["prompt_id"],
                texts[row["prompt_id"]],
                entities.get(row["prompt_id"], ()),
                row["trajectory_seed"],
                latents[row["shard"]][row["row"]],
            )
            for row in index
        ]
        pairs = _read_pairs(inputs["pairs"])
        if not prompts:
            raise UserError("there is no training prompt", "train", "check the settings of the prompts stage")
        return cls(prompts, pairs, seed=seed)

    def batch(self, number: int, batch_size: int, pair_batch_size: int) -> CoMatBatch:
        """Make micro-batch number 0, 1, … of all processes together; each epoch runs through a new order."""
        prompts = [self.prompts[row] for row in self._rows("prompt order", len(self.prompts), number, batch_size)]
        pairs = [self.pairs[row] for row in self._rows("pair order", len(self.pairs), number, pair_batch_size)]
        return CoMatBatch(
            prompts=[prompt.text for prompt in prompts],
            trajectory_seeds=[prompt.trajectory_seed for prompt in prompts],
            entities=[prompt.entities for prompt in prompts],
            reference_latents=torch.stack([prompt.reference_latents for prompt in prompts]).float(),
            pair_ids=[pair.pair_id for pair in pairs],
            pair_captions=[pair.caption for pair in pairs],
            pair_latents=torch.stack([pair.latents for pair in pairs]).float() if pairs else None,
        )

    def _rows(self, purpose: str, total: int, number: int, size: int) -> list[int]:
        positions = range(number * size, (number + 1) * size)
        orders: dict[int, list[int]] = {}
        for epoch in {position // total for position in positions} if size else ():
            generator = make_generator(self.seed, purpose, epoch)
            orders[epoch] = torch.randperm(total, generator=generator).tolist()
        return [orders[position // total][position % total] for position in positions]


def _read_entities(artifact: Artifact) -> dict[str, tuple[EntityTokens, ...]]:
    """Entities by prompt that were kept and whose noun the text encoder sees."""
    found: dict[str, tuple[EntityTokens, ...]] = {}
    for row in artifact.read_table("entities.parquet").to_pylist():
        if row["kept"] and row["noun_tokens"]:
            entity = EntityTokens(row["noun"], tuple(row["noun_tokens"]), tuple(row["attribute_tokens"]))
            found[row["prompt_id"]] = (*found.get(row["prompt_id"], ()), entity)
    return found


def _read_latents(artifact: Artifact) -> dict[str, torch.Tensor]:
    return {name: artifact.read_tensors(name)["latents"] for name in artifact.files("latents/")}


def _read_pairs(artifact: Artifact) -> list[Pair]:
    latents = _read_latents(artifact)
    rows = artifact.read_table("index.parquet").to_pylist()
    return [Pair(row["pair_id"], row["caption"], latents[row["shard"]][row["row"]]) for row in rows]
