"""NeuMF through RecBole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from baselines.recbole.adapter import RecBoleModel
from bench.models import Capabilities, Ragged, Settings

if TYPE_CHECKING:
    from baselines.recbole.neumf_network import Network

__all__ = ["NeuMF", "NeuMFSettings"]


class NeuMFSettings(Settings):
    """Settings of :class:`NeuMF`.

    Defaults and names of the first ten from RecBole 1.2.1 (``properties/model/NeuMF.yaml`` and ``overall.yaml``). Those
    of the fold-in were chosen on the cold validation users of MovieLens-100K and then kept for all data.

    Attributes
    ----------
    mf_embedding_size, mlp_embedding_size : int
        Factors of the two parts.
    mlp_hidden_size : tuple of int
        Widths of the perceptron's layers.
    dropout_prob : float
        Before each of them.
    mf_train, mlp_train : bool
        Whether the model has the part; without the first it is a perceptron alone.
    sample_num : int
        Negatives to a positive, drawn uniformly from the items the user has not met (``train_neg_sample_args``).
    learning_rate : float
    train_batch_size : int
        Positives and negatives in a batch.
    weight_decay : float
    fold_in_steps, fold_in_learning_rate, fold_in_prior : int, float, float
        See :meth:`~baselines.recbole.neumf_network.Network.fold_in`.
    fold_in_unobserved : int
        Items drawn, once for all newcomers, to stand for what they were not shown with.
    """

    mf_embedding_size: int = Field(64, ge=1)
    mlp_embedding_size: int = Field(64, ge=1)
    mlp_hidden_size: tuple[int, ...] = Field((128, 64), min_length=1)
    dropout_prob: float = Field(0.1, ge=0, lt=1)
    mf_train: bool = True
    mlp_train: bool = True
    sample_num: int = Field(1, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    train_batch_size: int = Field(2048, ge=1)
    weight_decay: float = Field(0.0, ge=0)
    fold_in_steps: int = Field(50, ge=1)
    fold_in_learning_rate: float = Field(0.3, gt=0)
    fold_in_prior: float = Field(0.01, ge=0)
    fold_in_unobserved: int = Field(256, ge=1)

    @model_validator(mode="after")
    def _has_a_part(self) -> Self:
        if not (self.mf_train or self.mlp_train):
            raise ValueError("mf_train and mlp_train cannot both be false: nothing would be left of the model")
        return self


class NeuMF(RecBoleModel):
    """A matrix factorisation and a perceptron over user and item vectors, joined in a last layer.

    What stands here for the papers' BPR-MLP, and is not the same: BPR-MLP is a perceptron over the two vectors alone,
    trained to place a positive above a negative; NeuMF adds the elementwise product, has vectors of its own for each
    part, and is trained with binary cross-entropy, each pair for itself. ``mf_train: false`` leaves the perceptron
    alone, with the same loss. The paper's pre-training of the parts is not used.

    Scores are the logits: RecBole's, before a sigmoid that in float32 would make ties of large ones. Known users are
    scored with their trained vectors. A newcomer's are found by a gradient fold-in with everything else frozen.

    Source: He, Liao, Zhang, Nie, Hu and Chua, "Neural collaborative filtering", WWW 2017, as RecBole 1.2.1 implements
    it.
    """

    Settings = NeuMFSettings
    settings: NeuMFSettings
    capabilities = Capabilities(cold_users="gradient fold-in")
    version = "1"
    recbole_name = "NeuMF"

    def parameters(self) -> dict[str, Any]:
        """What goes into RecBole's config: all settings but the fold-in's."""
        given = {name: value for name, value in self.settings if not name.startswith("fold_in_")}
        negatives = {"distribution": "uniform", "sample_num": given.pop("sample_num")}
        return {**given, "mlp_hidden_size": list(self.settings.mlp_hidden_size), "train_neg_sample_args": negatives}

    def _network(self) -> Network:
        from baselines.recbole.neumf_network import Network

        return Network(self._engine.model)

    def _from_user(self, user: NDArray[np.int64]) -> NDArray[np.float32]:
        network = self._network()
        return network.score(network.users[user])

    def _from_history(self, history: Ragged) -> NDArray[np.float32]:
        network, options = self._network(), self.settings
        items = len(self._engine.items.code) - 1
        draw = np.random.default_rng(self._seed).permutation(items)[: options.fold_in_unobserved] + 1
        user = network.fold_in(
            history,
            draw,
            steps=options.fold_in_steps,
            learning_rate=options.fold_in_learning_rate,
            prior=options.fold_in_prior,
        )
        return network.score(user)
