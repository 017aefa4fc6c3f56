"""A multi-layer perceptron that rates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from baselines.lookup import positions
from baselines.rating.ratings import Ratings
from bench.models import (
    Budget,
    Capabilities,
    FitReport,
    Progress,
    Recommender,
    Requests,
    Settings,
    Training,
    Validate,
)

if TYPE_CHECKING:
    from baselines.rating.network import Network

__all__ = ["MLP", "MLPSettings"]


class MLPSettings(Settings):
    """Settings of :class:`MLP`; the defaults were chosen on the validation ratings of MovieLens-100K.

    Attributes
    ----------
    embedding_size : int
        Length of the vectors of users and items.
    hidden_sizes : tuple of int
        Widths of the hidden layers.
    dropout : float
        Before each hidden layer.
    learning_rate, weight_decay : float
        Of AdamW; the decay is decoupled.
    batch_size : int
        Ratings a step.
    unknown : float
        Share of the training ratings whose user is hidden behind the number of newcomers, and, drawn apart, of those
        whose item is: what the network then says of the other half is what it says to newcomers.
    """

    embedding_size: int = Field(32, ge=1)
    hidden_sizes: tuple[int, ...] = (64, 32)
    dropout: float = Field(0.2, ge=0, lt=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1.0, ge=0)
    batch_size: int = Field(512, ge=1)
    unknown: float = Field(0.02, gt=0, lt=1)


class MLP(Recommender):
    """Stars from the vectors of user and item through a small network, trained on the squared error.

    The network is the perceptron of He, Liao, Zhang, Nie, Hu and Chua, "Neural collaborative filtering", WWW 2017,
    section 3.3 (vectors side by side, layers that narrow, ReLU), with the squared error in place of its loss for
    clicks. Ratings are kept within the range of those in training. Users and items never met share a number that
    training puts in the place of a few known ones (after Volkovs, Yu and Poutanen, "DropoutNet", NeurIPS 2017).
    """

    Settings: ClassVar[type[Settings]] = MLPSettings
    capabilities: ClassVar[Capabilities] = Capabilities(
        tasks=frozenset({"rating"}), cold_users="a learnt unknown user", cold_items="a learnt unknown item"
    )
    version: ClassVar[str] = "1"
    side: ClassVar[Literal["classic"]] = "classic"
    libraries: ClassVar[tuple[str, ...]] = ("torch", "numpy")
    preload: ClassVar[tuple[str, ...]] = ("torch",)

    settings: MLPSettings
    _mean: float
    _range: tuple[float, float]
    _codes: tuple[NDArray[np.int32], NDArray[np.int32]]
    _network: Network

    @classmethod
    def label(cls, settings: Settings) -> str:
        """The name a table prints, with the widths of the layers."""
        assert isinstance(settings, MLPSettings)
        return f"MLP {'-'.join(map(str, (2 * settings.embedding_size, *settings.hidden_sizes)))}"

    def fit(
        self, training: Training, *, validate: Validate, budget: Budget, seed: int, progress: Progress
    ) -> FitReport:
        """Train from scratch; on a CPU the same seed and thread count give the same weights.

        Raises
        ------
        MissingInputError
            When nothing in training is rated.
        ModelError
            When the budget never ends.
        """
        import torch

        from baselines.rating.network import train

        budget.must_end()
        ratings = Ratings.of(training)
        settings = self.settings
        self._codes, self._range, self._mean = (
            (ratings.users, ratings.items),
            ratings.range,
            float(ratings.stars.mean()),
        )
        cuda = [torch.device(self.device)] if self.device.startswith("cuda") else []
        with torch.random.fork_rng(cuda):
            torch.manual_seed(seed)
            self._network = self._build()
            course = train(
                self._network,
                torch.from_numpy(ratings.user + 1).to(self.device),
                torch.from_numpy(ratings.item + 1).to(self.device),
                torch.from_numpy((ratings.stars - self._mean).astype(np.float32)).to(self.device),
                batch_size=settings.batch_size,
                learning_rate=settings.learning_rate,
                weight_decay=settings.weight_decay,
                unknown=settings.unknown,
                validate=lambda: validate(self),
                budget=budget,
                progress=progress,
            )
        weights = sum(weight.numel() for weight in self._network.parameters())
        return FitReport(parameters_trained=weights, parameters_total=weights, **course)

    def rate(self, requests: Requests) -> NDArray[np.float32]:
        """Predicted stars; number 0 stands for users and items never met."""
        import torch

        assert requests.item is not None
        asked = [
            torch.from_numpy(positions(codes, wanted) + 1).to(self.device)
            for codes, wanted in zip(self._codes, (requests.user, requests.item), strict=True)
        ]
        with torch.inference_mode():
            stars = self._network(*asked).cpu().numpy()
        return np.clip(stars + self._mean, *self._range).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write the codes, the scale and the weights to ``mlp.npz``."""
        weights = {name: weight.cpu().numpy() for name, weight in self._network.state_dict().items()}
        users, items = self._codes
        np.savez(folder / "mlp.npz", **weights, mean=self._mean, range=self._range, users=users, items=items)

    @classmethod
    def load(cls, folder: Path, settings: Settings, *, device: str = "cpu") -> Self:
        """Read ``mlp.npz``."""
        import torch

        model = cls(settings, device=device)
        with np.load(folder / "mlp.npz", allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        model._mean, model._range = float(arrays.pop("mean")), tuple(arrays.pop("range").tolist())
        model._codes = arrays.pop("users"), arrays.pop("items")
        model._network = model._build().eval()
        model._network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
        return model

    def _build(self) -> Network:
        from baselines.rating.network import Network

        settings = self.settings
        users, items = self._codes
        return Network(
            len(users),
            len(items),
            size=settings.embedding_size,
            hidden=settings.hidden_sizes,
            dropout=settings.dropout,
        ).to(self.device)
