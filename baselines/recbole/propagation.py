"""LightGCN's propagation over the graph, as RecBole computes it but several times as fast.

Imported only inside methods: it needs torch. RecBole keeps the adjacency matrix as unsorted coordinates, which torch
sorts again for every product and transposes for every gradient. The matrix is symmetric: its rows, compressed once,
serve both ways.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch

__all__ = ["propagate_faster"]


class _SymmetricProduct(torch.autograd.Function):
    """Product of a constant symmetric sparse matrix, shape (n, n), and a dense one, shape (n, d)."""

    @staticmethod
    def forward(ctx: Any, matrix: torch.Tensor, dense: torch.Tensor) -> torch.Tensor:
        ctx.matrix = matrix
        return matrix @ dense

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[None, torch.Tensor]:  # type: ignore[override]
        return None, ctx.matrix @ gradient


def propagate_faster(model: Any) -> None:
    """Replace ``forward`` of RecBole's LightGCN: the mean of the vectors after 0, 1, ... layers, for users and items.

    Sums are taken in another order, so that results differ from RecBole's by rounding.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        matrix = model.norm_adj_matrix.coalesce().to_sparse_csr()

    def forward() -> tuple[torch.Tensor, torch.Tensor]:
        vectors = model.get_ego_embeddings()
        layers = [vectors]
        for _ in range(model.n_layers):
            vectors = _SymmetricProduct.apply(matrix, vectors)
            layers.append(vectors)
        users, items = torch.stack(layers, dim=1).mean(dim=1).split([model.n_users, model.n_items])
        return users, items

    model.forward = forward
