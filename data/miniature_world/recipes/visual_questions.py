"""The miniature VQA model: a BLIP that answers "a red circle?" and "a star below a cross?", and names what it sees."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import torch
from torch.nn import functional
from transformers import BlipForQuestionAnswering, BlipProcessor

from comat_core.support.image_preprocessing import ImagePreprocessing
from comat_core.support.randomness import derive_seed
from data.miniature_world.captions import noun_phrase
from data.miniature_world.datasets import make_scenes
from data.miniature_world.imperfections import decode, disturb
from data.miniature_world.recipes.blip import build_config, build_processor
from data.miniature_world.recipes.diffusion import encode_all
from data.miniature_world.recipes.fitting import draw_rows, fit, initialise, jitter, pixels_to_unit_range
from data.miniature_world.recipes.tokenizers import ENCODER_START
from data.miniature_world.scenes import Scene, SceneObject
from data.miniature_world.seeing import teach_to_see
from data.miniature_world.vocabulary import COLOURS, INVERSE_RELATION, PLAIN, SHAPES, TEXTURES

SCENES = 30_000
IMAGES_PER_STEP = 16
QUESTIONS_PER_IMAGE = 6
LEARNING_RATE = 1e-3
LATENT_NOISE = 0.3
"""In standard deviations of the scaled latents."""

OPEN_SHARE = 0.4
"""Share of questions with open answers, which say more per question than yes or no and so teach faster."""


@dataclass(frozen=True)
class Lesson:
    """A stretch of training: the vision encoder learns to see patch by patch, then all learn to answer."""

    name: str
    seeing_steps: int
    steps: int
    place_share: float
    """Of the questions about scenes of two objects: those that ask where one stands. With any, places are seen too."""


LESSONS: Final = (
    Lesson("visual questions", 2_000, 3_500, 0.0),
    # Asked for places from the start it learns neither these nor the rest; once it knows what stands there, it does.
    Lesson("visual questions, places", 1_200, 3_500, 0.5),
)

Question = tuple[str, str]
"""(question, answer of one word)."""


class Material(NamedTuple):
    """What all lessons are taught on."""

    scenes: list[Scene]
    images: torch.Tensor
    """uint8 (scenes, H, W, 3)."""
    latents: torch.Tensor
    """(scenes, 4, h, w), scaled."""


def train_visual_question_model(autoencoder: Any, seed: int) -> tuple[BlipForQuestionAnswering, BlipProcessor]:
    """Train on balanced scenes of its own, drawn or decoded, half of the closed questions to be answered yes."""
    scenes, pixels = make_scenes("balanced", seed, SCENES)
    material = Material(scenes, torch.from_numpy(pixels), encode_all(autoencoder, pixels))
    processor = build_processor(seed)
    model = BlipForQuestionAnswering(build_config(processor.tokenizer, text_layers=2))
    initialise(model, seed, "visual questions")
    preprocess = ImagePreprocessing.from_processor(processor.image_processor, "the miniature VQA model")
    for lesson in LESSONS:
        _teach_to_see(lesson, model, preprocess, material, seed)
        _teach_to_answer(lesson, model, processor, preprocess, autoencoder, material, seed)
    return model, processor


def _teach_to_answer(
    lesson: Lesson,
    model: BlipForQuestionAnswering,
    processor: BlipProcessor,
    preprocess: ImagePreprocessing,
    autoencoder: Any,
    material: Material,
    seed: int,
) -> None:
    scenes, images, latents = material

    def loss_of_step(step: int) -> torch.Tensor:
        rows = draw_rows(seed, lesson.name, step, SCENES, IMAGES_PER_STEP)
        random_source = random.Random(derive_seed(seed, f"{lesson.name} asked", step))
        asked = [scenes[row] for row in rows.tolist() for _ in range(QUESTIONS_PER_IMAGE)]
        questions = [_any_question(scene, lesson.place_share, random_source) for scene in asked]
        half = len(rows) // 2
        drawn = jitter(pixels_to_unit_range(images[rows[:half]]), seed, step)
        with torch.no_grad():
            decoded = decode(autoencoder, disturb(latents[rows[half:]], seed, step, LATENT_NOISE))
        return _answer_loss(model, processor, preprocess(torch.cat([drawn, decoded])), questions)

    fit(model, loss_of_step, steps=lesson.steps, learning_rate=LEARNING_RATE, name=lesson.name, average_decay=0.99)


def _teach_to_see(
    lesson: Lesson,
    model: BlipForQuestionAnswering,
    preprocess: ImagePreprocessing,
    material: Material,
    seed: int,
) -> None:
    settings: Any = model.config.vision_config

    def patch_features(batch: torch.Tensor) -> torch.Tensor:
        return model.vision_model(pixel_values=preprocess(batch)).last_hidden_state[:, 1:]

    teach_to_see(
        model.vision_model,
        patch_features,
        material.scenes,
        material.images,
        patch_size=settings.patch_size,
        width=settings.hidden_size,
        seed=seed,
        steps=lesson.seeing_steps,
        places=lesson.place_share > 0,
        name=f"{lesson.name}, seeing",
    )


def _any_question(scene: Scene, place_share: float, random_source: random.Random) -> Question:
    openly = random_source.random() < OPEN_SHARE
    if scene.relation is not None and random_source.random() < place_share:
        return ask_openly_for_place(scene, random_source) if openly else ask_for_place(scene, random_source)
    return ask_openly(scene, random_source) if openly else ask(scene, random_source)


def ask(scene: Scene, random_source: random.Random) -> Question:
    """Draw a question about a scene; half of the answers are yes, and most others are no for one word only."""
    item = random_source.choice(scene.objects)
    if random_source.random() < 0.5:
        return _phrase(item, random_source) + "?", "yes"
    for _ in range(20):
        wanted = _altered(item, scene, random_source)
        if not any(_shows(present, wanted) for present in scene.objects):
            return _phrase(wanted, random_source, exact=True) + "?", "no"
    return _phrase(item, random_source) + "?", "yes"


def ask_openly(scene: Scene, random_source: random.Random) -> Question:
    """Draw a question about the colour of a shape, or the shape of a colour, that has one answer."""
    item = random_source.choice(scene.objects)
    others = [other for other in scene.objects if other is not item]
    by_colour = random_source.random() < 0.5
    if by_colour and all(other.shape != item.shape for other in others):
        return f"the colour of the {item.shape}?", item.colour
    if all(other.colour != item.colour for other in others):
        return f"the shape of the {item.colour}?", item.shape
    return _phrase(item, random_source) + "?", "yes"


def ask_for_place(scene: Scene, random_source: random.Random) -> Question:
    """Draw a question of how the objects of a scene of two stand to each other; half of the answers are yes."""
    first, second, relation = _told_from_either(scene, random_source)
    is_right = random_source.random() < 0.5 or first.shape == second.shape
    told = relation if is_right else INVERSE_RELATION[relation]
    phrases = [_phrase(item, random_source, exact=first.shape == second.shape) for item in (first, second)]
    return f"{phrases[0]} {told} {phrases[1]}?", "yes" if is_right else "no"


def ask_openly_for_place(scene: Scene, random_source: random.Random) -> Question:
    """Draw a question of where one object of a scene of two stands: "left", "right", "above" or "below"."""
    item, other, relation = _told_from_either(scene, random_source)
    if item.shape == other.shape:
        return ask(scene, random_source)
    return f"the place of {_phrase(item, random_source)}?", relation.removeprefix("to the ").removesuffix(" of")


def _told_from_either(scene: Scene, random_source: random.Random) -> tuple[SceneObject, SceneObject, str]:
    """The two objects in either order, and how the first one stands to the second."""
    assert scene.relation is not None
    first, second = scene.objects
    if random_source.random() < 0.5:
        return first, second, scene.relation
    return second, first, INVERSE_RELATION[scene.relation]


def _phrase(item: SceneObject, random_source: random.Random, *, exact: bool = False) -> str:
    """Name an object, sometimes without its texture or colour unless asked to be exact."""
    roll = 1.0 if exact else random_source.random()
    texture = PLAIN if roll < 0.3 else item.texture
    return noun_phrase(item.shape, None if roll < 0.08 else item.colour, texture)


def _altered(item: SceneObject, scene: Scene, random_source: random.Random) -> SceneObject:
    """Change one property, most often to that of the scene's other object: the mistakes a generator makes."""
    roll = random_source.random()
    other = random_source.choice(scene.objects)
    if roll < 0.35:
        return _with(item, colour=other.colour)
    if roll < 0.6:
        return _with(item, colour=random_source.choice(tuple(COLOURS)), texture=PLAIN)
    if roll < 0.85:
        return _with(item, shape=random_source.choice(SHAPES), texture=PLAIN)
    return _with(item, texture=random_source.choice(TEXTURES[1:]))


def _with(item: SceneObject, *, shape: str = "", colour: str = "", texture: str = "") -> SceneObject:
    return SceneObject(
        shape or item.shape, colour or item.colour, texture or item.texture, item.x, item.y, item.radius, item.angle
    )


def _shows(present: SceneObject, wanted: SceneObject) -> bool:
    """A textured object still answers a question that names no texture."""
    same_texture = wanted.texture in (PLAIN, present.texture)
    return present.shape == wanted.shape and present.colour == wanted.colour and same_texture


def _answer_loss(
    model: BlipForQuestionAnswering, processor: BlipProcessor, pixel_values: torch.Tensor, questions: Sequence[Question]
) -> torch.Tensor:
    """Cross entropy of the answers and of the token that ends them."""
    tokenizer = processor.tokenizer
    encoding = tokenizer([question for question, _ in questions], padding=True, return_tensors="pt")
    encoding["input_ids"][:, 0] = tokenizer.convert_tokens_to_ids(ENCODER_START)
    answers = torch.tensor([tokenizer.convert_tokens_to_ids(answer) for _, answer in questions])
    seen = model.vision_model(pixel_values=pixel_values).last_hidden_state.repeat_interleave(QUESTIONS_PER_IMAGE, dim=0)
    asked = model.text_encoder(
        input_ids=encoding["input_ids"], attention_mask=encoding["attention_mask"], encoder_hidden_states=seen
    ).last_hidden_state
    text_config: Any = model.config.text_config
    starts = torch.full_like(answers, text_config.bos_token_id)
    logits = model.text_decoder(
        input_ids=torch.stack([starts, answers], dim=1),
        encoder_hidden_states=asked,
        encoder_attention_mask=encoding["attention_mask"],
    ).logits.float()
    endings = torch.full_like(answers, tokenizer.sep_token_id)
    return functional.cross_entropy(logits.flatten(0, 1), torch.stack([answers, endings], dim=1).flatten())
