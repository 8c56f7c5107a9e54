"""GroundingDINO (the groundingdino-py package): boxes for nouns. Importing this module imports that package."""

import argparse
import contextlib
import dataclasses
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from groundingdino.models import build_model
from groundingdino.models.GroundingDINO import groundingdino as package
from torch import Tensor, nn
from torchvision.ops import box_convert, clip_boxes_to_image
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from comat_core.segmenters.checkpoints import put_weights, read_checkpoint
from comat_core.segmenters.noun_captions import NounCaption, write_captions
from comat_core.support.errors import UserError
from comat_core.support.loading_errors import loading_errors_told
from comat_core.support.pretrained import load_tokenizer, read_model_config

_MEAN: Final = [0.485, 0.456, 0.406]
_STD: Final = [0.229, 0.224, 0.225]
_UNUSED_WEIGHTS: Final = ("label_enc.weight", "bert.embeddings.position_ids")
"""In the published files: a leftover of the denoising training, and a buffer that BERT no longer saves."""


@dataclass(frozen=True)
class GroundingDinoConfig:
    """The architecture, in the package's words; the defaults are those of its GroundingDINO_SwinT_OGC.py.

    The Swin-B checkpoint differs by `backbone="swin_B_384_22k"` alone.
    """

    modelname: str = "groundingdino"
    backbone: str = "swin_T_224_1k"
    position_embedding: str = "sine"
    pe_temperatureH: int = 20  # noqa: N815, the package reads it by this name
    pe_temperatureW: int = 20  # noqa: N815
    return_interm_indices: tuple[int, ...] = (1, 2, 3)
    backbone_freeze_keywords: None = None
    enc_layers: int = 6
    dec_layers: int = 6
    pre_norm: bool = False
    dim_feedforward: int = 2048
    hidden_dim: int = 256
    dropout: float = 0.0
    nheads: int = 8
    num_queries: int = 900
    query_dim: int = 4
    num_patterns: int = 0
    num_feature_levels: int = 4
    enc_n_points: int = 4
    dec_n_points: int = 4
    two_stage_type: str = "standard"
    two_stage_bbox_embed_share: bool = False
    two_stage_class_embed_share: bool = False
    transformer_activation: str = "relu"
    dec_pred_bbox_embed_share: bool = True
    dn_box_noise_scale: float = 1.0
    dn_label_noise_ratio: float = 0.5
    dn_label_coef: float = 1.0
    dn_bbox_coef: float = 1.0
    embed_init_tgt: bool = True
    dn_labelbook_size: int = 2000
    max_text_len: int = 256
    use_text_enhancer: bool = True
    use_fusion_layer: bool = True
    use_text_cross_attention: bool = True
    text_dropout: float = 0.0
    fusion_dropout: float = 0.0
    fusion_droppath: float = 0.1
    sub_sentence_present: bool = True


@dataclass(frozen=True)
class Detections:
    """The boxes found in one image, the highest score first."""

    boxes: Tensor
    """(n, 4) float32: left, top, right, bottom in pixels of the image, inside it."""
    scores: Tensor
    """(n,) float32 in (0, 1)."""
    noun_indices: Tensor
    """(n,) integers: which of the image's nouns each box shows."""
    phrases: tuple[str, ...]
    """n texts: the part of that noun which the box answers to."""


class GroundingDinoDetector:
    """Open-vocabulary detection of several nouns at once."""

    def __init__(
        self,
        model: nn.Module,
        *,
        box_threshold: float = 0.3,
        text_threshold: float = 0.25,
        shorter_side: int = 800,
        longer_side: int = 1333,
    ) -> None:
        self.model: Any = model
        self.box_threshold = box_threshold
        self.text_threshold = text_threshold
        self.shorter_side = shorter_side
        self.longer_side = longer_side

    @classmethod
    def load(
        cls,
        checkpoint: str | Path,
        *,
        text_encoder: str = "bert-base-uncased",
        config: GroundingDinoConfig | None = None,
        device: torch.device | str = "cpu",
        **settings: Any,
    ) -> "GroundingDinoDetector":
        """Load a frozen detector.

        Args:
            checkpoint: the published file, which holds {"model": state dict}.
            text_encoder: folder of a BERT and its tokenizer, or the hub id "bert-base-uncased".
            config: the architecture; None is Swin-T.
            settings: thresholds and image sides, as the constructor takes them.

        Raises:
            UserError: the checkpoint or the text encoder cannot be read, or does not fit the architecture.
        """
        weights = read_checkpoint(checkpoint)
        if "model" not in weights:
            raise UserError('the file has no entry "model"', str(checkpoint), "use a published GroundingDINO file")
        model = build_grounding_dino(config or GroundingDinoConfig(), text_encoder)
        named = {name.removeprefix("module."): tensor for name, tensor in weights["model"].items()}
        put_weights(model, named, checkpoint, ignored=_UNUSED_WEIGHTS)
        return cls(model.requires_grad_(False).eval().to(device), **settings)

    @torch.no_grad()
    def detect(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[Detections]:
        """Find nouns[i] in images[i].

        A box belongs to the one noun whose tokens it answers to most; its score is the highest probability among
        them. It counts if that exceeds the box threshold, and if any token of the noun exceeds the text threshold.

        Args:
            images: (B, 3, H, W) in [0, 1]; values outside are clamped.
            nouns: per image any number of nouns or short noun phrases, none included.
        """
        assert len(images) == len(nouns), f"{len(images)} images for {len(nouns)} lists of nouns"
        detections = []
        for image, of_image in zip(images, nouns, strict=True):
            captions = write_captions(self.model.tokenizer, of_image, self.model.max_text_len)
            detections.append(_merge([self._ask(image, caption) for caption in captions], images.device))
        return detections

    def _ask(self, image: Tensor, caption: NounCaption) -> Detections:
        """Run the model on one (3, H, W) image and one caption.

        Never on several: the package's text layers hand the attention masks of a batch's captions to the wrong rows, so
        that the boxes of an image would depend on what is asked of its neighbours.
        """
        with torch.autocast(image.device.type, enabled=False):
            output = self.model(self._preprocess(image[None]), captions=[caption.text])
        return self._read_boxes(output["pred_logits"][0].sigmoid(), output["pred_boxes"][0], caption, image.shape[-2:])

    def _preprocess(self, images: Tensor) -> Tensor:
        """Resize as the detector was trained: the shorter side to a length, unless the longer gets too long."""
        height, width = images.shape[-2:]
        shorter, longer = min(height, width), max(height, width)
        target = self.shorter_side
        if longer / shorter * target > self.longer_side:
            target = round(self.longer_side * shorter / longer)
        size = [target, int(target * width / height)] if height <= width else [int(target * height / width), target]
        resized = transforms.resize(images.float().clamp(0, 1), size, InterpolationMode.BILINEAR, antialias=True)
        return transforms.normalize(resized, _MEAN, _STD)

    def _read_boxes(
        self, probabilities: Tensor, boxes: Tensor, caption: NounCaption, image_size: Sequence[int]
    ) -> Detections:
        """Keep the queries that answer to a noun.

        Args:
            probabilities: (queries, tokens).
            boxes: (queries, 4), centre and size as fractions of the image.
            image_size: (height, width) in pixels.
        """
        of_nouns = [probabilities[:, span.start : span.stop].amax(dim=1) for span in caption.token_spans]
        scores, places = torch.stack(of_nouns, dim=1).max(dim=1)
        kept = (scores > max(self.box_threshold, self.text_threshold)).nonzero()[:, 0]
        phrases = []
        for query in kept.tolist():
            span = caption.token_spans[int(places[query])]
            columns = [column for column in span if probabilities[query, column] > self.text_threshold]
            phrases.append(caption.phrase(columns))
        height, width = image_size
        corners = box_convert(boxes[kept], "cxcywh", "xyxy") * boxes.new_tensor([width, height, width, height])
        noun_indices = torch.tensor(caption.noun_indices, device=boxes.device)[places[kept]]
        return Detections(clip_boxes_to_image(corners, (height, width)), scores[kept], noun_indices, tuple(phrases))


def build_grounding_dino(config: GroundingDinoConfig, text_encoder: str) -> nn.Module:
    """Build the package's model in float32, with random weights but for the text encoder's.

    Raises:
        UserError: the text encoder cannot be read.
    """
    options = argparse.Namespace(
        **dataclasses.asdict(config),
        text_encoder_type=text_encoder,
        # Gradient checkpointing is of no use to a frozen detector.
        use_checkpoint=False,
        use_transformer_ckpt=False,
    )
    options.return_interm_indices = list(config.return_interm_indices)
    problem = "cannot load the detector's text encoder"
    # The package itself would ask on the terminal whether code that comes with them may run.
    read_model_config(text_encoder, problem=problem)
    load_tokenizer(text_encoder)
    told = loading_errors_told(problem, text_encoder, "give a BERT folder with its tokenizer")
    # The package prints the encoder's name; standard output belongs to the command line's own result.
    with told, _own_text_encoder(), contextlib.redirect_stdout(io.StringIO()):
        return build_model(options).float()


class TextEncoder(nn.Module):
    """BERT as GroundingDINO calls it: with its own attention mask and positions for each phrase of the caption.

    It stands in for the package's `BertModelWarper`, which needs methods that transformers has removed. The sub-modules
    keep their names, so that checkpoints fit.
    """

    def __init__(self, bert_model: Any) -> None:
        super().__init__()
        self.config = bert_model.config
        self.embeddings = bert_model.embeddings
        self.encoder = bert_model.encoder
        self.pooler = bert_model.pooler

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor,
        token_type_ids: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Encode (B, L) tokens into {"last_hidden_state": (B, L, D)}.

        Args:
            attention_mask: (B, L, L) booleans, true where the row's token may look at the column's.
        """
        states = self.embeddings(input_ids=input_ids, position_ids=position_ids, token_type_ids=token_type_ids)
        blocked = torch.zeros_like(attention_mask, dtype=states.dtype)
        blocked = blocked.masked_fill(~attention_mask, torch.finfo(states.dtype).min)
        return {"last_hidden_state": self.encoder(states, attention_mask=blocked[:, None]).last_hidden_state}


@contextlib.contextmanager
def _own_text_encoder() -> Iterator[None]:
    """Let the package build its model with our `TextEncoder`; put back what was there."""
    original = package.BertModelWarper
    package.BertModelWarper = TextEncoder
    try:
        yield
    finally:
        package.BertModelWarper = original


def _merge(parts: Sequence[Detections], device: torch.device) -> Detections:
    """Join the detections of an image's captions, the highest score first."""
    if not parts:
        nothing = torch.zeros(0, device=device)
        return Detections(nothing.view(0, 4), nothing, nothing.long(), ())
    scores = torch.cat([part.scores for part in parts])
    order = scores.argsort(descending=True, stable=True)
    phrases = [phrase for part in parts for phrase in part.phrases]
    return Detections(
        torch.cat([part.boxes for part in parts])[order],
        scores[order],
        torch.cat([part.noun_indices for part in parts])[order],
        tuple(phrases[index] for index in order.tolist()),
    )
