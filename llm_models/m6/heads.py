"""The two trained projections and their contrastive loss. Imports torch: import it inside a method.

``x = L2norm(W_u h_user)``, ``y = L2norm(W_i h_item)``, and for a pair in a batch
``loss = -log( exp(x.y / tau) / sum over the batch's items of exp(x.y' / tau) )``: M6-Rec's retrieval head.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy, linear, normalize

from bench.models import Ragged

__all__ = ["Heads", "collisions", "contrastive_loss"]

Floats = NDArray[np.float32]


class Heads:
    """The projection of users and the projection of items, without bias.

    Attributes
    ----------
    user, item : Tensor of float32, shape (dim, width)
    """

    def __init__(self, user: torch.Tensor, item: torch.Tensor) -> None:
        self.user, self.item = user, item

    @classmethod
    def principal(cls, items: Floats, dim: int) -> Heads:
        """Start both at the ``dim`` leading directions of the training items: close to having no heads.

        Parameters
        ----------
        items : ndarray of float32, shape (items, width)
            Unit vectors of the training items. With fewer items than ``dim`` there are as many directions as items.
        """
        basis = torch.from_numpy(np.linalg.svd(items, full_matrices=False)[2][:dim].copy())
        return cls(basis, basis.clone())

    @classmethod
    def random(cls, width: int, dim: int, seed: int) -> Heads:
        """Start both from independent normal draws of variance ``1 / width``."""
        generator = torch.Generator().manual_seed(seed)
        user, item = (torch.randn(dim, width, generator=generator) / width**0.5 for _ in range(2))
        return cls(user, item)

    def to(self, device: str) -> Heads:
        """The same heads on a device."""
        return Heads(self.user.to(device), self.item.to(device))

    def copy(self) -> Heads:
        """A snapshot that further training leaves alone."""
        return Heads(self.user.detach().clone(), self.item.detach().clone())

    @property
    def parameters(self) -> int:
        """Number of weights, all trained."""
        return self.user.numel() + self.item.numel()

    def project_users(self, vectors: Floats) -> Floats:
        """Unit rows, shape (users, dim), of frozen vectors, shape (users, width); zeros stay zeros."""
        return _project(self.user, vectors)

    def project_items(self, vectors: Floats) -> Floats:
        """Unit rows, shape (items, dim), of frozen vectors, shape (items, width); zeros stay zeros."""
        return _project(self.item, vectors)


def _project(weight: torch.Tensor, vectors: Floats) -> Floats:
    with torch.inference_mode():
        return normalize(linear(torch.from_numpy(vectors).to(weight.device), weight), dim=1).cpu().numpy()


def collisions(user: NDArray[np.int64], item: NDArray[np.int64], positives: Ragged) -> NDArray[np.bool_]:
    """Which in-batch negatives are none.

    Parameters
    ----------
    user, item : ndarray of int64, shape (batch,)
        The batch's pairs.
    positives : Ragged
        Per user all items met in training.

    Returns
    -------
    ndarray of bool, shape (batch, batch)
        True at ``(b, c)``, ``b != c``, where the item of pair ``c`` is the item of pair ``b`` or any other training
        item of the user of pair ``b``.
    """
    distinct, column = np.unique(item, return_inverse=True)
    met = positives.take(user)
    place = np.searchsorted(distinct, met.values).clip(max=len(distinct) - 1)
    here = distinct[place] == met.values
    mine = np.zeros((len(user), len(distinct)), dtype=bool)
    mine[met.row_of[here], place[here]] = True
    mine[np.arange(len(user)), column] = True
    mask = mine[:, column]
    np.fill_diagonal(mask, False)
    return mask


def contrastive_loss(
    x: torch.Tensor,
    y: torch.Tensor,
    mask: torch.Tensor,
    *,
    temperature: float,
    offset: torch.Tensor | None = None,
    shared: torch.Tensor | None = None,
) -> torch.Tensor:
    """In-batch softmax loss, the mean over pairs.

    Parameters
    ----------
    x, y : Tensor of float32, shapes (batch, dim) and (batch or more, dim)
        Unit vectors of users and of the items that followed; pair ``b`` is row ``b`` of both. Further rows of ``y`` are
        negatives of all pairs.
    mask : Tensor of bool, shape (batch, len(y))
        Entries left out of the denominator; the diagonal must be False.
    offset : Tensor of float32, shape (len(y),), optional
        Taken off every logit of its item: the log of how often the item is drawn into a batch (logQ correction).
    shared : Tensor of float32, shape (batch, len(y)), optional
        Added to the products of ``x`` and ``y``.
    """
    logits = (x @ y.T if shared is None else x @ y.T + shared) / temperature
    if offset is not None:
        logits = logits - offset
    return cross_entropy(logits.masked_fill(mask, -torch.inf), torch.arange(len(x), device=x.device))
