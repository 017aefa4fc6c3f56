"""RecBole's NeuMF for all items at once, and for users it has never seen.

Imported only inside methods: it needs torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import linear, relu, softplus

from bench.models import Ragged

__all__ = ["Network"]

_NUMBERS = 2**24
"""Activations held at once (64 MiB of float32); results do not depend on it."""


class Network:
    """A trained NeuMF whose users are vectors rather than ids.

    The first layer of the perceptron is a sum of a user's and an item's share. The items' is computed once, which at
    RecBole's sizes leaves a third of the work that its own scoring, pair by pair, has.

    Parameters
    ----------
    model : recbole.model.general_recommender.neumf.NeuMF
        Its weights are read, and stay as they are.

    Attributes
    ----------
    users : Tensor, shape (users, factors)
        What the model knows of its users: the factors of both parts side by side.
    """

    def __init__(self, model: Any) -> None:
        first, *rest = [layer for layer in model.mlp_layers.mlp_layers if isinstance(layer, torch.nn.Linear)]
        mf, mlp, top = model.mf_embedding_size, model.mlp_embedding_size, model.mlp_hidden_size[-1]
        with torch.no_grad():
            self.users = torch.cat([model.user_mf_embedding.weight, model.user_mlp_embedding.weight], dim=1)
            # A part that was not trained has no share in the last layer.
            last = model.predict_layer.weight[0]
            self._last_mf = last[:mf] if model.mf_train else last.new_zeros(mf)
            self._last_mlp = last[-top:] if model.mlp_train else last.new_zeros(top)
            self._item_share = linear(model.item_mlp_embedding.weight, first.weight[:, mlp:])
        self._item = model.item_mf_embedding.weight.detach()
        self._user_share = first.weight[:, :mlp].detach(), first.bias.detach()
        self._rest = [(layer.weight.detach(), layer.bias.detach()) for layer in rest]
        self._bias = model.predict_layer.bias.detach()

    def logits(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        """What the last layer says of users with items, before the sigmoid.

        Parameters
        ----------
        user : Tensor, shape (users, factors)
        item : Tensor of int64, shape (users, items) or (1, items)
            RecBole's ids.

        Returns
        -------
        Tensor, shape (users, items)
        """
        mf, mlp = user[:, : len(self._last_mf)], user[:, len(self._last_mf) :]
        hidden = relu(linear(mlp, *self._user_share)[:, None] + self._item_share[item])
        for weight, bias in self._rest:
            hidden = relu(linear(hidden, weight, bias))
        products = self._item[item] @ (mf * self._last_mf)[:, :, None]
        return products[:, :, 0] + hidden @ self._last_mlp + self._bias

    def score(self, user: torch.Tensor) -> NDArray[np.float32]:
        """Logits of every id of an item for users given as vectors, shape (users, ids of items)."""
        item = torch.arange(len(self._item), device=user.device)[None]
        with torch.no_grad():
            blocks = [self.logits(user[rows], item) for rows in self._blocks(len(user), item.shape[1])]
        return torch.cat(blocks).cpu().numpy()

    def _blocks(self, users: int, items: int) -> Iterator[NDArray[np.int64]]:
        widest = max(self._item_share.shape[1], self._item.shape[1])
        size = max(1, _NUMBERS // (items * widest))
        return (np.arange(start, min(start + size, users)) for start in range(0, users, size))

    def fold_in(
        self, shown: Ragged, unobserved: NDArray[np.int64], *, steps: int, learning_rate: float, prior: float
    ) -> torch.Tensor:
        r"""User vectors that explain the shown items, found by descending the model's own loss with its weights frozen.

        A newcomer starts as the mean :math:`m` of the trained users and moves by :math:`s \odot x`, in units of their
        standard deviation :math:`s`, so that the settings mean the same whatever the scale of the trained vectors.
        For shown items :math:`S` and a fixed draw :math:`D` of other items, Adam takes ``steps`` steps on

        .. math:: \sum_{i \in S} -\log \sigma(y_i) + \frac{|S|}{|D \setminus S|} \sum_{j \in D \setminus S}
                  -\log \sigma(-y_j) + \frac{\lambda}{2} \lVert x \rVert^2 ,

        the binary cross-entropy of training, one negative to a positive, with the draw's mean in place of a random
        negative, and with a normal prior of weight :math:`\lambda` (``prior``).

        Parameters
        ----------
        shown : Ragged
            RecBole's ids of the items each newcomer was seen with, no row empty; one that occurs twice counts twice.
        unobserved : ndarray of int64, shape (draw,)
            RecBole's ids of :math:`D`, the same for every newcomer, who are therefore independent of each other.
        steps : int
        learning_rate, prior : float

        Returns
        -------
        Tensor, shape (len(shown), factors)
        """
        draw = torch.from_numpy(unobserved).to(self.users.device)
        width = int(shown.lengths.max()) + len(draw)
        found = []
        for rows in self._blocks(len(shown), width):
            found.append(self._descend(shown.take(rows), draw, steps, learning_rate, prior))
        return torch.cat(found)

    def _descend(
        self, shown: Ragged, draw: torch.Tensor, steps: int, learning_rate: float, prior: float
    ) -> torch.Tensor:
        there = torch.from_numpy(np.arange(shown.lengths.max()) < shown.lengths[:, None])
        met = torch.zeros(there.shape, dtype=torch.int64)
        met[there] = torch.from_numpy(shown.values.astype(np.int64))
        met, there = met.to(draw.device), there.to(draw.device)
        others = (draw[None, :, None] != met[:, None, :]).all(dim=2)
        share = there.sum(dim=1, keepdim=True) / others.sum(dim=1, keepdim=True).clamp(min=1)
        item = torch.cat([met, draw.expand(len(met), -1)], dim=1)
        weight = torch.cat([there.float(), others * share], dim=1)
        sign = torch.cat([-torch.ones_like(met[0]), torch.ones_like(draw)])
        mean, spread = self.users[1:].mean(dim=0), self.users[1:].std(dim=0)
        away = torch.zeros(len(met), len(mean), device=draw.device)
        descent = torch.optim.Adam([away], lr=learning_rate)
        for _ in range(steps):
            away.requires_grad_()
            loss = (weight * softplus(sign * self.logits(mean + spread * away, item))).sum()
            (away.grad,) = torch.autograd.grad(loss + prior / 2 * away.square().sum(), away)
            descent.step()
        return mean + spread * away.detach()
