"""Settings of the search for words. No model library is imported here: planning reads it too."""

from typing import Annotated

from pydantic import Field

from comat_core.settings import SAME_RESULT, Settings


class SearchSettings(Settings):
    """How words are searched. ATM's own numbers, where they differ, are in docs/attack.md."""

    added_tokens: Annotated[int, Field(ge=1, le=64, description="words of one token each, put after the prompt")] = 5
    iterations: Annotated[int, Field(ge=1, le=10_000, description="steps of Adam")] = 30
    learning_rate: Annotated[float, Field(gt=0, le=100, description="of Adam, on the logits of the words")] = 0.3
    temperature: Annotated[float, Field(gt=0, le=100, description="of the Gumbel-softmax")] = 1.0
    kappa: Annotated[float, Field(ge=0, le=1000, description="margin of the classifier's logits that is enough")] = 30.0
    similarity_weight: Annotated[
        float, Field(ge=0, le=1000, description="of 1 less the cosine to the prompt's own text embedding")
    ] = 4.0
    gradient_steps: Annotated[
        int, Field(ge=1, le=1000, description="K, denoising steps with a gradient, drawn in every iteration")
    ] = 2
    detach_denoiser_input: Annotated[
        bool, Field(description="false lets the gradient pass through the denoiser to earlier steps")
    ] = True
    checkpoint_denoiser: Annotated[
        bool, SAME_RESULT, Field(description="recompute gradient steps and decoder in the backward pass")
    ] = False
