"""A denoiser's LoRA as files, in the form that the stock pipeline's users load."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from diffusers.utils import convert_state_dict_to_diffusers, convert_unet_state_dict_to_peft
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from safetensors.torch import load_file
from torch import Tensor, nn

from comat_core.files.safetensors_files import save_with_metadata

_PEFT_PREFIX: Final = "base_model.model."
"""What the names begin with that a network has inside peft's wrapper."""


@dataclass(frozen=True)
class AdaptedNetwork:
    """One adapter, there or to be added, of a pipeline's denoiser."""

    pipeline: Any
    part: str
    """Name of the pipeline's denoiser."""
    name: str
    """Of the adapter."""

    @property
    def denoiser(self) -> Any:
        """The network itself."""
        return getattr(self.pipeline, self.part)

    def weights(self) -> dict[str, Tensor]:
        """The adapter's, under peft's names without the adapter's own."""
        return get_peft_model_state_dict(self.denoiser, adapter_name=self.name)


class LoraFiles(ABC):
    """A form in which adapters lie in a folder."""

    file_name: ClassVar[str]
    """Of the weights."""
    usage: ClassVar[tuple[str, ...]]
    """Lines of Python that load "FOLDER_OF_THIS_FILE" onto `pipeline`."""

    @abstractmethod
    def save(self, network: AdaptedNetwork, folder: Path, metadata: Mapping[str, str]) -> Path:
        """Write an adapter with notes in the file's header; return the file of the weights."""

    @abstractmethod
    def load(self, network: AdaptedNetwork, file: Path) -> Mapping[str, Tensor]:
        """Add the adapter that a file holds to the denoiser.

        Returns:
            Its weights under peft's names, as they stand in the file.

        Raises:
            OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError: it cannot be read, or is another
                model's.
        """


class StockLoraFiles(LoraFiles):
    """Files of the pipeline's own `load_lora_weights`."""

    file_name = "pytorch_lora_weights.safetensors"
    usage = ('pipeline.load_lora_weights("FOLDER_OF_THIS_FILE")',)

    def save(self, network: AdaptedNetwork, folder: Path, metadata: Mapping[str, str]) -> Path:
        def write(tensors: dict[str, Tensor], path: str) -> None:
            save_with_metadata(tensors, Path(path), metadata)

        weights = network.weights()
        if network.part == "unet":  # their files keep the names of the time before peft
            weights = convert_state_dict_to_diffusers(weights)
        layers = {f"{network.part}_lora_layers": weights}
        network.pipeline.save_lora_weights(folder, **layers, weight_name=self.file_name, save_function=write)
        return folder / self.file_name

    def load(self, network: AdaptedNetwork, file: Path) -> Mapping[str, Tensor]:
        pipeline, options = network.pipeline, {"weight_name": file.name, "use_safetensors": True}
        with _no_word_of_text_encoders():
            pipeline.load_lora_weights(file.parent, adapter_name=network.name, **options)
            read = pipeline.lora_state_dict(file.parent, **options)
        # Some pipelines return the weights alone, others together with scales or metadata.
        weights: Mapping[str, Tensor] = read[0] if isinstance(read, tuple) else read
        prefix = f"{network.part}."
        own = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
        return convert_unet_state_dict_to_peft(own)


class PeftLoraFiles(LoraFiles):
    """A folder of peft's, for networks that diffusers itself cannot adapt.

    Beside the weights lies "adapter_config.json" with rank and layers.
    """

    file_name = "adapter_model.safetensors"
    usage = (
        "from peft import PeftModel",
        'PeftModel.from_pretrained(pipeline.transformer, "FOLDER_OF_THIS_FILE")',
    )

    def save(self, network: AdaptedNetwork, folder: Path, metadata: Mapping[str, str]) -> Path:
        config = copy(network.denoiser.peft_config[network.name])
        config.inference_mode = True
        config.save_pretrained(str(folder))
        named = {f"{_PEFT_PREFIX}{key}": value for key, value in network.weights().items()}
        save_with_metadata(named, folder / self.file_name, metadata)
        return folder / self.file_name

    def load(self, network: AdaptedNetwork, file: Path) -> Mapping[str, Tensor]:
        read = load_file(file)
        weights = {key.removeprefix(_PEFT_PREFIX): value for key, value in read.items()}
        _check_fit(network.denoiser, weights)
        config = LoraConfig.from_pretrained(str(file.parent))
        inject_adapter_in_model(config, network.denoiser, network.name, state_dict=dict(weights))
        return weights


def _check_fit(denoiser: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Make sure that a network has the layers of an adapter, before anything of it is changed.

    Raises:
        ValueError: it has not.
    """
    layers = dict(denoiser.named_modules())
    for key, value in weights.items():
        name, _, matrix = key.rpartition(".lora_")
        layer: Any = layers.get(name)
        whole = {f"{name}.lora_A.weight", f"{name}.lora_B.weight"} <= set(weights)
        if not hasattr(layer, "in_features") or not whole or matrix not in ("A.weight", "B.weight"):
            raise ValueError(f"{key} fits no layer")
        sides = (value.shape[-1], layer.in_features), (value.shape[0], layer.out_features)
        found, expected = sides[matrix == "B.weight"]
        if found != expected:
            raise ValueError(f"{key} has {found} channels instead of {expected}")


@contextmanager
def _no_word_of_text_encoders() -> Iterator[None]:
    """Keep diffusers from asking to be told that a LoRA of the denoiser alone has nothing for the text encoders."""

    def is_of_use(record: logging.LogRecord) -> bool:
        return "No LoRA keys associated to CLIPTextModel" not in record.getMessage()

    logger = logging.getLogger("diffusers.loaders.lora_base")
    logger.addFilter(is_of_use)
    try:
        yield
    finally:
        logger.removeFilter(is_of_use)
