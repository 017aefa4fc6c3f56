"""Training M6-Rec retrieval: batches of whole users, so that every item's text is read once a step.

Imports torch: import this module inside a method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn import functional

from bench.models import Budget, Progress, Ragged, Selection
from llm_models.m6.heads import Floats, collisions, contrastive_loss
from llm_models.m6.lexical import blend, drop_words
from llm_models.m6.retrieval_network import RetrievalNetwork
from llm_models.m6.retrieval_serving import recency
from llm_models.m6.retrieval_settings import RetrievalSettings
from llm_models.m6.retrieval_texts import FrozenTexts
from llm_models.m6.training import Pairs
from llm_models.m6.vectors import unit

__all__ = ["Items", "Trainer", "neighbours", "user_batches"]


@dataclass(frozen=True, eq=False)
class Items:
    """The training items.

    Attributes
    ----------
    texts : FrozenTexts
    row : ndarray of int64, shape (items,)
        Of ``texts``; no pair holds an item without text.
    frozen : ndarray of float32, shape (items, width)
        Unit vectors around the centre.
    words : csr_array of float32, shape (items, words), or None
        TF-IDF rows, where there is a lexical channel.
    """

    texts: FrozenTexts
    row: NDArray[np.int64]
    frozen: Floats
    words: csr_array | None


def user_batches(user: NDArray[np.int64], size: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """One pass over the pairs, all pairs of a user in one batch of about ``size``.

    Parameters
    ----------
    user : ndarray of int64, shape (pairs,)
        Not decreasing.
    """
    starts = np.flatnonzero(np.append(True, user[1:] != user[:-1]))
    lengths = np.diff(np.append(starts, len(user)))
    order = rng.permutation(len(starts))
    count = min(batches_of(user, size), len(starts))
    before = np.cumsum(lengths[order]) - lengths[order]
    number = before * count // len(user)
    rows = Ragged(np.append(starts, len(user)), np.arange(len(user), dtype=np.int32))
    for batch in range(count):
        chosen = rows.take(order[number == batch]).values.astype(np.int64)
        if len(chosen):
            yield chosen


def batches_of(user: NDArray[np.int64], size: int) -> int:
    """Batches of one pass."""
    return max(1, round(len(user) / size))


def neighbours(rows: Floats | csr_array, count: int) -> NDArray[np.int64]:
    """The ``count`` most similar other items of each item by inner product, int64, shape (items, count), best first."""
    items = rows.shape[0]
    count = min(count, items - 1)
    found = np.empty((items, count), np.int64)
    for start in range(0, items, 1024):
        stop = min(start + 1024, items)
        block = rows[start:stop] @ rows.T
        scores = np.asarray(block.toarray() if isinstance(block, csr_array) else block)
        scores[np.arange(stop - start), np.arange(start, stop)] = -np.inf
        found[start:stop] = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    return found


class Trainer:
    """Trains a network in place.

    Parameters
    ----------
    network : RetrievalNetwork
    items : Items
        Rows of the pairs.
    pairs : Pairs
        At least one.
    settings : RetrievalSettings
    """

    def __init__(self, network: RetrievalNetwork, items: Items, pairs: Pairs, settings: RetrievalSettings) -> None:
        self.network, self.items, self.pairs, self.settings = network, items, pairs, settings
        self.device = network.user.weight.device
        counts = np.bincount(pairs.item, minlength=len(items.row)).clip(min=1)
        self._log_share = np.log(counts / len(pairs)).astype(np.float32)

    @cached_property
    def _near(self) -> NDArray[np.int64]:
        lexical = self.settings.hard_from == "lexical"
        rows = self.items.words if lexical else self.items.frozen
        assert rows is not None
        return neighbours(rows, self.settings.hard_pool)

    def loss(self, batch: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
        """The mean loss of the pairs of a batch; ``rng`` draws hard negatives and drops words."""
        settings, pairs = self.settings, self.pairs
        history, target = pairs.history.take(batch), pairs.item[batch]
        extra = self._drawn(target, rng)
        offered = np.concatenate([target, extra])
        distinct, place = np.unique(np.concatenate([history.values, offered]), return_inverse=True)
        history = Ragged(history.offsets, place[: len(history.values)].astype(np.int32))
        column = place[len(history.values) :]
        weight = recency(history, settings.half_life)
        h_user, h_item = self._hidden(distinct, history, weight, column)
        user_words, item_words, shared = self._lexical(distinct, history, weight, column)
        dropped = (
            None if rows is None else drop_words(rows, settings.word_dropout, rng) for rows in (user_words, item_words)
        )
        user_rows, item_rows = dropped
        h_item = functional.dropout(h_item, settings.dropout)
        x = self.network.user(functional.dropout(h_user, settings.dropout), user_rows)
        y = self.network.item(h_item, item_rows)
        if self.network.prior is not None:
            prior = self.network.prior(h_item, item_rows).expand(len(x), -1)
            shared = prior if shared is None else shared + prior
        if settings.residual:
            frozen = torch.from_numpy(self._frozen_cosines(distinct, history, weight, column)).to(self.device)
            shared = settings.residual * frozen + (0 if shared is None else shared)
        return contrastive_loss(
            x,
            y,
            torch.from_numpy(self._masked(pairs.user[batch], target, extra)).to(self.device),
            temperature=settings.temperature,
            offset=self._offset(target, extra),
            shared=shared,
        )

    def _drawn(self, target: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Hard negatives of a batch, distinct."""
        count = self.settings.hard_negatives
        if not count:
            return np.empty(0, np.int64)
        near = self._near[target]
        return np.setdiff1d(
            near[np.arange(len(near))[:, None], rng.integers(near.shape[1], size=(len(near), count))], target
        )

    def _masked(
        self, user: NDArray[np.int64], target: NDArray[np.int64], extra: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        mask = collisions(user, target, self.pairs.positives)
        if not len(extra):
            return mask
        met = self.pairs.positives.take(user)
        place = np.searchsorted(extra, met.values).clip(max=len(extra) - 1)
        here = extra[place] == met.values
        more = np.zeros((len(user), len(extra)), bool)
        more[met.row_of[here], place[here]] = True
        return np.concatenate([mask, more], axis=1)

    def _offset(self, target: NDArray[np.int64], extra: NDArray[np.int64]) -> Tensor | None:
        """What is taken off the logits: a hard negative stands in the batch once, as if drawn with share 1 / batch."""
        if not self.settings.popularity_correction:
            return None
        drawn = np.full(len(extra), -np.log(len(target)), np.float32)
        offset = np.concatenate([self._log_share[target], drawn]) * np.float32(self.settings.popularity_correction)
        return torch.from_numpy(offset).to(self.device)

    def _hidden(
        self, distinct: NDArray[np.int64], history: Ragged, weight: NDArray[np.float32], column: NDArray[np.int64]
    ) -> tuple[Tensor, Tensor]:
        """Vectors of users and of the items offered, before projection."""
        device, items = self.device, self.items
        if self.network.frozen:
            vectors = torch.from_numpy(items.frozen[distinct]).to(device)
        else:
            states = items.texts.states(items.row[distinct])
            vectors = self.network.vectors(states)
        offered = vectors[torch.from_numpy(column).to(device)]
        if self.settings.user == "ordered":
            return self.network.vectors(states, history), offered
        mean = functional.embedding_bag(
            torch.from_numpy(history.values.astype(np.int64)).to(device),
            vectors,
            torch.from_numpy(history.offsets[:-1]).to(device),
            mode="sum",
            per_sample_weights=torch.from_numpy(weight).to(device),
        )
        return functional.normalize(mean, dim=1), offered

    def _lexical(
        self, distinct: NDArray[np.int64], history: Ragged, weight: NDArray[np.float32], column: NDArray[np.int64]
    ) -> tuple[csr_array | None, csr_array | None, Tensor | None]:
        """TF-IDF rows of users and of the items offered, and what their cosines add to the score."""
        if self.items.words is None:
            return None, None, None
        rows = self.items.words[distinct]
        user, offered = blend(rows, history, weight), rows[column]
        if not self.settings.lexical_residual:
            return user, offered, None
        cosines = torch.from_numpy(np.asarray((user @ offered.T).toarray(), np.float32)).to(self.device)
        return user, offered, self.settings.lexical_residual * cosines

    def _frozen_cosines(
        self, distinct: NDArray[np.int64], history: Ragged, weight: NDArray[np.float32], column: NDArray[np.int64]
    ) -> Floats:
        frozen = self.items.frozen[distinct]
        share = csr_array((weight, history.values, history.offsets), shape=(len(history), len(distinct)))
        return unit(np.asarray(share @ frozen)) @ frozen[column].T

    def train(self, *, budget: Budget, seed: int, validate: Callable[[], float], progress: Progress) -> Selection:
        """Train; the weights end as validation chose them, the start among the candidates."""
        budget.must_end()
        rng, settings, selection = np.random.default_rng(seed), self.settings, Selection(budget)
        trained = self.network.trained()
        rates = {
            name: settings.tuning_rate if name.startswith("m6.") or name == "query" else settings.learning_rate
            for name in trained
        }
        masters = _Masters(trained)
        optimiser = torch.optim.AdamW(
            [{"params": [weight], "lr": rates[name]} for name, weight in masters.weights.items()],
            weight_decay=settings.weight_decay,
            fused=True,
        )
        best: dict[str, Tensor] = {}
        was_frozen = True
        per_epoch = sum(1 for _ in user_batches(self.pairs.user, settings.batch_size, np.random.default_rng(seed)))
        losses: list[float] = []
        last_step = min(
            (end for end in (budget.max_steps, budget.max_epochs and budget.max_epochs * per_epoch) if end), default=0
        )

        def evaluate(step: int) -> None:
            nonlocal was_frozen
            value = validate()
            loss = float(np.mean(losses))
            if selection.observe(step=step, epoch=step / per_epoch, loss=loss, validation=value):
                best.update({name: weight.detach().clone() for name, weight in trained.items()})
                was_frozen = self.network.frozen
            progress(step, last_step or step, f"loss {loss:.3f}, validation {value:.4f}")

        step = 0
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(seed)
            while not selection.stopped:
                for batch in user_batches(self.pairs.user, settings.batch_size, rng):
                    self.network.frozen = not settings.reads_states or step < settings.frozen_epochs * per_epoch
                    loss = self.loss(batch, rng)
                    losses.append(loss.item())
                    if step == 0:
                        evaluate(0)
                    optimiser.zero_grad()
                    loss.backward()
                    masters.step(optimiser)
                    step += 1
                    if budget.due(step, step / per_epoch):
                        evaluate(step)
                        losses.clear()
                    if selection.stopped:
                        break
        with torch.no_grad():
            for name, weight in trained.items():
                weight.copy_(best[name])
        self.network.frozen = was_frozen
        return selection


class _Masters:
    """Float32 copies of weights kept in bfloat16: a small step would be lost in its eight bits."""

    def __init__(self, weights: dict[str, torch.nn.Parameter]) -> None:
        self._low = {name: weight for name, weight in weights.items() if weight.dtype != torch.float32}
        self._high = {name: weight.detach().float().requires_grad_() for name, weight in self._low.items()}
        self.weights: dict[str, Tensor] = {**weights, **self._high}

    def step(self, optimiser: torch.optim.Optimizer) -> None:
        """Take the optimiser's step."""
        for name, weight in self._low.items():
            self._high[name].grad = None if weight.grad is None else weight.grad.float()
            weight.grad = None
        optimiser.step()
        with torch.no_grad():
            for name, weight in self._low.items():
                weight.copy_(self._high[name])
