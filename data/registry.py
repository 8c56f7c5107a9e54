"""Where each prompt set comes from: one YAML file per source in `data/sources/`, typed and checked here."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from comat_core.support.errors import UserError
from data.formats.records import read_yaml_record

SOURCE_FOLDER = Path(__file__).parent / "sources"

Checksum = Annotated[
    str | None,
    Field(
        pattern=r"^(sha256:[0-9a-f]{64}|sha1:[0-9a-f]{40}|git-blob:[0-9a-f]{40})$",
        description="algorithm and hexadecimal digest; git-blob is the id that git gives the file",
    ),
]


class PromptSet(BaseModel):
    """One list of prompts: a file, a folder of files, or a generator."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(description="referred to as source/name")]
    reader: Annotated[str, Field(description="key of data.readers.READERS")] = "lines"
    path: Annotated[str | None, Field(description="file below the source's folder; none for generated prompts")] = None
    url: Annotated[str | None, Field(description="where to download; default: the source's base_url + path")] = None
    checksum: Checksum = None
    listing: Annotated[str | None, Field(description="file in data/sources/ with a checksum and a path per line")] = (
        None
    )
    size: Annotated[int | None, Field(ge=0, description="bytes")] = None
    prompts: Annotated[int | None, Field(ge=0, description="how many prompts it holds")] = None
    skill: Annotated[str | None, Field(description="what the prompts test; none: as the reader says")] = None
    options: Annotated[dict[str, Any], Field(description="arguments of the reader")] = {}
    note: Annotated[str | None, Field(description="quirks of the file")] = None


class Source(BaseModel):
    """A publisher's prompt sets with everything that provenance asks for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    homepage: str
    citation: str
    licence: Annotated[str | None, Field(description="None: the publisher states none; the user decides and downloads")]
    licence_note: str | None = None
    revision: Annotated[str | None, Field(description="commit of the upstream repository")] = None
    base_url: Annotated[str, Field(description="prefix of the files' URLs; empty for generated prompts")] = ""
    used_by_paper: Annotated[str | None, Field(description="which part the paper trains or tests on")] = None
    sets: tuple[PromptSet, ...]


@lru_cache
def load_sources() -> dict[str, Source]:
    """Read every source of the registry, by name."""
    sources = (load_source(path) for path in sorted(SOURCE_FOLDER.glob("*.yaml")))
    return {source.name: source for source in sources}


def load_source(path: Path) -> Source:
    """Read one source's YAML file.

    Raises:
        UserError: it is malformed.
    """
    return read_yaml_record(Source, path, "source of prompts", name=path.stem)


def select_sets(pattern: str) -> list[tuple[Source, PromptSet]]:
    """Find the sets that a pattern "source/name" means; `*` and `?` stand for any characters and any one.

    Raises:
        UserError: no set matches.
    """
    found = [pair for pair in all_sets() if fnmatchcase(f"{pair[0].name}/{pair[1].name}", pattern)]
    if not found:
        source = pattern.partition("/")[0]
        names = [f"{s.name}/{p.name}" for s, p in all_sets() if s.name == source] or sorted(load_sources())
        raise UserError(f"no prompt set matches {pattern!r}", "the source registry", f"choose from: {', '.join(names)}")
    return found


def all_sets() -> Iterator[tuple[Source, PromptSet]]:
    """Every prompt set of the registry with its source."""
    for source in load_sources().values():
        for prompt_set in source.sets:
            yield source, prompt_set


def listed_checksums(prompt_set: PromptSet) -> list[tuple[str, str]]:
    """The (path, checksum) pairs of a set that consists of many files, in their order; of others, none."""
    if prompt_set.listing is None:
        return []
    lines = (SOURCE_FOLDER / prompt_set.listing).read_text(encoding="utf-8").splitlines()
    return [(path, f"sha256:{digest}") for digest, path in (line.split(maxsplit=1) for line in lines)]
