import numpy as np
import pytest
import torch

from comat_core.metrics.geneval import COLOURS, Detection
from comat_core.scorers.zero_shot_colours import ColourClassifier, crop_object
from tests.tiny_clip import save_tiny_clip


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return ColourClassifier.load(save_tiny_clip(tmp_path_factory.mktemp("clip")))


def random_image(seed, side=40):
    return torch.rand(3, side, side, generator=torch.Generator().manual_seed(seed))


def test_a_box_is_cut_out_and_what_is_not_of_the_mask_turns_grey():
    image = random_image(0)
    mask = np.zeros((40, 40), dtype=np.bool_)
    mask[10:14, 20:30] = True
    crop = crop_object(image, Detection(20, 10, 30, 20, 0.9, mask))
    assert crop.shape == (3, 10, 10)
    assert torch.equal(crop[:, :4], image[:, 10:14, 20:30])
    assert torch.equal(crop[:, 4:], torch.full((3, 6, 10), 0x99 / 255))
    assert torch.equal(crop_object(image, Detection(20, 10, 30, 20, 0.9)), image[:, 10:20, 20:30])


@pytest.mark.parametrize(
    ("detected", "expected"),
    [
        (Detection(0.6, 1.4, 5.2, 7.7, 0.9), (slice(1, 8), slice(1, 5))),  # rounded
        (Detection(-3.0, 35.0, 4.0, 60.0, 0.9), (slice(35, 40), slice(0, 4))),  # inside the image
        (Detection(7.0, 7.0, 7.3, 7.3, 0.9), (slice(7, 8), slice(7, 8))),  # at least one pixel
        (Detection(39.9, 39.9, 40.0, 40.0, 0.9), (slice(39, 40), slice(39, 40))),
    ],
)
def test_boxes_are_cut_at_whole_pixels(detected, expected):
    image = random_image(1)
    rows, columns = expected
    assert torch.equal(crop_object(image, detected), image[:, rows, columns])


def test_the_colour_is_that_of_the_nearest_mean_description(classifier):
    image = random_image(2)
    boxes = [Detection(0, 0, 20, 20, 0.9), Detection(15, 5, 40, 40, 0.8)]
    expected = []
    for one in boxes:
        crop = classifier.preprocess(crop_object(image, one)[None])
        similarities = []
        for colour in COLOURS:
            texts = [
                f"a photo of a {colour} dog",
                f"a photo of a {colour}-colored dog",
                f"a photo of a {colour} object",
            ]
            directions = []
            for text in texts:
                tokens = classifier.tokenizer(text, truncation=True, max_length=24, return_tensors="pt")
                with torch.no_grad():
                    output = classifier.model(pixel_values=crop, **tokens)
                directions.append(output.text_embeds[0])
            mean = torch.stack(directions).mean(dim=0)
            similarities.append(torch.cosine_similarity(output.image_embeds[0], mean, dim=0).item())
        expected.append(COLOURS[int(np.argmax(similarities))])
    assert classifier.classify(image, "dog", boxes) == expected
    assert classifier.classify(image, "dog", []) == []
