"""What is fuzzed: each reader by the entry that a user's files come through, with a whole file of its format."""

import io
import json
import random
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from comat_core.support.errors import UserError
from tests.fuzz.mutations import damaged_bytes, damaged_checksummed_tar, damaged_json, damaged_text

Mutation = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Target:
    """One kind of file and what reads it.

    Attributes:
        file: its name, in a folder of its own.
        content: of a whole one.
        read: reads the file at a path, whatever it finds there.
        mutations: ways to damage it.
        count: how many damaged files are tried.
        beside: other files of the folder.
    """

    name: str
    file: str
    content: bytes
    read: Callable[[Path], object]
    mutations: tuple[Mutation, ...]
    count: int
    beside: tuple[tuple[str, bytes], ...] = ()

    def write(self, folder: Path, content: bytes | None = None) -> Path:
        """Write the folder's files, the one with the given content, and return its path."""
        for name, other in (*self.beside, (self.file, self.content if content is None else content)):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(other)
        return folder / self.file


def picture(kind: str, size: tuple[int, int] = (12, 9), mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise(size, 60).convert(mode).save(buffer, kind)
    return buffer.getvalue()


# Presets and other settings


def _read_preset(path: Path) -> object:
    """What `comat show` and `comat status` do with a preset."""
    from stages.plan.pipeline import make_plan
    from stages.plan.presets import as_yaml, load_preset, preset_lineage

    preset_lineage(str(path))
    preset = load_preset(str(path))
    for node in make_plan(preset.sections).nodes:
        with suppress(UserError):  # a file that its settings name is missing
            _ = node.key
    return as_yaml(preset)


def _read_override(path: Path) -> object:
    """The file's first lines as --set."""
    from stages.plan.presets import load_preset

    return load_preset("miniature", path.read_bytes().decode("utf-8", "replace").splitlines()[:3])


def _read_noun_filter(path: Path) -> object:
    from data.noun_filter import load_noun_filter

    load_noun_filter.cache_clear()
    return load_noun_filter(path)


def _read_ablation(path: Path) -> object:
    from stages.studies.ablation.settings import load_ablation

    return load_ablation(str(path))


OVERRIDES = "train.steps=12\nmodels.base.path=/models/base\nimages.samples={test: 2, fidelity: 1}\n"
PRESET = """\
extends: miniature
description: mine
seed: 3
models: &models
  captioner: {path: /models/blip, revision: main}
prompts:
  train:
  - {source: miniature/training, count: 20}
  - {file: prompts.csv, column: text, skill: mine}
train: {steps: 12, sampling: &sampling {num_inference_steps: 8, guidance_scale: 5.0}}
latents: {sampling: *sampling}
evaluate:
  attributes: {skills: [color, shape]}
"""


def _settings() -> Iterator[Target]:
    import data

    folder = Path(data.__file__).parent
    miniature, text = (folder / "presets" / "miniature.yaml").read_bytes(), (damaged_text, damaged_text, damaged_bytes)
    yield Target("preset that extends one", "mine.yaml", PRESET.encode(), _read_preset, text, 200)
    yield Target("whole preset", "mine.yaml", miniature, _read_preset, text, 100)
    yield Target("--set", "overrides.txt", OVERRIDES.encode(), _read_override, (damaged_text,), 100)
    yield Target(
        "noun filter", "words.yaml", (folder / "noun_filter.yaml").read_bytes()[:1500], _read_noun_filter, text, 60
    )
    yield Target("ablation", "mine.yaml", (folder / "ablations" / "paper.yaml").read_bytes(), _read_ablation, text, 40)


# Prompts


def _read_prompts(path: Path) -> object:
    """What the prompts stage does with a file: digest it, read it twice to draw from it, clean each prompt."""
    from data.prompt_sources import read_user_file
    from stages.prompts.cleaning import is_english, near_duplicate_key, normalise, prompt_id
    from stages.prompts.config import PromptSelection

    PromptSelection(file=str(path)).content_identity()
    texts = [normalise(text) for text, _ in read_user_file(path, seed=1)]
    return [(prompt_id(text), near_duplicate_key(text), is_english(text)) for text in texts]


def _reader(name: str, **options: Any) -> Callable[[Path], object]:
    def read(path: Path) -> object:
        from data.readers import READERS

        return list(READERS[name](path, **options))

    return read


def _parquet() -> bytes:
    buffer = io.BytesIO()
    texts = [f"a red cat and {number} blue dogs" for number in range(40)]
    pq.write_table(pa.table({"prompt": texts, "tag": ["x", None] * 20}), buffer, row_group_size=15)
    return buffer.getvalue()


def _captions_zip() -> bytes:
    buffer = io.BytesIO()
    annotations = [{"image_id": number, "caption": f"picture {number} of a cat"} for number in range(5)]
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("captions.json", json.dumps({"annotations": annotations}))
    return buffer.getvalue()


def _prompts() -> Iterator[Target]:
    text = (damaged_text, damaged_text, damaged_bytes)
    lines = "a red cat\n\n two blue dogs\r\na caf\u00e9 by the sea\n".encode()
    table = b'prompt,tag\r\n"a cat,\nred",color\r\na dog,shape\r\n"a ""big"" bird",\r\n'
    objects = b'{"prompt": "a cat", "tag": "one"}\n\n{"prompt": "a dog"}\n'
    listed = json.dumps([{"caption": "a cat", "tag": "one"}, {"caption": "a dog"}]).encode()
    yield Target("prompts, text", "a.txt", lines, _read_prompts, text, 80)
    yield Target("prompts, CSV", "a.csv", table, _read_prompts, text, 120)
    yield Target("prompts, JSON lines", "a.jsonl", objects, _read_prompts, (damaged_json, damaged_bytes), 100)
    yield Target("prompts, Parquet", "a.parquet", _parquet(), _read_prompts, (damaged_bytes,), 150)
    yield Target(
        "prompts, JSON", "a.json", listed, _reader("json", column="caption", skill_column="tag"), (damaged_json,), 60
    )
    yield Target("prompts, one file", "a.txt", lines, _reader("whole files"), text, 30)
    read = _reader("coco captions", member="captions.json")
    yield Target("prompts, zip", "a.zip", _captions_zip(), read, (damaged_bytes,), 80)


# Captions and images


def _read_all(source: Any) -> object:
    source.identity()
    return [source.read(index) for index in range(len(source))]


def _read_coco(path: Path) -> object:
    from data.real_images.coco_folder import CocoFolder

    return _read_all(CocoFolder(path.parent, path.name, "images"))


def _read_coco_image(path: Path) -> object:
    return _read_coco(path.parent.parent / "captions.json")


def _read_aro(path: Path) -> object:
    from data.real_images.aro import AroList

    return _read_all(AroList(path.parent, path.name, "images"))


def _read_shards(path: Path) -> object:
    from data.real_images.webdataset import WebDatasetShards

    return _read_all(WebDatasetShards(path.parent))


def _shards(mode: str, kind: int = tarfile.USTAR_FORMAT) -> bytes:
    buffer = io.BytesIO()
    members = {
        "0.png": picture("PNG"),
        "0.txt": b"a cat",
        "1.jpg": picture("JPEG"),
        "1.json": b'{"caption": ["a dog", "it"]}',
    }
    with tarfile.open(fileobj=buffer, mode=mode, format=kind) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            member = tarfile.TarInfo(name if kind == tarfile.USTAR_FORMAT else f"{'long/' * 30}{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _captions() -> Iterator[Target]:
    images = (("images/0.png", picture("PNG")), ("images/1.png", picture("PNG")))
    coco = {
        "images": [{"id": number, "file_name": f"{number}.png"} for number in range(2)],
        "annotations": [{"image_id": number % 2, "caption": f" picture {number}\n"} for number in range(4)],
    }
    box = {"bbox_x": 1, "bbox_y": 2, "bbox_w": 4, "bbox_h": 5}
    aro = [
        {"image_path": "0.png", "true_caption": "a cat", "false_caption": "a dog", **box},
        {"image_path": "1.png", "true_caption": "a dog"},
    ]
    damaged = (damaged_json, damaged_json, damaged_bytes)
    yield Target("captions, COCO", "captions.json", json.dumps(coco).encode(), _read_coco, damaged, 150, images)
    yield Target("captions, ARO", "aro.json", json.dumps(aro).encode(), _read_aro, damaged, 120, images)
    tars = (damaged_checksummed_tar, damaged_bytes)
    yield Target("shards, tar", "0.tar", _shards("w"), _read_shards, tars, 120)
    yield Target("shards, long names", "0.tar", _shards("w", tarfile.PAX_FORMAT), _read_shards, tars, 50)
    for mode in ("w:gz", "w:bz2", "w:xz"):
        yield Target(f"shards, {mode[2:]}", "0.tar", _shards(mode), _read_shards, (damaged_bytes,), 30)
    captions = (("captions.json", json.dumps({**coco, "images": coco["images"][:1]}).encode()),)
    for kind, mode in (("PNG", "RGBA"), ("PNG", "P"), ("JPEG", "RGB"), ("WEBP", "RGB"), ("TIFF", "L"), ("GIF", "P")):
        content = picture(kind, mode=mode)
        yield Target(f"image, {kind} {mode}", "images/0.png", content, _read_coco_image, (damaged_bytes,), 40, captions)


# Questions


def _questions(module: str, config: str, **changes: Any) -> Callable[[Path], object]:
    def read(path: Path) -> object:
        from importlib import import_module

        from stages.evaluate.scoring.questions.question_files import QuestionFile
        from stages.plan.config import ModelReference

        file = QuestionFile(file=str(path))
        given = {"seed": 1, "resamples": 100, "device": "cpu", "batch_size": 3, **changes}
        file.content_identity()
        settings = getattr(import_module(f"stages.evaluate.{module}"), config)
        return settings(vqa=ModelReference(path="org/vqa"), questions=file, **given).fetch_files()

    return read


def _question_files() -> Iterator[Target]:
    header = "item_id,text,proposition_id,dependency,tuple,question_natural_language"
    rows = (
        "1,a red circle,1,0,entity - whole (circle),is there one?",
        '1,a red circle,2,"1","attribute - color (circle, red)",red?',
    )
    table = "\n".join((header, *rows)).encode()
    one = {
        "id": "a",
        "caption": "a red circle",
        "question": "q?",
        "choices": ["yes", "no"],
        "answer": "yes",
        "element_type": "x",
    }
    tifa = json.dumps([one, {**one, "id": "b", "question": "r?"}]).encode()
    text = (damaged_text, damaged_bytes)
    yield Target("questions, CSV", "a.csv", table, _questions("dsg", "DsgConfig"), text, 100)
    yield Target(
        "questions, JSON", "a.json", tifa, _questions("tifa", "TifaConfig"), (damaged_json, damaged_bytes), 100
    )
    lines = "\n".join(json.dumps({**one, "id": name}) for name in "ab").encode()
    yield Target("questions, JSON lines", "a.jsonl", lines, _questions("tifa", "TifaConfig"), (damaged_json,), 50)


# Images of other generators, and checkpoints


def _read_image_list(path: Path) -> object:
    from data.formats.images import read_image
    from stages.images.image_folders import read_folder

    wanted = [{"text": "a red cat"}, {"text": "a dog, and a bird"}, {"text": "a red cat"}]
    return [read_image(image) for image in read_folder(path.parent, wanted)]


def _read_index(path: Path) -> object:
    from comat_core.backbones.checkpoints.pipeline_index import check_backbone, left_out_of, read_index

    index = read_index(path.parent)
    check_backbone(index, str(path.parent))
    return left_out_of(index)


def _read_schedule(path: Path) -> object:
    from comat_core.backbones.checkpoints.pipeline_index import check_schedule

    return check_schedule(path.parent.parent, "StableDiffusionPipeline")


def _read_weights_index(path: Path) -> object:
    from comat_core.support.checkpoint_files import Network, weights_variant

    return weights_variant(Network("its unet", path.parent, ("diffusion_pytorch_model",)))


def _folders() -> Iterator[Target]:
    import data

    entries = [("a red cat", "0.png"), ("a dog, and a bird", "1.png"), ("a red cat", "2.png")]
    images = tuple((name, picture("PNG")) for _, name in entries)
    table = "prompt,file\n" + "".join(f'"{prompt}",{name}\n' for prompt, name in entries)
    listed = json.dumps([{"prompt": prompt, "file": name} for prompt, name in entries])
    yield Target("list of images, CSV", "manifest.csv", table.encode(), _read_image_list, (damaged_text,), 50, images)
    yield Target(
        "list of images, JSON", "manifest.json", listed.encode(), _read_image_list, (damaged_json,), 50, images
    )
    base = Path(data.__file__).parent / "miniature" / "base"
    damaged = (damaged_json, damaged_json, damaged_bytes)
    index, schedule = (base / name for name in ("model_index.json", "scheduler/scheduler_config.json"))
    yield Target("model_index.json", "model_index.json", index.read_bytes(), _read_index, damaged, 60)
    yield Target("scheduler", "scheduler/scheduler_config.json", schedule.read_bytes(), _read_schedule, damaged, 40)
    name, shards = "diffusion_pytorch_model.safetensors.index.json", [f"part-{number}.safetensors" for number in (1, 2)]
    content = json.dumps({"metadata": {"total_size": 2}, "weight_map": dict(zip("ab", shards, strict=True))}).encode()
    parts = tuple((shard, b"") for shard in shards)
    yield Target("index of weights", name, content, _read_weights_index, damaged, 40, parts)


TARGETS = (*_settings(), *_prompts(), *_captions(), *_question_files(), *_folders())
