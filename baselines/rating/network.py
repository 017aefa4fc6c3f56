"""A network that reads the numbers of a user and an item and says stars, and how it learns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count, pairwise
from typing import Any

import torch
from torch import Tensor, nn

from bench.models import Budget, Progress, Selection

__all__ = ["Network", "train"]


class Network(nn.Module):
    """Vectors of user and item, side by side, through layers with ReLU.

    Parameters
    ----------
    users, items : int
        How many are known. Number 0 stands for all others, so that the tables have a row more.
    size : int
        Length of either vector.
    hidden : sequence of int
        Widths of the layers before the last, which has width 1.
    dropout : float
        Before each layer.
    """

    def __init__(self, users: int, items: int, *, size: int, hidden: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(users + 1, size), nn.Embedding(items + 1, size)
        for table in (self.user, self.item):
            nn.init.normal_(table.weight, std=0.1)
        widths = (2 * size, *hidden)
        layers: list[nn.Module] = []
        for wide, narrow in pairwise(widths):
            layers += [nn.Dropout(dropout), nn.Linear(wide, narrow), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], 1))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Stars less their mean, shape (pairs,)."""
        return self.layers(torch.cat([self.user(user), self.item(item)], dim=1)).squeeze(1)


def train(
    network: Network,
    user: Tensor,
    item: Tensor,
    stars: Tensor,
    *,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    unknown: float,
    validate: Callable[[], float],
    budget: Budget,
    progress: Progress,
) -> dict[str, Any]:
    """Train ``network`` in place by Adam on the squared error; leave the weights with the best validation number in it.

    Draws come from torch's global generator.

    Parameters
    ----------
    user, item : Tensor of int64, shape (ratings,)
        From 1 on.
    stars : Tensor of float32, shape (ratings,)
        Less their mean.
    weight_decay : float
        Decoupled from the gradient (AdamW).
    unknown : float
        Share of the ratings in which number 0 takes the place of the user, and as many, drawn apart, of the item.

    Returns
    -------
    dict
        The fields of a ``FitReport`` that concern the course of training.
    """
    optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True)
    selection = Selection(budget)
    best: dict[str, Tensor] = {}
    losses: list[Tensor] = []
    network.train()
    for step, (epoch, rows) in enumerate(_batches(len(stars), batch_size), 1):
        rows = rows.to(stars.device)
        loss = nn.functional.mse_loss(network(_hide(user[rows], unknown), _hide(item[rows], unknown)), stars[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
        if not budget.due(step, epoch):
            continue
        network.eval()
        mean = float(torch.stack(losses).mean())
        losses.clear()
        if selection.observe(step=step, epoch=epoch, loss=mean, validation=validate()) or not best:
            best = {name: weight.clone() for name, weight in network.state_dict().items()}
        done, total = (step, budget.max_steps) if budget.max_steps else (int(epoch), budget.max_epochs)
        progress(done, total or done, f"loss {mean:.3f}, validation {selection.best_value:.4f}")
        if selection.stopped:
            break
        network.train()
    network.load_state_dict(best)
    return selection.report_fields()


def _batches(size: int, batch_size: int) -> Iterator[tuple[float, Tensor]]:
    """Without end: passes made so far (this batch included), and the rows of a batch."""
    for done in count():
        dealt = torch.randperm(size).split(batch_size)
        for number, rows in enumerate(dealt, 1):
            yield done + number / len(dealt), rows


def _hide(numbers: Tensor, share: float) -> Tensor:
    return torch.where(torch.rand(len(numbers), device=numbers.device) < share, 0, numbers)
