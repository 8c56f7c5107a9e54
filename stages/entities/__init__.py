"""Stage entities: which objects each prompt names, with which attributes, at which tokens of the text encoder.

Writes `entities.parquet`, one row per noun, removed ones included, in the order of the prompts:

    prompt_id, noun, attributes, noun_span, attribute_spans      as the prompt spells them, spans in characters
    noun_tokens, attribute_tokens                                positions on the text axis of the attention maps
    kept, removed_because                                        whether attribute concentration uses it, or why not

and `summary.json` and `summary.md`: how many nouns and attributes there are, what was removed and why.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pyarrow as pa
from pydantic import Field

from comat_core.language.parser_identity import parser_identity
from data.noun_filter import load_noun_filter
from stages.entities.entity_statistics import EntityStatistics, as_markdown
from stages.entities.tables import ENTITIES, ENTITIES_SCHEMA, AlignedEntity
from stages.models.model_references import DEFAULT_PARSER, Checkpoint, SpacyPipeline
from stages.plan.config import NOT_IN_KEY, NOT_IN_KEY_IF_EMPTY, ModelReference, StageConfig
from stages.plan.stage import Inputs, Stage
from stages.progress import progress_bar
from stages.prompts.tables import count_prompts, stream_texts
from stages.store.artifact_writer import ArtifactWriter
from stages.store.artifacts import Artifact
from stages.store.streamed_tables import in_batches, write_streamed_table

if TYPE_CHECKING:
    from comat_core.backbones.text.text_layout import TextLayout
    from comat_core.language.entities import Entity
    from comat_core.language.token_alignment import AlignedSpan

PROMPTS_PER_BATCH = 256
BATCHES_PER_GROUP = 16


class EntitiesConfig(StageConfig):
    """How prompts are parsed and which nouns become entities."""

    base: Annotated[Checkpoint, Field(description="diffusion model whose tokenizers count the tokens")]
    parser: Annotated[SpacyPipeline, Field(description="installed spaCy pipeline, such as en_core_web_trf")] = (
        DEFAULT_PARSER
    )
    noun_filter: Annotated[
        ModelReference | None, Field(description="YAML file with word lists of your own; default: the shipped one")
    ] = None
    same_nouns: Annotated[
        Literal["keep"] | None,
        NOT_IN_KEY_IF_EMPTY,
        Field(description="keep: objects of one name are an entity each; none: they are removed, as in the paper"),
    ] = None
    batch_size: Annotated[int, NOT_IN_KEY, Field(ge=1, le=100_000, description="prompts per parser batch")] = 256
    processes: Annotated[int, NOT_IN_KEY, Field(ge=1, le=256, description="worker processes of the parser")] = 1

    @property
    def keep_same_nouns(self) -> bool:
        """Whether a noun that is named several times stays."""
        return self.same_nouns == "keep"

    def key_payload(self) -> dict[str, Any]:
        return {**super().key_payload(), "parser": parser_identity(self.parser)}


def build(config: EntitiesConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Parse, align and write the prompts a group at a time, then what was found."""
    statistics = EntityStatistics()
    batches = _tables(config, inputs["prompts"], statistics)
    row_groups = (pa.concat_tables(group).combine_chunks() for group in in_batches(batches, BATCHES_PER_GROUP))
    write_streamed_table(writer, ENTITIES, ENTITIES_SCHEMA, row_groups)
    summary = statistics.summary()
    writer.write_json("summary.json", summary)
    writer.write_bytes("summary.md", as_markdown(summary).encode())


def _tables(config: EntitiesConfig, prompts: Artifact, statistics: EntityStatistics) -> Iterator[pa.Table]:
    """The rows of a few prompts at a time: few objects live at once, which the garbage collector rewards."""
    layout = load_layout(config.base)
    for batch in in_batches(_parsed_prompts(config, prompts), PROMPTS_PER_BATCH):
        rows = []
        found = find_tokens(layout, [text for _, text, _ in batch], [entities for _, _, entities in batch])
        for (prompt_id, _, _), seen in zip(batch, found, strict=True):
            statistics.add([entity for entity, _ in seen])
            rows += [{"prompt_id": prompt_id, **vars(aligned)} for _, aligned in seen]
        yield pa.Table.from_pylist(rows, schema=ENTITIES_SCHEMA)


def find_tokens(
    layout: "TextLayout", texts: Sequence[str], entities: "Sequence[Sequence[Entity]]"
) -> "Iterator[list[tuple[Entity, AlignedEntity]]]":
    """Every prompt's entities as the text encoders see them, each with its columns of the table but the prompt's id."""
    spans = [
        [span for entity in of_prompt for span in (entity.noun_span, *entity.attribute_spans)] for of_prompt in entities
    ]
    aligned_spans = layout.align_prompts(texts, spans)
    for of_prompt, aligned in zip(entities, aligned_spans, strict=True):
        tokens = iter(aligned)
        yield [_with_tokens(entity, next(tokens), [*islice(tokens, len(entity.attributes))]) for entity in of_prompt]


def _parsed_prompts(config: EntitiesConfig, prompts: Artifact) -> "Iterator[tuple[str, str, list[Entity]]]":
    """(prompt_id, text, entities) of every prompt, in order."""
    from comat_core.language.entities import parse_entities
    from comat_core.language.entity_processes import parse_entities_in_processes
    from comat_core.language.parsers import load_parser

    noun_filter = load_noun_filter(config.noun_filter.resolve() if config.noun_filter else None)
    waiting: deque[tuple[str, str]] = deque()

    def texts() -> Iterator[str]:
        for prompt in progress_bar(stream_texts(prompts), "entities", total=count_prompts(prompts)):
            waiting.append((prompt.prompt_id, prompt.text))
            yield prompt.text

    options: dict[str, Any] = {"keep_same_nouns": config.keep_same_nouns, "batch_size": config.batch_size}
    if config.processes == 1:
        parsed = parse_entities(texts(), load_parser(config.parser), noun_filter, **options)
    else:
        parsed = parse_entities_in_processes(
            texts(), config.parser, noun_filter, process_count=config.processes, **options
        )
    for entities in parsed:
        yield *waiting.popleft(), entities


def _with_tokens(
    entity: "Entity", noun: "AlignedSpan", attributes: "Sequence[AlignedSpan]"
) -> "tuple[Entity, AlignedEntity]":
    """The entity as the text encoder sees it, and its columns. A noun beyond the last token is removed, with reason."""
    if entity.removed_because is None and not noun.tokens:
        entity = replace(entity, removed_because="cut off: the text encoder does not see the noun")
    return entity, AlignedEntity(
        noun=entity.noun,
        attributes=list(entity.attributes),
        noun_span=entity.noun_span,
        attribute_spans=entity.attribute_spans,
        noun_tokens=list(noun.tokens),
        attribute_tokens=sorted({token for attribute in attributes for token in attribute.tokens}),
        kept=entity.removed_because is None,
        removed_because=entity.removed_because,
    )


def load_layout(base: ModelReference) -> "TextLayout":
    """Load the tokenizers of a diffusion model."""
    from comat_core.backbones.checkpoints.pipeline_index import check_backbone, family_of
    from comat_core.backbones.checkpoints.pipeline_loading import index_of
    from comat_core.backbones.text.text_layout import load_text_layout
    from comat_core.support import pretrained

    source = base.resolve()
    index = index_of(source, base.revision)
    check_backbone(index, source)

    def load_tokenizer(part: str) -> Any:
        return pretrained.load_tokenizer(source, base.revision, subfolder=part)

    return load_text_layout(family_of(index, source), source, load_tokenizer, list(index.parts))


STAGE = Stage(name="entities", version=2, config_type=EntitiesConfig, inputs=("prompts",), build=build)
run = STAGE.run
