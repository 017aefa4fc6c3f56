"""The training loop: Adam on an objective, weights chosen by the validation number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor

from baselines.sasrec.network import Network
from baselines.sasrec.objectives import Objective
from baselines.sasrec.windows import batches, cut, right_padded
from bench.models import Budget, Progress, Ragged, Selection

__all__ = ["train"]


def train(
    network: Network,
    sequences: Ragged,
    *,
    objective: Objective,
    batch_targets: int,
    learning_rate: float,
    weight_decay: float,
    validate: Callable[[], float],
    budget: Budget,
    rng: np.random.Generator,
    progress: Progress,
) -> dict[str, Any]:
    """Train ``network`` in place and leave the weights with the best validation number in it.

    Parameters
    ----------
    sequences : Ragged
        Item indices, oldest first; at least one sequence holds two.
    objective : callable
        Sum of the losses of a step's places; its mean is minimised.
    batch_targets : int
        Places a step at which the next item is to be named, about.
    validate : callable
        The validation number of the network as it stands; the network is in evaluation mode meanwhile.

    Returns
    -------
    dict
        The fields of a ``FitReport`` that concern the course of training.
    """
    device = network.item.weight.device
    optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True)
    selection = Selection(budget)
    best: dict[str, Tensor] = {}
    losses: list[Tensor] = []
    network.train()
    for step, (epoch, inputs, target, real) in enumerate(_batches(sequences, network.length, batch_targets, rng), 1):
        hidden = network(inputs.to(device))[real.to(device)]
        loss = objective(hidden, network.item.weight, target.to(device)) / len(target)
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
        _tell(progress, budget, selection)
        if selection.stopped:
            break
        network.train()
    network.load_state_dict(best)
    return selection.report_fields()


def _batches(
    sequences: Ragged, max_length: int, targets: int, rng: np.random.Generator
) -> Iterator[tuple[float, Tensor, Tensor, Tensor]]:
    """Without end: passes made so far (this batch included), inputs, targets of the real places, real places."""
    for done in count():
        windows = cut(sequences, max_length, rng)
        dealt = batches(windows, targets, rng)
        for number, chosen in enumerate(dealt, 1):
            inputs, real = right_padded(sequences.values, windows.take(chosen))
            target, _ = right_padded(sequences.values[1:], windows.take(chosen))
            yield done + number / len(dealt), *map(torch.from_numpy, (inputs, target[real], real))


def _tell(progress: Progress, budget: Budget, selection: Selection) -> None:
    last = selection.curve[-1]
    done, total = (last["step"], budget.max_steps) if budget.max_steps else (last["epoch"], budget.max_epochs)
    note = f"loss {last['loss']:.3f}, validation {last['validation']:.4f}, best {selection.best_value:.4f}"
    progress(int(done), int(total or done), note)
