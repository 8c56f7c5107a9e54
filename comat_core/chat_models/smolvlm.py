"""SmolVLM and SmolVLM2: the whole image in one square, however the checkpoint's processor would split it."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from torch import Tensor
from torchvision.transforms.v2 import functional as transforms
from transformers import SmolVLMForConditionalGeneration, SmolVLMProcessor
from transformers.models.smolvlm.image_processing_smolvlm import get_resize_output_image_size

from comat_core.chat_models.chat_model import ChatModel, SeenImages
from comat_core.support.errors import UserError
from comat_core.support.loading_errors import loading_errors_told
from comat_core.support.numerics import at_least_float32
from comat_core.support.pretrained import ADVICE, load_image_processor, load_tokenizer
from comat_core.support.separable_resizing import FILTERS, resize_separably, resizing_matrix


@dataclass(frozen=True)
class SquarePreprocessing:
    """The processor's two resizings, to a length of the longer side and then to a square, and its normalisation.

    Split images, as the published checkpoints have them by default, are left out: a 512 px image would become 17
    squares and the decoder's sequence as many times longer, for details that a caption's likelihood hardly needs.
    """

    longest: int
    """Of the first resizing: pixels of the longer side; the ratio is kept to an even number of pixels."""
    side: int
    """Of the square, in pixels."""
    resample: int
    """PIL's number of the filter."""
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def from_processor(cls, image_processor: Any, where: str) -> "SquarePreprocessing":
        """Read the settings of a checkpoint's own image processor.

        Raises:
            UserError: the processor does something that this class cannot reproduce.
        """
        resample, longest = int(image_processor.resample), image_processor.size["longest_edge"]
        rescales = image_processor.do_rescale and abs(image_processor.rescale_factor * 255 - 1) < 1e-6
        resizes = image_processor.do_resize and image_processor.do_normalize and longest
        if resample not in FILTERS or not rescales or not resizes:
            raise UserError(
                "the image processor does not resize by its longest edge, does not rescale by 1/255,"
                " does not normalise, or uses an unknown filter",
                where,
                "use a checkpoint with the processor that SmolVLM was published with",
            )
        return cls(
            longest=longest,
            side=image_processor.max_image_size["longest_edge"],
            resample=resample,
            mean=tuple(image_processor.image_mean),
            std=tuple(image_processor.image_std),
        )

    def __call__(self, images: Tensor) -> Tensor:
        """Turn (B, 3, H, W) images in [0, 1], of any size and float type, into (B, 3, side, side), float32 at least."""
        between = get_resize_output_image_size(images, self.longest)
        matrices = (
            resizing_matrix(self.resample, (before, middle, self.side))
            for before, middle in zip(images.shape[-2:], between, strict=True)
        )
        return transforms.normalize(resize_separably(at_least_float32(images), *matrices), [*self.mean], [*self.std])


class SmolVisionLanguage(ChatModel):
    """SmolVLM: a SigLIP that looks at one square, and a Llama that reads a few dozen tokens of it."""

    model_class = SmolVLMForConditionalGeneration

    @classmethod
    def preprocessing_of(cls, image_processor: Any, where: str) -> SquarePreprocessing:
        """Read how the checkpoint's own processor prepares an image that it does not split."""
        return SquarePreprocessing.from_processor(image_processor, where)

    @classmethod
    def load_processor(cls, folder: str, revision: str | None) -> Any:
        """Load its parts: as a whole it asks for a package that only the captions of videos need."""
        with loading_errors_told("cannot load the model's processor", folder, ADVICE):
            settings, _ = SmolVLMProcessor.get_processor_dict(folder, revision=revision)
        return SimpleNamespace(
            image_processor=load_image_processor(folder, revision),
            tokenizer=load_tokenizer(folder, revision),
            chat_template=settings.get("chat_template"),
        )

    @property
    def most_image_tokens(self) -> int:
        """Those of the one square."""
        return self.model.model.image_seq_len

    def given(self, instruction: str) -> str:
        """The chat's text, with the tokens around an image that its processor puts there; see `ChatModel`."""
        around = getattr(self.tokenizer, "fake_image_token", "<fake_token_around_image>")
        whole = getattr(self.tokenizer, "global_image_token", "<global-img>")
        image = self.image_token
        return super().given(instruction).replace(image, f"{around}{whole}{image}{around}")

    def see(self, images: Tensor) -> SeenImages:
        """Show the squares to the vision tower; see `ChatModel`."""
        model = self.model.model
        states = model.vision_model(pixel_values=self.preprocess(images).to(self.model.dtype)).last_hidden_state
        features = model.connector(states)
        side = round(features.shape[1] ** 0.5)
        return SeenImages(features, (side, side))
