"""Attack on prompts (the paper's section 5.5 and Table 6, by ATM's method): can added words hide what a prompt names?

For each prompt words are searched by gradient, through the text encoder, the sampling and a classifier, for each model
by itself. Scores are rows of (prompt_id, sample, the texts, what the classifier sees in their images, the metrics):
docs/attack.md tells the protocol, and how it differs from ATM's.
"""

import math

import pyarrow as pa

from stages.batches import in_parts
from stages.evaluate.declared.benchmark import Benchmark, Metric
from stages.evaluate.scoring.comparisons import JOINED, SUMMARY, join_items
from stages.evaluate.scoring.image_scores import item_schema, part_name
from stages.evaluate.scoring.images.generated_images import MODELS
from stages.evaluate.scoring.prompt_attack.attacked_prompts import attacked_prompts
from stages.evaluate.scoring.prompt_attack.config import AttackConfig
from stages.evaluate.scoring.summaries import summarise_items
from stages.models.devices import choose_device
from stages.plan.stage import Inputs, ShardedStage, Stage
from stages.sampling import sampling_model
from stages.store.artifact_writer import ArtifactWriter

NAME = "attack"
METRICS = (
    Metric(
        name="attack_success",
        label="Attack succeeds",
        meaning="share of attacked prompts in whose image the classifier sees another class than the one still named",
        higher_is_better=False,
    ),
    Metric(
        name="attack_any",
        label="Attack succeeds once",
        meaning="share of prompts with a success among their samples",
        higher_is_better=False,
    ),
    Metric(
        name="attack_control",
        label="Random words succeed",
        meaning="the same with as many random words in the place of those found: what no search gives",
        higher_is_better=False,
    ),
    Metric(
        name="attack_excess",
        label="Attack beyond random words",
        meaning="success of the attack less that of random words, on the same prompts from the same noise",
        higher_is_better=False,
    ),
    Metric(
        name="attack_unattacked",
        label="Misread without attack",
        meaning="share of images of the prompts alone in which the classifier sees another class",
        higher_is_better=False,
    ),
    Metric(
        name="attack_names_another",
        label="Attack names another class",
        meaning="share of attacked prompts whose added words name another class of the classifier",
        higher_is_better=False,
    ),
)
TEXTS = ("kind", "class_name", "text", "control_text", "seen", "control_seen", "unattacked_seen")
ITEM_SCHEMA = item_schema(
    *((text, pa.string()) for text in TEXTS),
    *((metric.name, pa.float64()) for metric in METRICS),
    ("first_loss", pa.float64()),
    ("last_loss", pa.float64()),
    ("skipped_iterations", pa.int64()),
)


def count_shards(config: AttackConfig, _inputs: Inputs) -> int:
    """Number of shards that the prompts fill."""
    return math.ceil(len(attacked_prompts(config)) / config.prompts_per_shard)


def build_shard(config: AttackConfig, inputs: Inputs, writer: ArtifactWriter, index: int) -> None:
    """Attack the prompts of one shard."""
    from stages.evaluate.scoring.prompt_attack.attacking import attack

    prompts = in_parts(attacked_prompts(config), config.prompts_per_shard)[index]
    classifier = config.classifier.load(choose_device(config.device))
    with sampling_model(config, inputs, config.vae) as model:
        items = attack(config, model, classifier, prompts, f"Attack, shard {index + 1}")
    writer.write_table(part_name(index), pa.Table.from_pylist(items, schema=ITEM_SCHEMA))


def compare(config: AttackConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Join the models' items and summarise them, over all prompts and over those of each kind."""
    items = join_items(inputs, NAME)
    writer.write_table(JOINED, items)
    kinds = dict(zip(items["prompt_id"].to_pylist(), items["kind"].to_pylist(), strict=True))
    search = config.search
    protocol = (
        f"Gumbel-softmax over {search.added_tokens} added words, {search.iterations} steps of Adam through"
        f" {search.gradient_steps} of {config.sampling.num_inference_steps} denoising steps;"
        f" {len(kinds)} prompts of {config.classes} classes, {config.texts_per_prompt} texts each, by the classifier"
        f" {config.classifier.model.path} ({config.classifier.kind})"
    )
    summary = summarise_items(
        items,
        [metric.name for metric in METRICS],
        benchmark=NAME,
        protocol=protocol,
        skills=kinds,
        seed=config.seed,
        resamples=config.resamples,
    )
    attacked = {model: inputs[model].key for model in MODELS}
    lora = inputs["tuned"].manifest.inputs["train"].key
    writer.write_json(SUMMARY, {**summary, "artifacts": {**attacked, "lora": lora}})


SCORES = ShardedStage(
    name=f"scores.{NAME}",
    version=1,
    config_type=AttackConfig,
    optional_inputs=("train", "adapt"),
    payload=AttackConfig.scores_payload,
    count_shards=count_shards,
    build_shard=build_shard,
)
STAGE = Stage(
    name=f"evaluate.{NAME}",
    version=1,
    config_type=AttackConfig,
    inputs=MODELS,
    loads_models=False,
    build=compare,
)
BENCHMARK = Benchmark(
    name=NAME,
    place=150,
    metrics=METRICS,
    scores=SCORES,
    of_models=True,
    of_single_images=False,
)
