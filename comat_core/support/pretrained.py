"""Load frozen transformers models, and refuse checkpoints that would silently be another model or half random.

Code that comes with a checkpoint is never run, nor is anybody asked whether it may be.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Self, TypeVar

import torch
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoProcessor,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
)

from comat_core.support.checkpoint_files import (
    FP16,
    TRANSFORMERS_STEM,
    Network,
    refuse_foreign_kernels,
    weights_variant,
)
from comat_core.support.errors import UserError
from comat_core.support.image_preprocessing import ImagePreprocessing
from comat_core.support.loading_bars import without_loading_bars
from comat_core.support.loading_errors import NO_SUCH_FILE, loading_errors_told

Model = TypeVar("Model", bound=PreTrainedModel)

ADVICE: Final = "give a folder saved by save_pretrained, or a reachable hub id"


class FrozenReader:
    """A frozen model that reads images and text, with its processor's parts; a subclass names the model's class."""

    model_class: ClassVar[type[PreTrainedModel]]
    contained_in: ClassVar[type[PreTrainedModel] | None] = None
    """A larger model of which it is a part, and from whose checkpoints transformers can read it."""

    def __init__(self, model: PreTrainedModel, processor: Any) -> None:
        self.model: Any = model
        self.preprocess: Any = self.preprocessing_of(processor.image_processor, str(model.name_or_path))
        self.tokenizer = processor.tokenizer

    @classmethod
    def preprocessing_of(cls, image_processor: Any, where: str) -> Any:
        """Turn what the checkpoint's own processor does to an image into what lets the gradient through."""
        return ImagePreprocessing.from_processor(image_processor, where)

    @classmethod
    def load_processor(cls, folder: str, revision: str | None) -> Any:
        """Load what reads images and text for the model: `image_processor`, `tokenizer` and `chat_template`."""
        return load_processor(folder, revision)

    @classmethod
    def load(
        cls,
        folder: str,
        *,
        revision: str | None = None,
        processor: tuple[str, str | None] | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        **settings: Any,
    ) -> Self:
        """Load model and processor from a folder or hub id.

        Args:
            processor: folder or hub id, and revision, of the processor where the checkpoint comes without one.
            settings: of the class's constructor.

        Raises:
            UserError: there is no complete checkpoint of the model's class.
        """
        model = load_frozen_model(
            cls.model_class, folder, revision=revision, contained_in=cls.contained_in, dtype=dtype, device=device
        )
        return cls(model, cls.load_processor(*(processor or (folder, revision))), **settings)


def load_frozen_model(
    model_class: type[Model],
    folder: str,
    *,
    revision: str | None = None,
    contained_in: type[PreTrainedModel] | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    **options: Any,
) -> Model:
    """Load a model for inference and input gradients only: evaluation mode, no parameter asks for a gradient.

    Args:
        model_class: the transformers class the checkpoint was saved from.
        folder: a local folder or a hub id.
        revision: a hub id's branch, tag or commit.
        contained_in: a larger model whose checkpoints are as good.
        options: of the class's constructor, beside the config.

    Raises:
        UserError: the checkpoint cannot be read, is of another architecture, or lacks some of the weights.
    """
    _check_architecture([model_class, *([contained_in] if contained_in else [])], folder, revision)
    model, report = load_with_report(model_class, folder, revision, dtype=dtype, **options)
    missing = sorted(report["missing_keys"])
    if missing:
        raise UserError(
            f"the checkpoint lacks {len(missing)} weights of {model_class.__name__}, among them {missing[0]}",
            folder,
            "use a complete checkpoint of this model class",
        )
    return model.requires_grad_(False).eval().to(device)


def load_with_report(model_class: Any, folder: str, revision: str | None, **options: Any) -> tuple[Any, dict[str, Any]]:
    """Load a model of transformers, and what the library says of weights that it had to make up.

    Raises:
        UserError: the checkpoint cannot be read.
    """
    settings = {"revision": revision, "output_loading_info": True, "trust_remote_code": False, **options}

    def load(variant: str | None) -> tuple[Any, dict[str, Any]]:
        with loading_errors_told("cannot load the model", folder, ADVICE), without_loading_bars():
            return model_class.from_pretrained(folder, variant=variant, **settings)

    if Path(folder).is_dir():
        return load(weights_variant(Network("the model", Path(folder), (TRANSFORMERS_STEM,), reads_pickles=True)))
    try:
        return load(None)
    except UserError as error:
        if NO_SUCH_FILE not in error.what:
            raise
        try:
            return load(FP16)
        except UserError:
            raise error from error.__cause__


def load_processor(folder: str, revision: str | None = None) -> Any:
    """Load the processor (tokenizer and image processor) saved beside a model.

    Raises:
        UserError: the folder holds no processor that transformers can read.
    """
    with loading_errors_told("cannot load the model's processor", folder, ADVICE):
        return AutoProcessor.from_pretrained(folder, revision=revision, trust_remote_code=False)


def load_image_processor(folder: str, revision: str | None = None) -> Any:
    """Load the image processor saved beside a model that reads no text.

    Raises:
        UserError: the folder holds none that transformers can read.
    """
    with loading_errors_told("the model has no image processor", folder, "save it beside the model"):
        return AutoImageProcessor.from_pretrained(folder, revision=revision, trust_remote_code=False)


def load_tokenizer(folder: str, revision: str | None = None, **options: Any) -> Any:
    """Load the tokenizer saved beside a model, or in the subfolder that the options name.

    Raises:
        UserError: the folder holds none that transformers can read.
    """
    with loading_errors_told("the model has no tokenizer", folder, ADVICE):
        return AutoTokenizer.from_pretrained(folder, revision=revision, trust_remote_code=False, **options)


def read_model_config(folder: str, revision: str | None = None, problem: str = "cannot load the model") -> Any:
    """Read the config of a model of any class.

    Args:
        problem: what to say if there is none.

    Raises:
        UserError: there is none that transformers can read, or it asks for code that does not come with the library.
    """
    with loading_errors_told(problem, folder, ADVICE):
        values, _ = PreTrainedConfig.get_config_dict(folder, revision=revision)
        refuse_foreign_kernels(values, folder)
        return AutoConfig.from_pretrained(folder, revision=revision, trust_remote_code=False)


def _check_architecture(model_classes: Sequence[Any], folder: str, revision: str | None) -> None:
    """Make sure that a checkpoint is one of the given classes' own."""
    config = read_model_config(folder, revision)
    architectures = config.architectures or []
    fitting = [kind for kind in model_classes if config.model_type == kind.config_class.model_type]
    if not any(not architectures or kind.__name__ in architectures for kind in fitting):
        found, wanted = " or ".join(architectures) or config.model_type, model_classes[0].__name__
        raise UserError(
            f"the checkpoint is a {found}, not a {wanted}",
            folder,
            "name a checkpoint of the right kind",
        )
