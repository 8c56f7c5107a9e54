"""Sensitivity (equation 7): how well an image-to-text model tells an image's text from a text that is nearly the same.

It measures the model that rewards the training, not the one that is trained: a captioner that is blind to swapped
attributes cannot teach them. Asked about real images with captions, and about the generated images with their prompts.
A text is corrupted in three respects (attribute, relation, quantity) as far as it holds any of them; where the real
images come with wrong captions, those are used instead ("given").

Scores are rows of (prompt_id, sample, corruption, text, corrupted_text, log_probability, corrupted_log_probability,
sensitivity), of the real images too, which the joined table calls "real".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from stages.batches import in_parts
from stages.evaluate.declared.benchmark import Benchmark, Metric
from stages.evaluate.scoring.comparisons import JOINED, comparison, join_items, write_summary
from stages.evaluate.scoring.image_scores import (
    ITEMS,
    identity_of,
    image_scores,
    in_question_batches,
    item_schema,
    part_name,
)
from stages.evaluate.scoring.images.captioned_images import CaptionedImages, squeezed_png
from stages.evaluate.scoring.images.generated_images import REAL, GeneratedImage, Prompt
from stages.evaluate.scoring.models_in_memory import loaded
from stages.evaluate.scoring.parsed_prompts import ParsedPromptsConfig
from stages.evaluate.scoring.settings import NOT_IN_SCORES, ScorerPrecision, reads_no_files
from stages.evaluate.scoring.summaries import summarise_items
from stages.models.captioners import AnyCaptioner, Blip, CaptionerSettings
from stages.models.devices import choose_device
from stages.plan.config import ModelReference
from stages.plan.digests import digest_json
from stages.plan.stage import Inputs, ShardedStage
from stages.progress import progress_bar
from stages.store.artifact_writer import ArtifactWriter

if TYPE_CHECKING:
    import torch

    from comat_core.captioners import ImageToText

METRIC = "sensitivity"
GIVEN = "given"
REAL_IMAGES_PER_SHARD = 512

ITEM_SCHEMA = item_schema(
    ("corruption", pa.string()),
    ("text", pa.string()),
    ("corrupted_text", pa.string()),
    ("log_probability", pa.float64()),
    ("corrupted_log_probability", pa.float64()),
    (METRIC, pa.float64()),
)


class SensitivityConfig(ParsedPromptsConfig):
    """Settings of the sensitivity."""

    captioner: ModelReference = Field(description="the image-to-text model, folder or hub id")
    captioning: AnyCaptioner = Field(default=Blip(), description="what the image-to-text model is")
    precision: ScorerPrecision = "fp32"
    real: Annotated[CaptionedImages, NOT_IN_SCORES] = Field(
        default=CaptionedImages(), description="the real images with captions"
    )
    resolution: Annotated[int, NOT_IN_SCORES] = Field(
        ge=8, le=4096, description="pixels per side, to which real images are squeezed"
    )

    def real_payload(self) -> dict[str, Any]:
        """The JSON value that goes into the key of the real images' scores."""
        scoring = {name: value for name, value in self.scores_payload().items() if name != "skills"}
        shown = {"resolution": self.resolution, "images": self.real.identity(self.seed, self.resolution)}
        return {**scoring, "real": digest_json(shown)}

    def key_payload(self) -> dict[str, Any]:
        return {**super().key_payload(), **self.real_payload()}

    def fetch_files(self) -> None:
        self.real.check(self.seed, self.resolution)


@dataclass(frozen=True)
class Wording:
    """A text and its corrupted forms: name of the corruption -> text."""

    text: str
    corrupted: Mapping[str, str]


def score_prompted_images(
    config: SensitivityConfig, images: Sequence[GeneratedImage], prompts: Mapping[str, Prompt]
) -> list[dict[str, Any]]:
    """Ask about every image's prompt and its corrupted forms; return one row of the items table per form."""
    texts = {image.prompt_id: prompts[image.prompt_id].text for image in images}
    return score_images(images, _corrupted(texts, config), _load_captioner(config), config)


def count_real_shards(config: SensitivityConfig, _inputs: Inputs) -> int:
    """One shard for each part of the real images."""
    return -(-config.real.count // REAL_IMAGES_PER_SHARD)


def build_real_shard(config: SensitivityConfig, _inputs: Inputs, writer: ArtifactWriter, index: int) -> None:
    """Score one part of the real images."""
    images, wordings = real_images(config, index)
    items = score_images(images, wordings, _load_captioner(config), config)
    writer.write_table(part_name(index), pa.Table.from_pylist(items, schema=ITEM_SCHEMA))


def compare(config: SensitivityConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Join the models' items and those of the real images, and summarise them."""
    items = join_items(inputs, METRIC, inputs[REAL].read_table(ITEMS))
    writer.write_table(JOINED, items)
    write_summary(writer, summarise(items, config), inputs)


def score_images(
    images: Sequence[GeneratedImage],
    wordings: Mapping[str, Wording],
    captioner: "ImageToText",
    config: SensitivityConfig,
) -> list[dict[str, Any]]:
    """Ask how likely each image makes its text and the corrupted forms; one row of the items table per form.

    Args:
        wordings: prompt id -> its text and corrupted forms; images of texts without any are left out.
    """
    import torch

    asked = [
        (row, text)
        for row, image in enumerate(images)
        if (wording := wordings[image.prompt_id]).corrupted
        for text in (wording.text, *wording.corrupted.values())
    ]
    likelihoods: dict[int, list[float]] = {}
    device = choose_device(config.device)
    for batch, pixels, places in in_question_batches(images, asked, config.batch_size, "Sensitivity"):
        with torch.no_grad():
            scored = captioner.log_likelihood(pixels.to(device)[places], [text for _, text in batch])
        for (row, _), value in zip(batch, scored.per_caption("sum").tolist(), strict=True):
            likelihoods.setdefault(row, []).append(value)
    items = []
    for row, (right, *wrong) in likelihoods.items():
        items += _items_of_image(images[row], wordings[images[row].prompt_id], right, wrong)
    return items


def _items_of_image(
    image: GeneratedImage, wording: Wording, right: float, wrong: Sequence[float]
) -> list[dict[str, Any]]:
    import torch

    from comat_core.scorers.sensitivity import sensitivity

    scores = sensitivity(torch.tensor(right, dtype=torch.float64), torch.tensor(wrong, dtype=torch.float64))
    return [
        {
            **identity_of(image),
            "corruption": corruption,
            "text": wording.text,
            "corrupted_text": text,
            "log_probability": right,
            "corrupted_log_probability": value,
            METRIC: score,
        }
        for (corruption, text), value, score in zip(wording.corrupted.items(), wrong, scores.tolist(), strict=True)
    ]


def summarise(items: pa.Table, config: SensitivityConfig) -> dict[str, Any]:
    """Average the sensitivity of each model's images, over all corruptions and, as "sensitivity/<name>", over each."""
    from comat_core.metrics.bootstrap import bootstrap_mean, make_numpy_generator

    protocol = (
        f"equation 7, log-likelihoods by {config.captioner.path} ({config.captioning.kind});"
        f" {config.real.count:,} real images: {config.real.source}"
    )
    summary: dict[str, Any] = {"benchmark": METRIC, "protocol": protocol, "models": {}, "delta": {}}
    corruptions = sorted(set(items["corruption"].to_pylist()))
    chosen = {METRIC: items} | {
        f"{METRIC}/{name}": items.filter(pc.field("corruption") == name) for name in corruptions
    }
    for metric, rows in chosen.items():
        real, generated = rows.filter(pc.field("model") == REAL), rows.filter(pc.field("model") != REAL)
        if generated.num_rows:
            part = summarise_items(
                generated,
                [METRIC],
                benchmark=METRIC,
                protocol=protocol,
                skills=dict.fromkeys(generated["prompt_id"].to_pylist(), ""),
                seed=config.seed,
                resamples=config.resamples,
            )
            for model, scores in part["models"].items():
                summary["models"].setdefault(model, {})[metric] = scores[METRIC]
            summary["delta"][metric] = part["delta"][METRIC]
        if real.num_rows:
            generator = make_numpy_generator(config.seed, metric)
            values, owners = real[METRIC].to_pylist(), real["prompt_id"].to_pylist()
            estimate = bootstrap_mean(values, owners, generator, resamples=config.resamples)
            summary["models"].setdefault(REAL, {})[metric] = estimate.as_dict()
    return summary


def _load_captioner(config: SensitivityConfig) -> "ImageToText":
    device = choose_device(config.device)
    return loaded(_captioner_of, config.captioning, config.captioner, device, config.precision)


def _captioner_of(
    captioning: CaptionerSettings, checkpoint: ModelReference, device: "torch.device", precision: str
) -> "ImageToText":
    from comat_core.support.precisions import PRECISIONS

    return captioning.load(checkpoint, dtype=PRECISIONS[precision], device=device)


def _corrupted(texts: Mapping[str, str], config: SensitivityConfig) -> dict[str, Wording]:
    """Prompt id -> its text with what can be corrupted of it."""
    from comat_core.language.corruptions import corruptions
    from comat_core.language.parsers import load_parser
    from data.noun_filter import load_noun_filter

    docs = loaded(load_parser, config.parser).pipe(texts.values())
    words = load_noun_filter()
    wordings = {}
    for (key, text), doc in zip(texts.items(), docs, strict=True):
        forms: dict[str, Any] = {**corruptions(doc, words)}
        wordings[key] = Wording(text, {name: form for name, form in forms.items() if form is not None})
    return wordings


def real_images(config: SensitivityConfig, part: int) -> tuple[list[GeneratedImage], dict[str, Wording]]:
    """One part of the real images, each with its first caption, and what is corrupted of it."""
    source = config.real.open(config.seed, config.resolution)
    numbers = in_parts(config.real.chosen(source, config.seed), REAL_IMAGES_PER_SHARD)[part]
    images: list[GeneratedImage] = []
    texts: dict[str, str] = {}
    wordings: dict[str, Wording] = {}
    for number in progress_bar(numbers, "Real images"):
        pair = source.read(number)
        images.append(GeneratedImage(pair.pair_id, 0, squeezed_png(pair.image, config.resolution)))
        if pair.wrong_caption is None:
            texts[pair.pair_id] = pair.captions[0]
        else:
            wordings[pair.pair_id] = Wording(pair.captions[0], {GIVEN: pair.wrong_caption})
    return images, wordings | _corrupted(texts, config)


SCORES = image_scores(
    benchmark=METRIC,
    version=1,
    config_type=SensitivityConfig,
    schema=ITEM_SCHEMA,
    score=score_prompted_images,
    fetch=reads_no_files,
)
REAL_SCORES = ShardedStage(
    name=f"scores.{METRIC}.{REAL}",
    version=1,
    config_type=SensitivityConfig,
    payload=SensitivityConfig.real_payload,
    count_shards=count_real_shards,
    build_shard=build_real_shard,
)
STAGE = comparison(
    benchmark=METRIC,
    version=3,
    config_type=SensitivityConfig,
    compare=compare,
    more_inputs=(REAL,),
    fetch=reads_no_files,
)
BENCHMARK = Benchmark(
    name=METRIC,
    place=140,
    metrics=(
        Metric(
            name=METRIC,
            label="Sensitivity",
            meaning="how much less likely the captioner finds a corrupted text of the same image (equation 7)",
        ),
    ),
    scores=SCORES,
    real_scores=REAL_SCORES,
    of_single_images=False,
    of_training=True,
)
