"""GroundingDINO from the package, against the package's own functions where these still run."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import groundingdino.config.GroundingDINO_SwinT_OGC as swin_t_config
import groundingdino.datasets.transforms as package_transforms
import pytest
import torch
from groundingdino.models.GroundingDINO import groundingdino as package
from groundingdino.util.inference import predict
from torch import Tensor
from torchvision.ops import box_convert
from torchvision.transforms.v2.functional import to_pil_image
from transformers import BertModel

from comat_core.segmenters.grounding_dino import GroundingDinoConfig, GroundingDinoDetector, TextEncoder
from comat_core.support.errors import UserError
from tests.pictures import natural_picture, natural_pictures
from tests.tiny_captioners import word_piece_tokenizer
from tests.tiny_segmenters import TINY_DETECTOR


class ScriptedModel(torch.nn.Module):
    """Answers every pair with the same boxes and token probabilities."""

    def __init__(self, probabilities: list[list[float]], boxes: list[list[float]]) -> None:
        super().__init__()
        self.tokenizer = word_piece_tokenizer()
        self.max_text_len = 256
        self.probabilities = torch.tensor(probabilities)
        self.boxes = torch.tensor(boxes)
        self.captions: list[str] = []

    def forward(self, images: Tensor, captions: list[str]) -> dict[str, Tensor]:
        self.captions += captions
        logits = self.probabilities.logit().expand(len(images), -1, -1)
        return {"pred_logits": logits, "pred_boxes": self.boxes.expand(len(images), -1, -1)}


def scripted(rows: list[list[float]], **settings: Any) -> GroundingDinoDetector:
    boxes = [[0.5, 0.5, 0.1 * (row + 1), 0.2] for row in range(len(rows))]
    return GroundingDinoDetector(ScriptedModel(rows, boxes), **settings)


def test_default_config_is_the_package_s_swin_t() -> None:
    ours = vars(GroundingDinoConfig())
    left_out = {"batch_size", "text_encoder_type", "use_checkpoint", "use_transformer_ckpt"}
    theirs = {name: value for name, value in vars(swin_t_config).items() if not name.startswith("__")}

    assert {**ours, "return_interm_indices": list(ours["return_interm_indices"])} == {
        name: value for name, value in theirs.items() if name not in left_out
    }


def test_text_encoder_equals_bert_with_the_same_mask(text_encoder: str) -> None:
    bert = BertModel.from_pretrained(text_encoder).eval()
    tokens = word_piece_tokenizer()(["dog . hot dog ."], return_tensors="pt")
    mask = torch.ones(1, 7, 7).tril().bool()
    position_ids = torch.tensor([[0, 0, 1, 0, 1, 2, 0]])
    with torch.no_grad():
        expected = bert(
            input_ids=tokens["input_ids"],
            attention_mask=torch.zeros(1, 1, 7, 7).masked_fill(~mask, torch.finfo(torch.float32).min),
            position_ids=position_ids,
        ).last_hidden_state
        result = TextEncoder(bert)(tokens["input_ids"], mask, position_ids, tokens["token_type_ids"])

    torch.testing.assert_close(result["last_hidden_state"], expected)


def test_package_is_left_as_it_was(detector: GroundingDinoDetector) -> None:
    assert isinstance(detector.model.bert, TextEncoder)
    assert package.BertModelWarper.__module__ == "groundingdino.models.GroundingDINO.bertwarper"


@pytest.mark.parametrize("size", [(64, 64), (50, 80), (40, 100), (90, 60)])
def test_images_are_resized_as_the_package_does(detector: GroundingDinoDetector, size: tuple[int, int]) -> None:
    image = natural_picture(*size)
    transform = package_transforms.Compose(
        [
            package_transforms.RandomResize([64], max_size=112),
            package_transforms.ToTensor(),
            package_transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    expected, _ = transform(to_pil_image((image * 255).round().to(torch.uint8)), None)
    result = detector._preprocess(image[None])[0]

    assert result.shape == expected.shape
    assert (result - expected).abs().max() < 1.5 / 255 / 0.224


def test_boxes_equal_the_package_s_own_prediction(detector: GroundingDinoDetector) -> None:
    """With the threshold at zero all queries are kept by both, in another order."""
    image = natural_picture(64, 64)
    everything = copy.copy(detector)
    everything.box_threshold = everything.text_threshold = 0.0
    boxes, _, _ = predict(detector.model, detector._preprocess(image[None])[0], "dog . star", 0.0, 0.0, device="cpu")

    (detections,) = everything.detect(image[None], [["dog", "star"]])

    expected = (box_convert(boxes, "cxcywh", "xyxy") * 64).clamp(0, 64)
    assert len(detections.boxes) == TINY_DETECTOR.num_queries
    assert torch.cdist(detections.boxes, expected).amin(dim=1).max() < 1e-2
    assert torch.cdist(expected, detections.boxes).amin(dim=1).max() < 1e-2
    assert (detections.scores.diff() <= 0).all()
    assert detections.scores.std() > 1e-3


def test_an_image_does_not_depend_on_its_batch(detector: GroundingDinoDetector) -> None:
    images = natural_pictures(3, 64, 64)
    everything = copy.copy(detector)
    everything.box_threshold = everything.text_threshold = 0.0
    nouns = [["dog"], [], ["hot dog", "striped zebras", "heart"]]

    together = everything.detect(images, nouns)
    alone = [everything.detect(images[row : row + 1], nouns[row : row + 1])[0] for row in range(3)]

    assert [len(of_image.boxes) for of_image in together] == [20, 0, 20]
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one.scores, other.scores, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(one.boxes, other.boxes, rtol=1e-3, atol=1e-2)


def test_caption_joins_the_nouns() -> None:
    detector = scripted([[0.1] * 256])
    detector.detect(natural_pictures(2, 20, 20), [["Dog", "hot dogs"], ["cat"]])

    assert detector.model.captions == ["dog . hot dogs .", "cat ."]


def test_box_belongs_to_the_noun_whose_tokens_answer_most() -> None:
    """Columns of "dog . hot dogs .": [CLS] dog . hot dog ##s . [SEP]."""
    rows = [
        [0.0, 0.9, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.4, 0.0, 0.1, 0.6, 0.5, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.31, 0.2, 0.0, 0.0, 0.0],
        [0.0, 0.29, 0.0, 0.29, 0.2, 0.2, 0.0, 0.0],
        [0.9, 0.1, 0.9, 0.1, 0.1, 0.1, 0.9, 0.9],
    ]
    (detections,) = scripted(rows).detect(natural_pictures(1, 20, 40), [["dog", "hot dogs"]])

    torch.testing.assert_close(detections.scores, torch.tensor([0.9, 0.6, 0.31]))
    assert detections.noun_indices.tolist() == [0, 1, 1]
    assert detections.phrases == ("dog", "dogs", "hot")
    widths = detections.boxes[:, 2] - detections.boxes[:, 0]
    torch.testing.assert_close(widths, torch.tensor([4.0, 8.0, 12.0]))
    torch.testing.assert_close(detections.boxes[0], torch.tensor([18.0, 8.0, 22.0, 12.0]))


def test_nouns_that_the_detector_cannot_read_keep_the_indices_of_the_others_right() -> None:
    (detections,) = scripted([[0.0, 0.9, 0.0]]).detect(natural_pictures(1, 20, 20), [["?!."[:1], "dog"]])

    assert detections.noun_indices.tolist() == [1]


def test_thresholds_are_settings() -> None:
    rows = [[0.0, 0.28, 0.0], [0.0, 0.5, 0.0]]
    images = natural_pictures(1, 20, 20)

    assert len(scripted(rows).detect(images, [["dog"]])[0].boxes) == 1
    assert len(scripted(rows, box_threshold=0.2).detect(images, [["dog"]])[0].boxes) == 2
    assert len(scripted(rows, text_threshold=0.6).detect(images, [["dog"]])[0].boxes) == 0


def test_boxes_stay_inside_the_image() -> None:
    detector = GroundingDinoDetector(ScriptedModel([[0.0, 0.9, 0.0]], [[0.0, 1.0, 0.5, 0.5]]))
    (detections,) = detector.detect(natural_pictures(1, 20, 40), [["dog"]])

    torch.testing.assert_close(detections.boxes, torch.tensor([[0.0, 15.0, 10.0, 20.0]]))


def test_detector_is_frozen(detector: GroundingDinoDetector) -> None:
    assert not detector.model.training
    assert not any(parameter.requires_grad for parameter in detector.model.parameters())


def test_checkpoint_of_another_size(detector_file: str, text_encoder: str) -> None:
    with pytest.raises(UserError, match="does not fit the model"):
        GroundingDinoDetector.load(detector_file, text_encoder=text_encoder)


def test_checkpoint_without_the_model_entry(tmp_path: Path, text_encoder: str) -> None:
    torch.save({"weights": {}}, tmp_path / "other.pth")

    with pytest.raises(UserError, match='no entry "model"'):
        GroundingDinoDetector.load(tmp_path / "other.pth", text_encoder=text_encoder)


def test_checkpoint_that_would_run_code_is_refused(tmp_path: Path, text_encoder: str) -> None:
    torch.save({"model": SimpleNamespace()}, tmp_path / "unsafe.pth")

    with pytest.raises(UserError, match="cannot read the checkpoint"):
        GroundingDinoDetector.load(tmp_path / "unsafe.pth", text_encoder=text_encoder)


def test_absent_text_encoder(detector_file: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot load the detector's text encoder"):
        GroundingDinoDetector.load(detector_file, text_encoder=str(tmp_path / "nothing"), config=TINY_DETECTOR)
