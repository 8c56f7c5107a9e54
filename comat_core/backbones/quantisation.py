"""A frozen base whose linear layers are kept in fewer bits, by the own loaders of diffusers and transformers.

LoRA is trained on top in full precision, as without it. Nothing heavy is imported before a model is loaded.
"""

from importlib.util import find_spec
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from comat_core.settings import Settings
from comat_core.support.errors import UserError

WHERE: Final = "base_quantisation"


class Quantisation(Settings):
    """How the base's largest networks are kept: its denoiser, and the language models among its text encoders."""

    kind: Annotated[
        Literal["torchao", "bitsandbytes"],
        Field(description="torchao: weights in 8-bit integers; bitsandbytes: in 4-bit normal floats, on a GPU"),
    ]
    text_encoders: Annotated[bool, Field(description="of T5 and other language models, too; CLIPs stay whole")] = True

    def check(self, dtype_name: str, device_type: str) -> None:
        """Make sure that it can be done here.

        Args:
            dtype_name: of the other weights, as torch writes it.

        Raises:
            UserError: the package is not installed, or does not do it in that precision or on that device.
        """
        if find_spec(self.kind) is None:
            advice = "pip install 'comat-pipeline[quantised]', or leave it out"
            raise UserError(f"quantising by {self.kind} needs that package, which is not installed", WHERE, advice)
        if self.kind == "bitsandbytes" and device_type != "cuda":
            raise UserError(
                f"bitsandbytes quantises on a GPU alone, not on {device_type}", WHERE, "write kind: torchao"
            )
        if self.kind == "torchao" and dtype_name != "torch.bfloat16":
            problem = f"torchao's 8-bit integers go with bfloat16, not with {dtype_name.removeprefix('torch.')}"
            raise UserError(problem, WHERE, "write precision: bf16")

    def options(self, part: str, class_name: str) -> dict[str, Any]:
        """What the loader of one network of a pipeline is told.

        Args:
            part: its name in the pipeline.
            class_name: of the network.
        """
        if part in ("unet", "transformer"):
            import diffusers

            library: Any = diffusers
        elif self.text_encoders and part.startswith("text_encoder") and not class_name.startswith("CLIP"):
            import transformers

            library = transformers
        else:
            return {}
        return {"quantization_config": self._config_of(library)}

    def _config_of(self, library: Any) -> Any:
        """Both libraries name their classes alike."""
        import torch

        if self.kind == "bitsandbytes":
            return library.BitsAndBytesConfig(
                load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
            )
        from torchao.quantization import Int8WeightOnlyConfig  # pyright: ignore[reportMissingImports]

        return library.TorchAoConfig(Int8WeightOnlyConfig())
