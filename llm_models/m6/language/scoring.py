"""Candidates compared by the mean log-probability of a sentence about each, the user read once.

A user's text and the sentence's opening are read once and kept; the candidates' sentences then follow in batches of
like length, each for itself. A request costs the user's tokens, and for every candidate its own: with N candidates of
m tokens about 2 N m (P + V d) operations, P being the parameters of the layers, V the vocabulary, d the width (of
MiniLM 10.6 M and 30,522 x 384). A catalogue of thousands is dear: let a draw, or a first stage, name the candidates.

Imports torch: import this module inside a method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bench.models import Ragged
from llm_models.m6.language.cached import Memory, read
from llm_models.m6.language.model import LanguageModel
from llm_models.m6.language.rows import Row
from llm_models.m6.packing import buckets

__all__ = ["compare"]


def compare(
    model: LanguageModel,
    users: Sequence[Row],
    sentences: Sequence[Row],
    asked: Ragged,
    *,
    tokens: int = 2048,
    told: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """Score sentences after users.

    Parameters
    ----------
    users : sequence of Row
        Source and prefix (the sentence's opening); of one task.
    sentences : sequence of Row
        Their targets are scored: every token, the end mark left out.
    asked : Ragged
        Per user the sentences to score.
    tokens : int
        Padded tokens of candidates at a time: bounds the memory.

    Returns
    -------
    ndarray of float32, shape (len(asked.values),)
        Mean log-probability of a sentence's tokens; NaN for a sentence without any.
    """
    device = model.stack.device
    lengths = np.array([len(sentence.target) for sentence in sentences], np.int64)
    padded = torch.full((len(sentences), int(lengths.max(initial=1))), -1, dtype=torch.int64)
    for row, sentence in enumerate(sentences):
        padded[row, : len(sentence.target)] = torch.tensor(sentence.target, dtype=torch.int64)
    padded = padded.to(device)
    scores = np.full(len(asked.values), np.nan, np.float32)
    with torch.inference_mode():
        for number, user in enumerate(users):
            places = np.arange(asked.offsets[number], asked.offsets[number + 1])
            places = places[lengths[asked.values[places]] > 0]
            if not len(places):
                continue
            memory = read(model, [user._replace(target=[])])
            for batch in buckets(lengths[asked.values[places]], tokens=tokens):
                rows = torch.from_numpy(asked.values[places[batch]].astype(np.int64)).to(device)
                width = int(lengths[asked.values[places[batch]]].max())
                scores[places[batch]] = _mean(model, memory, padded[rows, :width]).cpu().numpy()
            if told is not None:
                told(number + 1, len(users))
    return scores


def _mean(model: LanguageModel, memory: Memory, labels: Tensor) -> Tensor:
    """Mean log-probability of each row of tokens after what was read; -1 fills up."""
    real = labels >= 0
    total = memory.logits.log_softmax(-1)[0, labels[:, 0]]
    if labels.shape[1] > 1:
        hidden, _ = memory.after(model, labels[:, :-1].clamp(min=0), keep=False)
        row, place = real[:, 1:].nonzero(as_tuple=True)
        losses = functional.cross_entropy(model.head(hidden[row, place]), labels[row, place + 1], reduction="none")
        total = total.index_add(0, row, -losses)
    return total / real.sum(dim=1)
