"""A stage: a named, versioned function from (config, input artifacts) to one artifact.

Every stage module ends with its `STAGE`, a `Stage` or a `ShardedStage`, and `run = STAGE.run`; those of benchmarks have
`SCORES` and `STAGE`. No orchestrator is needed to run one:

    artifact = run(config, inputs, store)

A run that was killed goes on at the first missing shard; runs at the same time on one store do each part once.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from comat_core.support.errors import UserError
from stages.plan.config import StageConfig
from stages.plan.digests import digest_json
from stages.store.artifact_parts import ArtifactPart
from stages.store.artifact_writer import ArtifactWriter
from stages.store.artifacts import Artifact
from stages.store.locks import Lease
from stages.store.store import Store, input_records

KEY_LENGTH = 24  # hexadecimal digits: 96 bits, so two results never share a key by accident

Inputs = Mapping[str, Artifact]
ConfigT = TypeVar("ConfigT", bound=StageConfig)


@dataclass(frozen=True, kw_only=True)
class AnyStage(Generic[ConfigT]):
    """What both kinds of stage have.

    Attributes:
        name: the stage's name, and its folder in the store.
        version: raised by hand when the code changes what it writes; part of the key.
        config_type: the stage's config model.
        inputs: roles of the artifacts that it needs ("prompts", "latents").
        optional_inputs: roles that it takes when the pipeline has them.
        payload: what of its config goes into the key, for a stage that shares its config with others and needs a part
            of it; without it everything that can change a result.
        fetch: gets and checks the files that it reads, for such a stage; without it all that the config names.
        loads_models: it loads the models that its config names, and so may use a GPU.

    A role may be played by several artifacts, which are told apart by what follows a dot: "other.one", "other.two".
    """

    name: str
    version: int
    config_type: type[ConfigT]
    inputs: tuple[str, ...] = ()
    optional_inputs: tuple[str, ...] = ()
    payload: Callable[[ConfigT], dict[str, Any]] | None = None
    fetch: Callable[[ConfigT], None] | None = None
    loads_models: bool = True

    def payload_of(self, config: ConfigT) -> dict[str, Any]:
        """The part of a config that goes into the key."""
        return config.key_payload() if self.payload is None else self.payload(config)

    def fetch_files(self, config: ConfigT) -> None:
        """Get and check the published files that it reads; see `StageConfig.fetch_files`.

        Raises:
            UserError: one cannot be had, or is malformed.
        """
        if self.fetch is None:
            config.fetch_files()
        else:
            self.fetch(config)

    def key(self, config: ConfigT, input_keys: Mapping[str, str]) -> str:
        """The artifact's key: a digest of name, version, config and the inputs' keys. No path, host or time in it."""
        missing = set(self.inputs) - set(input_keys)
        unknown = {role.split(".")[0] for role in input_keys} - set(self.inputs) - set(self.optional_inputs)
        assert not missing, f"stage {self.name} lacks its inputs {sorted(missing)}"
        assert not unknown, f"stage {self.name} does not take {sorted(unknown)}"
        return digest_json([self.name, self.version, self.payload_of(config), dict(input_keys)])[:KEY_LENGTH]

    def key_for(self, config: ConfigT, inputs: Inputs) -> str:
        return self.key(config, {role: artifact.key for role, artifact in inputs.items()})

    def check_unchanged(self, config: ConfigT, inputs: Inputs, key: str) -> None:
        """Make sure that the files which the settings name are still those that a key was made from.

        Raises:
            UserError: one was changed since; what was read of it must not be kept under that key.
        """
        if self.key_for(config, inputs) != key:
            what = f"a file that the settings of {self.name} name has changed since the run began"
            raise UserError(what, f"stage {self.name}", "run again, and leave its files alone meanwhile")

    def _finished(self, config: ConfigT, inputs: Inputs, store: Store) -> Artifact | None:
        return store.usable(self.name, self.key_for(config, inputs), inputs, self.version)

    def _writer(
        self, config: ConfigT, inputs: Inputs, store: Store, held: Lease, compared_by_part: Collection[str] = ()
    ) -> ArtifactWriter:
        manifest: dict[str, Any] = {"version": self.version, "config": config.model_dump(mode="json")}
        key, records = self.key_for(config, inputs), input_records(inputs)
        return store.writer(self.name, key, manifest, records, held, compared_by_part)

    def _lease(self, config: ConfigT, inputs: Inputs, store: Store, part: str) -> AbstractContextManager[Lease]:
        return store.lease(self.name, self.key_for(config, inputs), part)


@dataclass(frozen=True, kw_only=True)
class Stage(AnyStage[ConfigT]):
    """A stage that is done in one piece.

    Attributes:
        build: `build(config, inputs, writer)` writes all files of the artifact.
        resumable: files that a killed run left behind (checkpoints) stay for the next one; otherwise it starts empty.
        progress: `progress(config, working_folder) -> share` says how much of the work is done, in [0, 1], from what
            lies in the working folder; for long stages.
    """

    build: Callable[[ConfigT, Inputs, ArtifactWriter], None]
    resumable: bool = False
    progress: Callable[[ConfigT, Path], float] | None = None

    def run(self, config: ConfigT, inputs: Inputs, store: Store) -> Artifact:
        """Return the finished artifact, building it unless the store has it."""
        key = self.key_for(config, inputs)
        with self._lease(config, inputs, store, "whole") as held:
            finished = self._finished(config, inputs, store)
            if finished is not None:
                return finished
            held.check()  # comparing checksums takes its time
            if not self.resumable:
                store.discard(self.name, key)
            try:
                writer = self._writer(config, inputs, store, held)
                self.build(config, inputs, writer)
                self.check_unchanged(config, inputs, key)
                return writer.finish()
            except BaseException:
                if not self.resumable and held.is_held():
                    store.discard(self.name, key)
                raise


@dataclass(frozen=True)
class Following:
    """An input of as many shards as the stage's own, each of which reads of it no more than the shard of its number.

    Such a shard can be built while the input's later ones are still missing.

    Attributes:
        role: the input's.
        files: `files(index)` names the files of one of its shards.
    """

    role: str
    files: Callable[[int], tuple[str, ...]]

    def part(self, whole: Artifact, index: int) -> ArtifactPart:
        """The input as one shard sees it."""
        return ArtifactPart(stage=whole.stage, key=whole.key, url=whole.url, names=self.files(index))


@dataclass(frozen=True, kw_only=True)
class ShardedStage(AnyStage[ConfigT]):
    """A stage whose artifact is made of independent shards.

    How many items a shard holds is a field of the config like any other, and so part of the key.

    Attributes:
        count_shards: `count_shards(config, inputs) -> int`.
        build_shard: `build_shard(config, inputs, writer, index)` writes the files of one shard.
        build_rest: `build_rest(config, inputs, writer)` writes what concerns the whole artifact, after all shards.
        follows: the input that it takes shard by shard, if any: `build_shard` is given an `ArtifactPart` of it, and
            a shard is built anew when that changes, whatever becomes of the others.
    """

    count_shards: Callable[[ConfigT, Inputs], int]
    build_shard: Callable[[ConfigT, Inputs, ArtifactWriter, int], None]
    build_rest: Callable[[ConfigT, Inputs, ArtifactWriter], None] | None = None
    follows: Following | None = None

    def run(self, config: ConfigT, inputs: Inputs, store: Store) -> Artifact:
        """Return the finished artifact, building the shards that the store lacks, one after the other."""
        for index in range(self.count_shards(config, inputs)):
            self.run_shard(config, inputs, store, index)
        return self.finish(config, inputs, store)

    def run_shard(self, config: ConfigT, inputs: Inputs, store: Store, index: int) -> None:
        """Build one shard unless it is there. Of an input that the stage follows, this shard has to be there."""
        key = self.key_for(config, inputs)
        with self._lease(config, inputs, store, f"shard-{index:05d}") as held:
            if self._finished(config, inputs, store) is not None:
                return
            seen = self._seen_by_shard(inputs, index)
            writer = self._writer(config, seen, store, held, self._roles_followed)
            self._complete_shard(config, seen, writer, index, key)

    def finish(self, config: ConfigT, inputs: Inputs, store: Store) -> Artifact:
        """Complete the artifact from its shards. A shard that went missing in the meantime is built here."""
        key = self.key_for(config, inputs)
        with self._lease(config, inputs, store, "whole") as held:
            finished = self._finished(config, inputs, store)
            if finished is not None:
                return finished
            writer = self._writer(config, inputs, store, held, self._roles_followed)
            for index in range(self.count_shards(config, inputs)):
                self._complete_shard(config, self._seen_by_shard(inputs, index), writer, index, key)
            if self.build_rest is not None:
                self.build_rest(config, inputs, writer)
            self.check_unchanged(config, inputs, key)
            return writer.finish()

    @property
    def _roles_followed(self) -> tuple[str, ...]:
        return () if self.follows is None else (self.follows.role,)

    def _seen_by_shard(self, inputs: Inputs, index: int) -> Inputs:
        if self.follows is None:
            return inputs
        return {**inputs, self.follows.role: self.follows.part(inputs[self.follows.role], index)}

    def _complete_shard(self, config: ConfigT, seen: Inputs, writer: ArtifactWriter, index: int, key: str) -> None:
        name = f"shard-{index:05d}"
        made_from = None if self.follows is None else seen[self.follows.role].manifest.digest
        if not writer.has_part(name, made_from):
            with writer.part(name, made_from):
                self.build_shard(config, seen, writer, index)
                self.check_unchanged(config, seen, key)
