import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from comat_core.backbones.loading import load_backbone
from comat_core.support.errors import UserError
from comat_core.support.randomness import make_generator
from stages import pairs
from stages.plan.config import ModelReference
from stages.store.artifacts import Artifact
from stages.store.store import Store


def config(model: Path, folder: Path | None = None, **changes: Any) -> pairs.PairsConfig:
    settings = {
        "seed": 5,
        "resolution": 32,
        "base": ModelReference(path=str(model)),
        "folder": ModelReference(path=str(folder)) if folder else None,
        "source": "coco",
        "images": "train2014",
        "annotations": "annotations/captions.json",
        "count": None,
        "shard_size": 2,
        "batch_size": 2,
        "device": "cpu",
    }
    return pairs.PairsConfig(**(settings | changes))


def picture(index: int, size: tuple[int, int] = (48, 32)) -> Image.Image:
    """Left third, middle and right third in colours of their own."""
    array = np.zeros((size[1], size[0], 3), np.uint8)
    array[:, : size[0] // 3] = (255, 0, 0)
    array[:, size[0] // 3 :] = (0, 40 * index, 200)
    return Image.fromarray(array)


def as_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(file: Path, members: dict[str, bytes]) -> None:
    file.parent.mkdir(exist_ok=True)
    with tarfile.open(file, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    root = tmp_path / "coco"
    (root / "train2014").mkdir(parents=True)
    (root / "annotations").mkdir()
    entries: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": []}
    for index in range(4):
        picture(index).save(root / "train2014" / f"{index}.png")
        entries["images"].append({"id": index, "file_name": f"{index}.png"})
        if index != 2:
            entries["annotations"] += [
                {"image_id": index, "caption": f" picture {index},\n telling {telling} "} for telling in range(3)
            ]
    (root / "annotations" / "captions.json").write_text(json.dumps(entries))
    return root


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def rows_of(artifact: Artifact) -> list[dict[str, Any]]:
    return artifact.read_table("index.parquet").to_pylist()


def latents_of(artifact: Artifact) -> torch.Tensor:
    return torch.stack([artifact.read_tensors(row["shard"])["latents"][row["row"]] for row in rows_of(artifact)])


def test_a_coco_folder_becomes_latents_with_one_caption_each(store: Store, coco: Path, tiny_sd_folder: Path) -> None:
    artifact = pairs.run(config(tiny_sd_folder, coco), {}, store)
    rows = rows_of(artifact)
    assert [row["pair_id"] for row in rows] == ["coco:0", "coco:1", "coco:3"], "an image without a caption is left out"
    assert all(row["caption"].startswith(f"picture {row['pair_id'][-1]}, telling ") for row in rows)
    assert [(row["shard"], row["row"]) for row in rows] == [
        ("latents/00000.safetensors", 0),
        ("latents/00000.safetensors", 1),
        ("latents/00001.safetensors", 0),
    ]
    model = load_backbone(tiny_sd_folder)
    middle = np.asarray(picture(3).crop((8, 0, 40, 32)))
    image = torch.from_numpy(middle.copy()).permute(2, 0, 1)[None].float() / 255
    expected = model.encode_images(image, [make_generator(5, "posterior", "coco:3")])[0]
    torch.testing.assert_close(latents_of(artifact)[2].float(), expected, atol=5e-3, rtol=5e-3)


def test_the_choice_of_captions_and_pairs_is_the_seeds(store: Store, coco: Path, tiny_sd_folder: Path) -> None:
    chosen = {}
    for seed in range(6):
        rows = rows_of(pairs.run(config(tiny_sd_folder, coco, seed=seed, count=2, shard_size=4), {}, store))
        assert len(rows) == 2
        chosen[seed] = tuple((row["pair_id"], row["caption"]) for row in rows)
    assert len(set(chosen.values())) > 3


def test_squeezing_keeps_the_whole_image(store: Store, coco: Path, tiny_sd_folder: Path) -> None:
    cropped, squeezed = (
        latents_of(pairs.run(config(tiny_sd_folder, coco, crop=crop), {}, store)) for crop in ("centre", "none")
    )
    assert (cropped.float() - squeezed.float()).abs().max() > 0.05


def test_the_key_names_the_pairs_and_not_their_place(coco: Path, tiny_sd_folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    key = pairs.STAGE.key_for(config(tiny_sd_folder, coco), {})
    coco.rename(moved)
    assert pairs.STAGE.key_for(config(tiny_sd_folder, moved), {}) == key
    captions = moved / "annotations" / "captions.json"
    (moved / "annotations" / "others.json").write_text(captions.read_text().replace("telling", "saying"))
    assert pairs.STAGE.key_for(config(tiny_sd_folder, moved, annotations="annotations/others.json"), {}) != key


def test_photographs_are_encoded_upright(store: Store, tiny_sd_folder: Path, coco: Path, tmp_path: Path) -> None:
    turned = tmp_path / "turned"
    shutil.copytree(coco, turned)
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    for file in (turned / "train2014").iterdir():
        Image.open(file).transpose(Image.Transpose.ROTATE_180).save(file, exif=exif)
    first, second = (latents_of(pairs.run(config(tiny_sd_folder, folder), {}, store)) for folder in (coco, turned))
    torch.testing.assert_close(first, second)


def test_pairs_are_read_before_a_run_begins(coco: Path, tiny_sd_folder: Path) -> None:
    config(tiny_sd_folder, coco).fetch_files()
    config(tiny_sd_folder, source="miniature world", count=3).fetch_files()
    for name in ("1.png", "3.png"):
        (coco / "train2014" / name).write_bytes(b"no image")
    with pytest.raises(UserError, match=r"cannot be decoded.*; 1 more cannot be used: .*3\.png \(.*1\.png\)"):
        config(tiny_sd_folder, coco).fetch_files()
    config(tiny_sd_folder, coco, count=1, seed=7).fetch_files()  # the one that is drawn is whole


def test_webdataset_shards_are_read_in_their_order(store: Store, tiny_sd_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    for shard in range(2):
        write_tar(
            folder / f"{shard}.tar",
            {
                "000.png": as_png(picture(2 * shard)),
                "000.txt": b"told in text",
                "001.png": as_png(picture(2 * shard + 1)),
                "001.json": b'{"caption": "told in json"}',
                "002.png": as_png(picture(0)),
            },
        )
    artifact = pairs.run(config(tiny_sd_folder, folder, source="webdataset"), {}, store)
    assert [(row["pair_id"], row["caption"]) for row in rows_of(artifact)] == [
        ("0:000", "told in text"),
        ("0:001", "told in json"),
        ("1:000", "told in text"),
        ("1:001", "told in json"),
    ]
    assert latents_of(artifact).shape == (4, 4, 8, 8)


def test_one_of_several_captions_in_json_is_the_seeds(store: Store, tiny_sd_folder: Path, tmp_path: Path) -> None:
    captions = [f"telling {telling}" for telling in range(4)]
    content = json.dumps({"caption": captions}).encode()
    members = {f"{index}.json": content for index in range(4)}
    write_tar(tmp_path / "a.tar", members | {f"{index}.png": as_png(picture(index)) for index in range(4)})
    chosen = []
    for seed in (5, 6):
        rows = rows_of(pairs.run(config(tiny_sd_folder, tmp_path, source="webdataset", seed=seed), {}, store))
        chosen.append([row["caption"] for row in rows])
        assert set(chosen[-1]) <= set(captions)
    assert chosen[0] != chosen[1]
    assert len(set(chosen[0])) > 1, "each pair draws its own"


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"0.png": b"no image", "0.txt": b"a cat"}, r"the image cannot be decoded.*a\.tar, 0\.png"),
        ({"0.png": b"", "0.txt": b"a caf\xe9"}, r"the caption is not UTF-8 text.*a\.tar, 0\.txt"),
        ({"0.png": b"", "0.json": b'{"text": "a cat"}'}, r"the caption is no text.*a\.tar, 0\.json"),
        ({"0.png": b"", "0.json": b'{"caption": []}'}, r"there is no image with a caption"),
        (None, r"the tar file cannot be read.*a\.tar.*download it again"),
    ],
)
def test_mistakes_in_webdataset_shards_are_named(
    store: Store, tiny_sd_folder: Path, tmp_path: Path, members: dict[str, bytes] | None, message: str
) -> None:
    folder = tmp_path / "shards"
    write_tar(folder / "a.tar", members or {})
    if members is None:
        (folder / "a.tar").write_bytes(b"no archive" * 100)
    with pytest.raises(UserError, match=message):
        pairs.run(config(tiny_sd_folder, folder, source="webdataset"), {}, store)


def test_the_miniature_world_draws_its_own(store: Store, tiny_sd_folder: Path) -> None:
    from data.miniature_world.pairs import base_world_pair

    settings = config(tiny_sd_folder, source="miniature world", count=3, resolution=64)
    artifact = pairs.run(settings, {}, store)
    assert [row["caption"] for row in rows_of(artifact)] == [base_world_pair(5, "train", i)[1] for i in range(3)]
    assert latents_of(artifact).shape == (3, 4, 16, 16)
    with pytest.raises(UserError, match="no images of 32 px"):
        pairs.run(config(tiny_sd_folder, source="miniature world", count=3), {}, store)


def test_mistakes_are_named(store: Store, coco: Path, tiny_sd_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="3 pairs instead of 9"):
        pairs.run(config(tiny_sd_folder, coco, count=9), {}, store)
    with pytest.raises(UserError, match="there is no such captions file"):
        pairs.run(config(tiny_sd_folder, coco, annotations="absent.json"), {}, store)
    (coco / "empty.json").write_text('{"images": [{"id": 1, "file_name": "1.png"}], "annotations": []}')
    for count in (None, 1):
        with pytest.raises(UserError, match=r"there is no image with a caption.*check pairs\.folder"):
            pairs.run(config(tiny_sd_folder, coco, annotations="empty.json", count=count), {}, store)
    (coco / "broken.json").write_text('{"images": []}')
    with pytest.raises(UserError, match="not a COCO captions file"):
        pairs.run(config(tiny_sd_folder, coco, annotations="broken.json"), {}, store)
    (coco / "train2014" / "1.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"the image cannot be decoded.*1\.png"):
        pairs.run(config(tiny_sd_folder, coco), {}, store)
    (coco / "train2014" / "1.png").unlink()
    with pytest.raises(UserError, match=r"there is no such image.*1\.png"):
        pairs.run(config(tiny_sd_folder, coco), {}, store)
    with pytest.raises(UserError, match=r"no \.tar file"):
        pairs.run(config(tiny_sd_folder, tmp_path, source="webdataset"), {}, store)
    with pytest.raises(ValidationError, match="needs a folder"):
        config(tiny_sd_folder)
    with pytest.raises(ValidationError, match="it needs a count"):
        config(tiny_sd_folder, source="miniature world")
