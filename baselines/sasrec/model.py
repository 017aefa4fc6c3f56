"""SASRec with full cross-entropy: the strong classic baseline for next-item prediction.

Every place of every training sequence is a target, against all training items; one row a user, no copies of prefixes.
Losses on drawn negatives are there for comparison and for catalogues too large for the full softmax.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from baselines.lookup import known, positions
from bench.errors import ModelError
from bench.models import (
    Budget,
    Capabilities,
    FitReport,
    Progress,
    Ragged,
    Recommender,
    Requests,
    Settings,
    Training,
    Validate,
)

if TYPE_CHECKING:
    from torch import Tensor

    from baselines.sasrec.network import Network

__all__ = ["SASRec", "SASRecSettings"]

NEGATIVES = {"bce": 1, "gbce": 256, "sampled": 4096}
"""How many are drawn where the settings leave it open."""

# Places (rows x longest history) that are encoded at a time when serving.
SERVED_PLACES = 2**14


class SASRecSettings(Settings):
    """Settings of :class:`SASRec`; the defaults are those of published re-runs with this loss, not tuned further.

    Attributes
    ----------
    hidden_size, layers, heads, inner_size : int
        Width, depth, attention heads, and width of the position-wise layer.
    dropout, input_dropout : float
        After each sub-layer and in the attention weights; on the embedded history.
    max_length : int
        Items of a history that are read, the latest ones. Longer training sequences are cut into several windows.
    learning_rate, weight_decay : float
        Of AdamW; the decay is decoupled, and 0 makes it Adam.
    batch_targets : int
        Places a step at which the next item is to be named, about: counted in places and not in users, so that a
        step weighs the same on data of long and of short histories.
    softmax_dtype : str
        Of the softmax's matrix products in training (losses ``"ce"`` and ``"sampled"``), where most of the time goes;
        ``"bfloat16"`` takes half the time or less on processors that multiply it natively.
    loss : str
        ``"ce"``: softmax over all items. ``"sampled"``: softmax over a draw shared by the step, corrected for it; for
        catalogues past a million items. ``"bce"``: logistic loss, each place drawing its own negatives. ``"gbce"``: the
        same, calibrated (gSASRec); the more negatives, the longer it stays at popularity's level before it rises
        (ml-100k, 64 of them: 16 epochs), so it needs a patient budget.
    negatives : int or None
        Draws a step for ``"sampled"`` (None: 4096), a place for ``"bce"`` (None: 1) and ``"gbce"`` (None: 256).
    calibration : float
        The t of ``"gbce"``, from 0 (plain ``"bce"``) to 1; the default is its authors'.
    draw : str
        Of ``"sampled"``: all items alike, or each as often as training users met it. The other losses draw uniformly.
    """

    hidden_size: int = Field(64, gt=0)
    layers: int = Field(2, gt=0)
    heads: int = Field(1, gt=0)
    inner_size: int = Field(256, gt=0)
    dropout: float = Field(0.2, ge=0, lt=1)
    input_dropout: float = Field(0.2, ge=0, lt=1)
    max_length: int = Field(50, gt=0)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    batch_targets: int = Field(1500, gt=0)
    softmax_dtype: Literal["float32", "bfloat16"] = "float32"
    loss: Literal["ce", "bce", "gbce", "sampled"] = "ce"
    negatives: int | None = Field(None, gt=0)
    calibration: float = Field(0.75, ge=0, le=1)
    draw: Literal["uniform", "popularity"] = "uniform"

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size {self.hidden_size} cannot be shared by {self.heads} heads")
        return self

    @property
    def drawn(self) -> int:
        """Negatives that the loss draws; 0 for the full softmax."""
        return self.negatives or NEGATIVES[self.loss] if self.loss in NEGATIVES else 0


class SASRec(Recommender):
    """Self-attentive sequential recommendation (Kang and McAuley 2018), trained with the full softmax by default.

    It knows a user by the shown history alone: newcomers are served like everyone, an empty history and a direct
    request (which shows none) cannot be served, and an item not in training has no vector and no score.
    """

    Settings: ClassVar[type[Settings]] = SASRecSettings
    capabilities: ClassVar[Capabilities] = Capabilities(tasks=frozenset({"sequential"}), cold_users="natively")
    version: ClassVar[str] = "1"
    side: ClassVar[Literal["classic"]] = "classic"
    libraries: ClassVar[tuple[str, ...]] = ("torch", "numpy")
    preload: ClassVar[tuple[str, ...]] = ("torch",)

    settings: SASRecSettings
    _items: NDArray[np.int32]
    _network: Network

    @classmethod
    def label(cls, settings: Settings) -> str:
        """Name with depth and width: the loss matters as much as the network, so it is in the name."""
        assert isinstance(settings, SASRecSettings)
        loss = {
            "ce": "CE",
            "bce": f"BCE k={settings.drawn}",
            "gbce": f"gBCE k={settings.drawn} t={settings.calibration:g}",
            "sampled": f"CE sampled k={settings.drawn} {settings.draw}",
        }[settings.loss]
        return f"SASRec-{loss} {settings.layers}x{settings.hidden_size}"

    def fit(
        self, training: Training, *, validate: Validate, budget: Budget, seed: int, progress: Progress
    ) -> FitReport:
        """Train from scratch; on a CPU the same seed and thread count give the same weights.

        Raises
        ------
        ModelError
            When no user has two items to learn from, when there is no item to draw against the only one, or when the
            budget never ends.
        """
        import torch

        from baselines.sasrec.objectives import make_objective
        from baselines.sasrec.training import train

        if training.sequences.lengths.max(initial=0) < 2:
            raise ModelError("SASRec learns from consecutive items, but no training user has two")
        budget.must_end()
        settings = self.settings
        self._items = training.item
        if len(self._items) < 2 and settings.loss in ("bce", "gbce"):
            raise ModelError(f"the loss {settings.loss} draws other items, but training has a single one")
        sequences = known(training.sequences, self._items)
        cuda = [torch.device(self.device)] if self.device.startswith("cuda") else []
        with torch.random.fork_rng(cuda):
            torch.manual_seed(seed)
            self._network = self._build(len(self._items))
            course = train(
                self._network,
                sequences,
                objective=make_objective(
                    settings.loss,
                    met=torch.from_numpy(sequences.values.astype(np.int64)).to(self.device),
                    items=len(self._items),
                    negatives=settings.drawn,
                    calibration=settings.calibration,
                    draw=settings.draw,
                    dtype=getattr(torch, settings.softmax_dtype),
                ),
                batch_targets=settings.batch_targets,
                learning_rate=settings.learning_rate,
                weight_decay=settings.weight_decay,
                validate=lambda: validate(self),
                budget=budget,
                rng=np.random.default_rng(seed),
                progress=progress,
            )
        parameters = sum(weight.numel() for weight in self._network.parameters())
        return FitReport(parameters_trained=parameters, parameters_total=parameters, **course)

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """Dot products of the encoded histories with the item vectors; see :meth:`Recommender.score`."""
        import torch

        out = np.full((len(requests), len(requests.catalogue.items)), np.nan, np.float32)
        if requests.history is None:
            return out
        history = known(requests.history, self._items).last(self.settings.max_length)
        candidates = torch.from_numpy(positions(self._items, requests.catalogue.items))
        trained = candidates >= 0
        with torch.inference_mode():
            weight = self._network.item.weight
            # The vector of an unknown item is NaN, and so is every product with it.
            vectors = weight.new_full((len(candidates), weight.shape[1]), torch.nan)
            vectors[trained] = weight[candidates[trained]]
            for rows in _by_length(history.lengths):
                out[rows] = (self._encode(history.take(rows)) @ vectors.T).cpu().numpy()
        return out

    def save(self, folder: Path) -> None:
        """Write the item codes and the weights to ``sasrec.npz``."""
        weights = {name: weight.cpu().numpy() for name, weight in self._network.state_dict().items()}
        np.savez(folder / "sasrec.npz", **weights, items=self._items)

    @classmethod
    def load(cls, folder: Path, settings: Settings, *, device: str = "cpu") -> Self:
        """Read what :meth:`save` wrote."""
        import torch

        model = cls(settings, device=device)
        with np.load(folder / "sasrec.npz", allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        model._items = arrays.pop("items")
        model._network = model._build(len(model._items)).eval()
        model._network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
        return model

    def _build(self, items: int) -> Network:
        from baselines.sasrec.network import Network

        settings = self.settings
        return Network(
            items,
            size=settings.hidden_size,
            heads=settings.heads,
            inner=settings.inner_size,
            layers=settings.layers,
            length=settings.max_length,
            dropout=settings.dropout,
            input_dropout=settings.input_dropout,
        ).to(self.device)

    def _encode(self, history: Ragged) -> Tensor:
        """Encode non-empty histories of item indices, shape (rows, hidden_size) float32."""
        import torch

        from baselines.sasrec.windows import Windows, right_padded

        inputs, _ = right_padded(history.values, Windows(history.offsets[:-1], history.lengths))
        last = torch.from_numpy(history.lengths - 1)
        return self._network(torch.from_numpy(inputs).to(self.device))[torch.arange(len(last)), last]


def _by_length(lengths: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Rows that have a history, in groups of like length and about ``SERVED_PLACES`` places."""
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    borders = np.flatnonzero(np.diff(np.cumsum(lengths[order]) // SERVED_PLACES)) + 1
    return np.split(order, borders) if len(order) else []
