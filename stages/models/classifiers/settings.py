"""What the settings of all classifiers have in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stages.models.variants import Variant

if TYPE_CHECKING:
    import torch

    from comat_core.attack.classifiers import Classifier


class ClassifierSettings(Variant, ABC):
    """A frozen network that tells classes apart."""

    @abstractmethod
    def class_names(self) -> Sequence[str]:
        """The names of its classes, each once. No network is loaded for them.

        Raises:
            UserError: they cannot be had.
        """

    @abstractmethod
    def load(self, device: "torch.device") -> "Classifier":
        """Load the network.

        Raises:
            UserError: there is no complete checkpoint of this kind.
        """

    def files_identity(self) -> object:
        """What the files hold that name its classes, wherever they lie; a JSON value for keys."""
        return None
