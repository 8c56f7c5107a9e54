"""What is trained on: prompts with their entities and reference latents, and pairs of real latents and captions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from comat_core.losses.attribute_concentration import EntityTokens
from comat_core.support.randomness import make_generator
from comat_core.training.training_inputs import CoMatBatch
from stages.entities.tables import EntityWords, read_seen_entities
from stages.latents.states import ReferenceStates
from stages.latents.tables import read_reference_latents
from stages.pairs.tables import Pair, read_pairs
from stages.prompts.tables import read_training_texts
from stages.store.artifacts import Artifact


@dataclass(frozen=True)
class TrainingPrompt:
    """One prompt with everything that belongs to it."""

    prompt_id: str
    text: str
    entities: tuple[EntityTokens, ...]
    trajectory_seed: int
    reference_latents: torch.Tensor  # (C, h, w)


class TrainingData:
    """All prompts and pairs. Which of them a micro-batch holds is derived from its number, so nothing needs saving."""

    def __init__(
        self,
        prompts: Sequence[TrainingPrompt],
        pairs: Sequence[Pair],
        *,
        seed: int,
        states: ReferenceStates | None = None,
    ) -> None:
        self.prompts = prompts
        self.pairs = pairs
        self.seed = seed
        self.states = states

    @classmethod
    def read(
        cls, inputs: Mapping[str, Artifact], *, seed: int, start_steps: Sequence[int] | None = None
    ) -> "TrainingData":
        """Join the tables of the stages prompts, entities, latents and pairs.

        Args:
            start_steps: where denoising may begin (`TrainingSampler`); 0 needs no state.

        Raises:
            UserError: there is no training prompt, or no state to begin with.
        """
        texts = {prompt.prompt_id: prompt.text for prompt in read_training_texts(inputs["prompts"], "train")}
        entities = read_seen_entities(inputs["entities"])
        prompts = [
            TrainingPrompt(
                reference.prompt_id,
                texts[reference.prompt_id],
                tuple(tokens_of(entity) for entity in entities.get(reference.prompt_id, ())),
                reference.trajectory_seed,
                reference.latents,
            )
            for reference in read_reference_latents(inputs["latents"])
        ]
        later = {step for step in start_steps or () if step}
        states = ReferenceStates.read(inputs["latents"], later) if later else None
        return cls(prompts, read_pairs(inputs["pairs"]), seed=seed, states=states)

    def batch(self, number: int, batch_size: int, pair_batch_size: int) -> CoMatBatch:
        """Make micro-batch number 0, 1, … of all processes together; each epoch runs through a new order."""
        prompts = [self.prompts[row] for row in self._rows("prompt order", len(self.prompts), number, batch_size)]
        pairs = [self.pairs[row] for row in self._rows("pair order", len(self.pairs), number, pair_batch_size)]
        return CoMatBatch(
            prompts=[prompt.text for prompt in prompts],
            trajectory_seeds=[prompt.trajectory_seed for prompt in prompts],
            entities=[prompt.entities for prompt in prompts],
            reference_latents=torch.stack([prompt.reference_latents for prompt in prompts]).float(),
            states={} if self.states is None else self.states.of([prompt.prompt_id for prompt in prompts]),
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


def tokens_of(entity: EntityWords) -> EntityTokens:
    """The entity as a training step knows it."""
    return EntityTokens(entity.noun, tuple(entity.noun_tokens), tuple(entity.attribute_tokens))
