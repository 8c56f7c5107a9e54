"""How good the miniature models are, on scenes that none of them has seen."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from diffusers import AutoencoderKL
from transformers import Dinov2Model, ResNetForImageClassification

from comat_core.captioners import TransformersCaptioner
from comat_core.captioners.blip import BlipCaptioner
from comat_core.captioners.git import GitCaptioner
from comat_core.scorers.visual_question_answering import CORRECTED, VisualQuestionAnswerer
from comat_core.segmenters.clipseg import ClipSegSegmenter
from comat_core.support.image_preprocessing import ImagePreprocessing
from comat_core.support.pretrained import load_processor
from comat_core.support.randomness import derive_seed
from data.miniature_world.alignment import base_model_alignment
from data.miniature_world.captions import noun_phrase
from data.miniature_world.datasets import make_scenes
from data.miniature_world.recipes.autoencoder import reconstruction_error
from data.miniature_world.recipes.fitting import pixels_to_unit_range
from data.miniature_world.recipes.judge import pair_targets
from data.miniature_world.recipes.segmenter import word_mask
from data.miniature_world.recipes.visual_questions import Question, ask, ask_for_place
from data.miniature_world.scenes import Scene
from data.miniature_world.seeing import patch_labels
from data.miniature_world.vocabulary import COLOURS, INVERSE_RELATION, SHAPES

UNSEEN_SEED: Final = 777
SCENES: Final = 400


def measure_accuracy(folder: Path) -> dict[str, float]:
    """Measure every model of the folder; all values are shares in [0, 1] unless their name says otherwise."""
    scenes, pixels = make_scenes("balanced", UNSEEN_SEED, SCENES, processes=1)
    images = pixels_to_unit_range(torch.from_numpy(pixels))
    with torch.no_grad():
        return {
            **base_model_alignment(folder, UNSEEN_SEED),
            "autoencoder_rmse": autoencoder_error(folder, images),
            "judge_exact": judge_accuracy(folder, scenes, images),
            **captioner_accuracies("captioner", BlipCaptioner, folder, scenes, images),
            **captioner_accuracies("git", GitCaptioner, folder, scenes, images),
            "vqa_accuracy": question_accuracy(folder, scenes, images, ask),
            "vqa_accuracy_of_places": question_accuracy(folder, *_of_two(scenes, images), ask_for_place),
            "segmenter_iou": segmenter_overlap(folder, scenes, images),
            "segmenter_absent_empty": segmenter_restraint(folder, scenes, images),
            "dino_shape_of_patch": feature_accuracy(folder, scenes, images, "shape"),
            "dino_colour_of_patch": feature_accuracy(folder, scenes, images, "colour"),
        }


def autoencoder_error(folder: Path, images: torch.Tensor) -> float:
    """Root mean squared error of the reconstruction, of images in [0, 1]."""
    return reconstruction_error(AutoencoderKL.from_pretrained(folder / "base" / "vae"), images)


def judge_accuracy(folder: Path, scenes: list[Scene], images: torch.Tensor) -> float:
    """Share of scenes whose set of colour-shape pairs the judge names exactly."""
    judge = ResNetForImageClassification.from_pretrained(folder / "judge").eval()
    named = judge(pixel_values=images * 2 - 1).logits > 0
    return (named == (pair_targets(scenes) > 0)).all(dim=1).float().mean().item()


def captioner_accuracies(
    name: str, kind: type[TransformersCaptioner], folder: Path, scenes: list[Scene], images: torch.Tensor
) -> dict[str, float]:
    """Shares of two-object scenes whose right caption is likelier than the one with colours, or places, exchanged."""
    rows = [row for row, scene in enumerate(scenes) if _swappable(scene)]
    captioner = kind.load(str(folder / name))

    def likelihood(captions: list[str]) -> torch.Tensor:
        found = captioner.log_likelihood(images[rows], captions)
        return (found.log_probabilities * found.mask).sum(dim=1)

    shares = {}
    for told in ("colours", "places"):
        right = likelihood([_caption(scenes[row], places=told == "places") for row in rows])
        wrong = likelihood([_caption(_swapped(scenes[row], told), places=told == "places") for row in rows])
        shares[f"{name}_prefers_right_{told}"] = (right > wrong).float().mean().item()
    return shares


def question_accuracy(
    folder: Path, scenes: list[Scene], images: torch.Tensor, ask: Callable[[Scene, random.Random], Question]
) -> float:
    """Share of right answers to the questions that `ask` draws, half of them to be answered yes."""
    model = VisualQuestionAnswerer.load(str(folder / "vqa"), protocol=CORRECTED)
    random_source = random.Random(derive_seed(UNSEEN_SEED, "questions"))
    questions = [ask(scene, random_source) for scene in scenes]
    probability = model.probability_of_yes(images, [question for question, _ in questions])
    answers = torch.tensor([answer == "yes" for _, answer in questions])
    return ((probability > 0.5) == answers).float().mean().item()


def segmenter_overlap(folder: Path, scenes: list[Scene], images: torch.Tensor) -> float:
    """Mean intersection over union of the masks of the first object's noun."""
    segmenter = ClipSegSegmenter.load(str(folder / "segmenter"))
    nouns = [scene.objects[0].shape for scene in scenes]
    found = np.stack([masks[0].numpy() for masks in segmenter.segment(images, [[noun] for noun in nouns])])
    wanted = np.stack([word_mask(scene, noun) for scene, noun in zip(scenes, nouns, strict=True)])
    union = (found | wanted).sum(axis=(1, 2))
    return float(((found & wanted).sum(axis=(1, 2)) / union).mean())


def segmenter_restraint(folder: Path, scenes: list[Scene], images: torch.Tensor) -> float:
    """Share of nouns of absent shapes for which the mask is empty, up to a hundredth of the image."""
    segmenter = ClipSegSegmenter.load(str(folder / "segmenter"))
    nouns = [[next(s for s in SHAPES if s not in {item.shape for item in scene.objects})] for scene in scenes]
    empty = [float(masks[0].float().mean() < 0.01) for masks in segmenter.segment(images, nouns)]
    return sum(empty) / len(empty)


def feature_accuracy(
    folder: Path, scenes: list[Scene], images: torch.Tensor, wanted: Literal["shape", "colour"]
) -> float:
    """Share of the objects' patches whose shape or colour a linear readout of the DINO features names.

    The readout is fitted by least squares on the first half of the scenes and asked about the second.
    """
    model = Dinov2Model.from_pretrained(folder / "dino").eval()
    preprocess = ImagePreprocessing.from_processor(load_processor(str(folder / "dino")), "dino")
    features = model(pixel_values=preprocess(images)).last_hidden_state[:, 1:]
    patch_size = model.config.patch_size
    assert isinstance(patch_size, int)
    column, classes = (0, len(SHAPES)) if wanted == "shape" else (1, len(COLOURS))
    labels = torch.from_numpy(np.stack([patch_labels(scene, patch_size)[:, column] for scene in scenes]))
    features = torch.cat([features, torch.ones_like(features[..., :1])], dim=-1)
    half = len(scenes) // 2
    known, asked = labels[:half] > 0, labels[half:] > 0
    targets = torch.eye(classes + 1)[labels[:half][known].long()]
    readout = torch.linalg.lstsq(features[:half][known], targets).solution
    named = (features[half:][asked] @ readout).argmax(dim=-1)
    return (named == labels[half:][asked]).float().mean().item()


def _of_two(scenes: list[Scene], images: torch.Tensor) -> tuple[list[Scene], torch.Tensor]:
    """Those of two objects of different shapes, whose places can be told."""
    rows = [row for row, scene in enumerate(scenes) if len({item.shape for item in scene.objects}) == 2]
    return [scenes[row] for row in rows], images[rows]


def _swappable(scene: Scene) -> bool:
    if len(scene.objects) < 2:
        return False
    first, second = scene.objects
    return first.shape != second.shape and first.colour != second.colour


def _swapped(scene: Scene, told_wrong: Literal["colours", "places"]) -> Scene:
    assert scene.relation is not None
    if told_wrong == "places":
        return replace(scene, relation=INVERSE_RELATION[scene.relation])
    first, second = scene.objects
    return replace(scene, objects=(replace(first, colour=second.colour), replace(second, colour=first.colour)))


def _caption(scene: Scene, *, places: bool) -> str:
    joint = scene.relation if places else "and"
    return f" {joint} ".join(noun_phrase(item.shape, item.colour, item.texture) for item in scene.objects)
