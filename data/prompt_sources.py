"""Prompts from the registry, from generators and from the user's own files, all as one stream."""

from collections.abc import Callable, Iterator
from pathlib import Path

from comat_core.support.errors import UserError
from comat_core.support.randomness import make_generator
from data.downloading.downloads import DEFAULT_CACHE, fetch
from data.miniature_world.pairs import fidelity_prompts
from data.miniature_world.prompts import (
    held_out_prompts,
    same_noun_held_out_prompts,
    same_noun_training_prompts,
    training_prompts,
)
from data.readers import READERS, USER_FORMATS, Prompt
from data.registry import PromptSet, Source

Generator = Callable[[int, int], list[tuple[str, str]]]
"""(seed, count) -> (text, skill) pairs."""

GENERATORS: dict[str, Generator] = {
    "miniature training": training_prompts,
    "miniature held-out": held_out_prompts,
    "miniature same nouns": same_noun_training_prompts,
    "miniature same nouns held-out": same_noun_held_out_prompts,
    "miniature fidelity": fidelity_prompts,
}


def read_prompt_set(
    source: Source,
    prompt_set: PromptSet,
    *,
    seed: int,
    count: int | None = None,
    local_folder: str | None = None,
    cache: Path = DEFAULT_CACHE,
) -> Iterator[Prompt]:
    """Yield (text, skill) of every prompt of a registered set, or of `count` drawn by the seed, in the set's order.

    Raises:
        UserError: a file cannot be had or fails its checksum, or the set is smaller than `count`.
    """
    name = f"{source.name}/{prompt_set.name}"
    if prompt_set.reader in GENERATORS:
        if count is None:
            raise UserError(f"prompt set {name} is generated without end", "prompts", "give its selection a count")
        yield from GENERATORS[prompt_set.reader](seed, count)
        return
    files = fetch(source, prompt_set, local_folder, cache)

    def read_all() -> Iterator[Prompt]:
        for file in files:
            for text, skill in READERS[prompt_set.reader](file, **prompt_set.options):
                yield text, skill or prompt_set.skill

    yield from read_all() if count is None else draw(read_all, count, seed, name)


def read_user_file(
    path: Path, *, seed: int, column: str | None = None, skill: str = "user", count: int | None = None
) -> Iterator[Prompt]:
    """Yield the prompts of a user's txt, csv, jsonl or Parquet file, streaming.

    Args:
        column: the field that holds the prompt, "prompt" by default; text files have none.

    Raises:
        UserError: the file is missing, of no known format, empty, undecodable or malformed.
    """
    reader = USER_FORMATS.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"unknown format {path.suffix!r}", str(path), f"use one of {', '.join(USER_FORMATS)}")
    if column and reader == "lines":
        raise UserError("a text file has no columns", str(path), "leave `column` out; each line is a prompt")
    options = {"column": column} if column else {}

    def read_all() -> Iterator[Prompt]:
        for text, own_skill in READERS[reader](path, **options):
            yield text, own_skill or skill

    empty = True
    for prompt in read_all() if count is None else draw(read_all, count, seed, str(path)):
        empty = False
        yield prompt
    if empty:
        raise UserError("the prompt file holds no prompts", str(path), "write one prompt per line or row")


def draw(read_all: Callable[[], Iterator[Prompt]], count: int, seed: int, name: str) -> Iterator[Prompt]:
    """Yield `count` prompts drawn without replacement, in their order. Reads twice and holds none.

    Raises:
        UserError: there are fewer.
    """
    total = sum(1 for _ in read_all())
    if count > total:
        raise UserError(f"{count} prompts wanted of {name}, which has {total}", "prompts", "lower the count")
    import torch

    chosen = torch.zeros(total, dtype=torch.bool)
    chosen[torch.randperm(total, generator=make_generator(seed, "draw prompts", name))[:count]] = True
    for prompt, take in zip(read_all(), chosen.tolist(), strict=True):
        if take:
            yield prompt
