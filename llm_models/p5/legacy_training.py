"""The optimiser's loop."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from bench.models import Budget, Progress, Selection
from llm_models.p5.network import IGNORED, P5Network
from llm_models.p5.prompting import Mixture
from llm_models.p5.settings import P5Settings

__all__ = ["label_table", "train"]


def label_table(sequences: list[list[int]]) -> Tensor:
    """Id tokens as labels, shape (items + 1, tokens); the last row, reached by -1, holds no label."""
    table = np.full((len(sequences) + 1, max(map(len, sequences))), IGNORED, np.int64)
    for row, sequence in zip(table, sequences, strict=False):
        row[: len(sequence)] = sequence
    return torch.from_numpy(table)


def train(
    network: P5Network,
    mixture: Mixture,
    labels: Tensor,
    settings: P5Settings,
    *,
    budget: Budget,
    validate: Callable[[], float],
    progress: Progress,
) -> tuple[Selection, int]:
    """Train and leave the selected weights in ``network``.

    An epoch is as many answers as there are training interactions.

    Returns
    -------
    selection : Selection
    tokens : int
        Tokens read by the encoder, padding not counted.
    """
    device = labels.device
    interactions = len(mixture.row_of)
    steps_an_epoch = interactions / (settings.batch * mixture.answers_per_prompt)
    limits = [budget.max_steps, _steps(budget.max_epochs, steps_an_epoch)]
    total = min([limit for limit in limits if limit is not None], default=settings.steps)
    every = budget.eval_every_steps or _steps(budget.eval_every_epochs, steps_an_epoch) or math.ceil(total / 20)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    rise = max(1, round(settings.warm_up * total))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / rise, (total - step) / max(1, total - rise))
    )
    selection = Selection(budget.model_copy(update={"max_steps": total, "max_epochs": None}))
    best: dict[str, Tensor] = {}
    answers, tokens, losses = 0, 0, 0.0
    for step, batch in enumerate(itertools.islice(mixture, total), start=1):
        network.train()
        ids, words = torch.from_numpy(batch.ids).to(device), torch.from_numpy(batch.words).to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=settings.dtype == "bfloat16"):
            loss = network.loss(ids, words, labels[torch.from_numpy(batch.target).to(device)])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
        optimiser.step()
        schedule.step()
        answers += int((batch.target >= 0).sum())
        tokens += int((batch.ids > 0).sum())
        losses += loss.item()
        progress(step, total, f"loss {loss.item():.3f}")
        if step % every == 0 or step == total:
            since = every if step % every == 0 else step % every
            keep = selection.observe(
                step=step, epoch=answers / interactions, loss=losses / since, validation=validate()
            )
            losses = 0.0
            if keep:
                best = {name: value.detach().clone() for name, value in network.state_dict().items()}
            if selection.stopped:
                break
    network.load_state_dict(best)
    network.eval()
    return selection, tokens


def _steps(epochs: int | None, steps_an_epoch: float) -> int | None:
    return None if epochs is None else math.ceil(epochs * steps_an_epoch)
