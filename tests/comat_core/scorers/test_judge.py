import pytest
import torch
from transformers import ConvNextImageProcessor, ResNetConfig, ResNetForImageClassification

from comat_core.scorers.judge import Judge, PairVocabulary, RequiredObject, score_image
from comat_core.support.errors import UserError
from comat_core.support.randomness import make_generator

LABELS = ["red circle", "blue circle", "red square", "blue square", "dark green star"]


@pytest.fixture
def vocabulary():
    return PairVocabulary(LABELS)


def required(*pairs):
    return [RequiredObject(shape, colour) for colour, shape in pairs]


def seen(**probabilities):
    names = {"rc": ("red", "circle"), "bc": ("blue", "circle"), "rs": ("red", "square"), "bs": ("blue", "square")}
    return {pair: probabilities.get(name, 0.0) for name, pair in names.items()}


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a red circle and a striped blue square", [("red", "circle"), ("blue", "square")]),
        ("A Red circle, to the left of a BLUE square.", [("red", "circle"), ("blue", "square")]),
        ("a red striped circle above a square", [("red", "circle"), (None, "square")]),
        ("a circle that is blue below a red square", [("blue", "circle"), ("red", "square")]),
        ("a dotted circle that is striped and red and a blue square", [("red", "circle"), ("blue", "square")]),
        ("a circle and a blue square", [(None, "circle"), ("blue", "square")]),
        ("a red car beside a circle", [(None, "circle")]),
        ("a red circle and a red circle", [("red", "circle")]),
        ("a dog on a beach", []),
    ],
)
def test_required_objects_are_read_from_the_prompt(vocabulary, prompt, expected):
    assert vocabulary.required_objects(prompt) == required(*expected)


def test_class_names_that_are_no_pairs_are_the_users_mistake():
    with pytest.raises(UserError, match="class 'tench' is no colour-shape pair"):
        PairVocabulary(["red circle", "tench"])


def test_everything_right():
    score = score_image(seen(rc=0.9, bs=0.8), required(("red", "circle"), ("blue", "square")))
    assert (score.object_accuracy, score.attribute_accuracy, score.all_right, score.exact) == (1, 1, 1, 1)


def test_swapped_colours_are_right_objects_with_wrong_attributes():
    score = score_image(seen(bc=0.9, rs=0.8), required(("red", "circle"), ("blue", "square")))
    assert (score.object_accuracy, score.attribute_accuracy, score.all_right, score.exact) == (1, 0, 0, 0)
    assert score.exchanged == 1


@pytest.mark.parametrize(
    ("pairs", "wanted"),
    [
        (seen(rc=0.9, bs=0.8), [("red", "circle"), ("blue", "square")]),
        (seen(bc=0.9, bs=0.8), [("red", "circle"), ("blue", "square")]),
        (seen(bc=0.9, rs=0.8), [("red", "circle"), (None, "square")]),
        (seen(rc=0.9, bc=0.8), [("red", "circle"), ("blue", "circle")]),
        (seen(rc=0.9, rs=0.8), [("red", "circle"), ("red", "square")]),
        (seen(bc=0.9), [("red", "circle")]),
    ],
)
def test_colours_are_exchanged_only_between_two_objects_that_differ_in_both(pairs, wanted):
    assert score_image(pairs, required(*wanted)).exchanged == 0


def test_a_missing_object_counts_half_of_two():
    score = score_image(seen(rc=0.9), required(("red", "circle"), ("blue", "square")))
    assert (score.object_accuracy, score.attribute_accuracy, score.all_right) == (0.5, 0.5, 0)


def test_two_objects_of_one_shape_need_two_such_shapes():
    both = required(("red", "circle"), ("blue", "circle"))
    assert score_image(seen(rc=0.95), both).object_accuracy == 0.5
    assert score_image(seen(rc=0.95, bc=0.7), both).object_accuracy == 1.0


def test_a_shape_in_doubtful_colour_is_still_a_shape():
    score = score_image(seen(rc=0.45, bc=0.45), required(("red", "circle")))
    assert (score.object_accuracy, score.attribute_accuracy) == (1.0, 0.0)


def test_an_object_without_a_colour_is_right_in_any():
    assert score_image(seen(bc=0.9), required((None, "circle"))).all_right == 1


def test_a_surplus_object_is_all_right_but_not_exact():
    score = score_image(seen(rc=0.9, bs=0.9), required(("red", "circle")))
    assert (score.all_right, score.exact) == (1, 0)


def test_exactly_half_is_not_present():
    assert score_image(seen(rc=0.5), required(("red", "circle"))).attribute_accuracy == 0


@pytest.fixture(scope="module")
def judge_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judge")
    config = ResNetConfig(
        embedding_size=4,
        hidden_sizes=[4, 8],
        depths=[1, 1],
        layer_type="basic",
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
        problem_type="multi_label_classification",
    )
    model = ResNetForImageClassification(config)
    generator = make_generator(0, "test judge")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    model.save_pretrained(folder)
    ConvNextImageProcessor(
        size={"height": 32, "width": 32}, image_mean=[0.5] * 3, image_std=[0.5] * 3, resample=2, do_resize=True
    ).save_pretrained(folder)
    return str(folder)


def test_judge_gives_the_models_own_logits_and_pooled_features(judge_folder):
    judge = Judge.load(judge_folder)
    assert judge.vocabulary.labels == tuple(LABELS)
    images = torch.rand(3, 3, 32, 32, generator=make_generator(1, "test images"))
    probabilities, features = judge.look_at(images)
    with torch.no_grad():
        expected = judge.model(pixel_values=images * 2 - 1, output_hidden_states=True)
    torch.testing.assert_close(probabilities, expected.logits.sigmoid())
    torch.testing.assert_close(features, expected.hidden_states[-1].mean(dim=(2, 3)))
    assert judge.as_pairs(probabilities[1])["dark green", "star"] == pytest.approx(probabilities[1, 4].item())


def test_a_folder_without_a_judge_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match="cannot load the model"):
        Judge.load(str(tmp_path))
