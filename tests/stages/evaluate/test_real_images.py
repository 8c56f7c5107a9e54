"""Real images of a folder: which files count, how they are seen, and what is told of one that cannot be."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from comat_core.support.errors import UserError
from data.formats.images import READING
from stages.evaluate.fid import FidConfig
from stages.evaluate.fidelity import FidelityConfig
from stages.evaluate.scoring.images.frechet_features import FeaturesConfig
from stages.evaluate.scoring.images.real_images import RealImages, identity_of_files, read_real_images, real_image_files
from stages.plan.config import ModelReference

RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four images, one below another folder, and what systems and notebooks leave beside them."""
    images = tmp_path / "real"
    (images / "inside").mkdir(parents=True)
    for index, name in enumerate(["a.png", "b.jpeg", "c.webp", "inside/d.JPG"]):
        Image.new("RGB", (16, 16), (index, 0, 0)).save(images / name)
    (images / ".ipynb_checkpoints").mkdir()
    for name in ("._a.png", ".ipynb_checkpoints/a.png", "notes.txt"):
        (images / name).write_bytes(b"no image")
    return images


def real(folder: Path, count: int) -> RealImages:
    return RealImages(folder=ModelReference(path=str(folder)), count=count)


def test_hidden_files_are_no_images(folder: Path) -> None:
    names = [str(file.relative_to(folder)) for file in real_image_files(real(folder, 4))]
    assert names == ["a.png", "b.jpeg", "c.webp", "inside/d.JPG"]
    with pytest.raises(UserError, match=r"4 images instead of 5 \(real\.folder .*real\): lower real\.count, or add"):
        real_image_files(real(folder, 5))


@pytest.mark.parametrize("path", ["coco/val2014", "val2014"])
def test_a_folder_that_could_be_a_name_on_the_hub_is_told_to_be_missing(path: str) -> None:
    with pytest.raises(UserError, match=rf"no such folder of images \(real\.folder {path}\)"):
        real_image_files(real(Path(path), 2))


def test_images_are_seen_upright_and_on_white(tmp_path: Path) -> None:
    halves = np.zeros((8, 8, 3), np.uint8)
    halves[:4], halves[4:] = RED, BLUE
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(halves[::-1, ::-1].copy()).save(tmp_path / "0.png", exif=exif)
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "1.png")
    first, second = read_real_images(real(tmp_path, 2), 0, 8, range(2))
    np.testing.assert_array_equal(first, halves)
    assert second.min() == 255


def test_the_identity_follows_names_and_sizes_and_the_way_of_reading(folder: Path) -> None:
    assert identity_of_files(RealImages()) == []
    reading, files = identity_of_files(real(folder, 2))
    assert (reading, [name for name, _ in files]) == (READING, ["a.png", "b.jpeg"])


def features_config(kind: type[FeaturesConfig], real_images: RealImages) -> FeaturesConfig:
    """Settings of an evaluation, as far as the real images are concerned."""
    return kind.model_construct(real=real_images, seed=0, resolution=8, extractors={})


@pytest.mark.parametrize("kind", [FeaturesConfig, FidConfig, FidelityConfig])
def test_an_image_that_cannot_be_read_is_told_before_a_run_begins(folder: Path, kind: type[FeaturesConfig]) -> None:
    config = features_config(kind, real(folder, 4))
    (folder / "b.jpeg").write_bytes((folder / "b.jpeg").read_bytes()[:300])
    with pytest.raises(UserError, match=r"the image cannot be decoded.*b\.jpeg\): replace it, or take it out"):
        config.fetch_files()
    with pytest.raises(UserError, match=r"the image cannot be decoded.*b\.jpeg"):
        list(read_real_images(real(folder, 4), 0, 8, range(4)))
