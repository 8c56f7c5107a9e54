"""The networks whose features fidelity is measured by, one class per kind, and what is read off their output."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from comat_core.files.paths import user_path
from data.downloading.downloads import PublishedFile
from stages.evaluate.scoring.models_in_memory import loaded, loaded_model
from stages.models.devices import choose_device
from stages.models.variants import Variant
from stages.plan.config import NOT_IN_KEY, ModelReference

if TYPE_CHECKING:
    from torch import Tensor

Network = Callable[["Tensor"], "Tensor"]
"""Images (B, 3, H, W) of bytes to the network's output."""


@dataclass(frozen=True)
class Extractor:
    """A loaded network, and how its output becomes items (B, n, D), n of each image."""

    network: Network
    items: "Callable[[Tensor], Tensor]"


class FeatureSettings(Variant, ABC):
    """Settings of one extractor. As a string it says what its features are.

    Attributes:
        neighbourhoods: density and coverage are measured on its features too.
    """

    neighbourhoods: ClassVar[bool] = True

    @abstractmethod
    def load(self, device: str) -> Extractor:
        """Load the network.

        Raises:
            UserError: its weights are missing, cannot be had, or are others than those meant.
        """

    def checkpoint(self) -> ModelReference | None:
        """The network, if it is one that a training might look at too."""
        return None

    def published_file(self) -> PublishedFile | None:
        """What is downloaded beside models of the hub."""
        return None


class JudgeFeatures(FeatureSettings):
    """Pooled features of the judge, which sees what it was trained to tell and little else."""

    neighbourhoods: ClassVar[bool] = False

    kind: Literal["judge"] = "judge"
    model: Annotated[ModelReference | None, Field(description="the judge; none means models.judge")] = None

    def load(self, device: str) -> Extractor:
        assert self.model is not None, "the stage's settings put models.judge here"
        return Extractor(_pooled(self.model, device), _alone)

    def checkpoint(self) -> ModelReference | None:
        return self.model

    def __str__(self) -> str:
        return "pooled features of the judge"


class ModelFeatures(FeatureSettings):
    """What the features of image models in transformers' format have in common."""

    model: Annotated[ModelReference, Field(description="the image model with its processor, folder or hub id")]

    def checkpoint(self) -> ModelReference | None:
        return self.model


class PooledFeatures(ModelFeatures):
    """Pooled features of DINOv2, CLIP, a ResNet, …"""

    kind: Literal["pooled"] = "pooled"

    def load(self, device: str) -> Extractor:
        return Extractor(_pooled(self.model, device), _alone)

    def __str__(self) -> str:
        return f"pooled features of {self.model.path}"


class PatchMean(ModelFeatures):
    """The mean over the image of a vision transformer's patch tokens."""

    kind: Literal["patch_mean"] = "patch_mean"

    def load(self, device: str) -> Extractor:
        return Extractor(_patch_tokens(self.model, device), _mean)

    def __str__(self) -> str:
        return f"mean of the patch tokens of {self.model.path}"


class Patches(ModelFeatures):
    """The patch tokens of a vision transformer, each an item of its own."""

    neighbourhoods: ClassVar[bool] = False  # the nearest patches of a patch are those beside it

    kind: Literal["patches"] = "patches"
    per_image: Annotated[
        int, Field(ge=1, le=4096, description="patches taken of each image, evenly spread; all where there are fewer")
    ] = 64

    def load(self, device: str) -> Extractor:
        return Extractor(_patch_tokens(self.model, device), self._spread)

    def _spread(self, tokens: "Tensor") -> "Tensor":
        patches = tokens.shape[1]
        taken = min(self.per_image, patches)
        return tokens[:, [index * patches // taken for index in range(taken)]]

    def __str__(self) -> str:
        return f"patch tokens of {self.model.path}"


class Inception(FeatureSettings):
    """FID's Inception, which needs torch-fidelity installed."""

    kind: Literal["inception"] = "inception"
    weights: Annotated[Path | None, NOT_IN_KEY, Field(description="a local file; none downloads the published one")] = (
        None
    )
    sha256: Annotated[
        str | None, Field(pattern="^[0-9a-f]{64}$", description="of the weights; none means the published file's")
    ] = None
    antialias: Annotated[
        bool, Field(description="antialias when resizing to 299 px; FID is mostly published without")
    ] = False

    @model_validator(mode="after")
    def _digest_is_of_a_file(self) -> Self:
        if self.sha256 is not None and self.weights is None:
            raise ValueError("sha256 belongs to weights of your own: name their file")
        return self

    def load(self, device: str) -> Extractor:
        return Extractor(self.load_network(device), _alone)

    def load_network(self, device: str) -> Network:
        """Load it for features (B, 2048)."""
        from comat_core.scorers.image_features import INCEPTION_SHA256, load_inception

        published = self.published_file()
        if published is not None:
            weights = published.fetch()
        else:
            assert self.weights is not None, "Inception comes from the publisher or from a file"
            weights = user_path(str(self.weights))
        sha256 = self.sha256 or INCEPTION_SHA256
        return loaded(load_inception, weights, sha256=sha256, antialias=self.antialias, device=choose_device(device))

    def published_file(self) -> PublishedFile | None:
        from comat_core.scorers.image_features import INCEPTION_SHA256, INCEPTION_URL

        if self.weights is not None:
            return None
        remedy = "set the extractor's weights to a copy of that file"
        return PublishedFile(INCEPTION_URL, f"sha256:{INCEPTION_SHA256}", remedy)

    def __str__(self) -> str:
        resizing = "antialiased bilinear" if self.antialias else "TensorFlow's bilinear"
        weights = "" if self.sha256 is None else f" with weights {self.sha256[:8]}"
        return f"Inception-v3 pool3{weights}, {resizing} resizing to 299 px"


AnyFeatures = Annotated[
    JudgeFeatures | PooledFeatures | PatchMean | Patches | Inception,
    Field(discriminator="kind"),
]


def extract(extractors: Sequence[Extractor], images: "Tensor") -> "list[Tensor]":
    """Items (B, n, D) by each extractor of images (B, 3, H, W) of bytes; a network that several share runs once."""
    outputs: dict[int, Tensor] = {}
    for extractor in extractors:
        if id(extractor.network) not in outputs:
            outputs[id(extractor.network)] = extractor.network(images)
    return [extractor.items(outputs[id(extractor.network)]).cpu() for extractor in extractors]


def _pooled(model: ModelReference, device: str) -> Network:
    from comat_core.scorers import image_features

    return loaded_model(image_features.PooledFeatures.load, model, device)


def _patch_tokens(model: ModelReference, device: str) -> Network:
    from comat_core.scorers import image_features

    return loaded_model(image_features.PatchTokens.load, model, device)


def _alone(features: "Tensor") -> "Tensor":
    return features[:, None]


def _mean(tokens: "Tensor") -> "Tensor":
    return tokens.mean(dim=1, keepdim=True)
