"""What item kNN and EASE share: a score is the history times a matrix of item-item weights."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.recbole.adapter import RecBoleModel
from bench.models import Capabilities, Ragged

__all__ = ["ItemItem"]


class ItemItem(RecBoleModel):
    """Serves anyone from items: those shown in a sequential request, the training items in a direct one.

    A known user's direct scores are RecBole's; a sequential request is answered from the history shown, for known and
    cold users alike, so that the latest item counts even where it came after training.
    """

    capabilities = Capabilities(cold_users="natively")
    reads_history = True

    @abstractmethod
    def _weights(self) -> Any:
        """Item-item weights, shape (RecBole's item ids, RecBole's item ids), sparse or dense."""

    def _closed_form_weights(self) -> int:
        weights = self._weights()
        return int(weights.nnz) if hasattr(weights, "nnz") else int(np.count_nonzero(weights))

    def _from_user(self, user: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._times_weights(self._engine.model.interaction_matrix[user])

    def _from_history(self, history: Ragged) -> NDArray[np.float32]:
        from scipy.sparse import csr_matrix

        counts = np.ones(len(history.values), np.float32)
        shape = len(history), len(self._engine.items.code)
        return self._times_weights(csr_matrix((counts, history.values, history.offsets), shape=shape))

    def _times_weights(self, rows: Any) -> NDArray[np.float32]:
        product = rows @ self._weights()
        return product.toarray() if hasattr(product, "toarray") else np.asarray(product)
