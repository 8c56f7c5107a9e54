"""The precisions of frozen models by the names that presets use, and weights that have one from the start."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@contextmanager
def made_in(dtype: torch.dtype) -> Iterator[None]:
    """Within the context weights are made in a precision; in float32 first they would take more memory."""
    found = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(found)
