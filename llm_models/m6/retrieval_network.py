"""M6-Rec retrieval's network: tuned layers over frozen states, pooling, and the two projections.

``x = L2norm(W_u h_user + V_u t_user + c_u)``, ``y = L2norm(W_i h_item + V_i t_item + c_i)`` with h the pooled states
and t TF-IDF rows (the lexical channel, where it is declared); a declared prior adds ``w . h_item + v . t_item`` to the
score. An item is read in both directions, as the backbone was pre-trained, and not causally as M6-Rec's candidates are:
an encoder has never seen half a text.

Source: Cui et al., "M6-Rec", 2022 (projections, loss, late interaction). Imports torch: import it inside a method.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor, nn
from torch.nn import functional

from bench.data.ragged import Ragged, ranges
from llm_models.backbones.layout import Layout
from llm_models.backbones.segments import Packed
from llm_models.m6.heads import Floats, Heads
from llm_models.m6.network import SEGMENT_KINDS, M6Network
from llm_models.m6.packing import buckets
from llm_models.m6.retrieval_settings import RetrievalSettings
from llm_models.m6.retrieval_texts import FrozenTexts
from llm_models.m6.tuning import Method, Tuning

__all__ = ["Prior", "Projection", "RetrievalNetwork"]

_BATCH_TOKENS = {"cpu": 2048, "cuda": 65536}
_WORDS_START = 0.3
"""Standard deviation of the words' first vectors, times the root of the dimensions."""

_METHODS: dict[str, Method] = {"prompt-adapter": "option-adapter"}
"""Without classes option-adapter tuning is soft prompts and adapters."""


class Projection(nn.Module):
    """One projection.

    Attributes
    ----------
    weight : Parameter, shape (dim, width)
    words : Parameter, shape (words, dim), or None
    constant : Parameter, shape (dim,), or None
    """

    def __init__(self, weight: Tensor, words: Tensor | None, *, constant: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.words = None if words is None else nn.Parameter(words.clone())
        self.constant = nn.Parameter(torch.zeros(len(weight))) if constant else None

    def forward(self, hidden: Tensor, rows: csr_array | None) -> Tensor:
        """Unit vectors, shape (n, dim), of hidden vectors, shape (n, width), and TF-IDF rows, shape (n, words)."""
        found = functional.linear(hidden, self.weight, self.constant)
        if self.words is not None:
            assert rows is not None
            found = found + _product(rows, self.words)
        return functional.normalize(found, dim=1)


class Prior(nn.Module):
    """How much an item is asked for by everyone, so far as its text tells it; starts at 0."""

    def __init__(self, width: int, words: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))
        self.words = nn.Parameter(torch.zeros(words, 1)) if words else None

    def forward(self, hidden: Tensor, rows: csr_array | None) -> Tensor:
        """Shape (n,), of hidden vectors, shape (n, width), and TF-IDF rows, shape (n, words)."""
        found = hidden @ self.weight
        if self.words is not None:
            assert rows is not None
            found = found + _product(rows, self.words).squeeze(1)
        return found


def _product(rows: csr_array, weight: Tensor) -> Tensor:
    device = weight.device
    return functional.embedding_bag(
        torch.from_numpy(rows.indices.astype(np.int64)).to(device),
        weight,
        torch.from_numpy(rows.indptr[:-1].astype(np.int64)).to(device),
        mode="sum",
        per_sample_weights=torch.from_numpy(rows.data).to(device),
    )


class RetrievalNetwork(nn.Module):
    """Everything that is trained, on a stack of which at most the layers after L' are.

    Attributes
    ----------
    frozen : bool
        Whether items are still their frozen vectors, and :meth:`vectors` is not to be asked.

    Parameters
    ----------
    texts : FrozenTexts
        Its stack is shared, and copied where weights of it are trained.
    settings : RetrievalSettings
    start : Heads
        Where the projections start.
    words : int
        Words of the lexical channel; 0: none.
    center : ndarray of float32, shape (width,)
        Taken off every pooled vector.
    seed : int
    """

    def __init__(
        self, texts: FrozenTexts, settings: RetrievalSettings, start: Heads, *, words: int, center: Floats, seed: int
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.settings, self.late = settings, texts.late
        self.frozen = not settings.reads_states
        stack = copy.deepcopy(texts.stack) if settings.method == "full" else texts.stack
        tuning = Tuning(
            stack,
            _METHODS.get(settings.method, settings.method),  # type: ignore[arg-type]
            classes=0,
            prompts=settings.prompts,
            rank=settings.rank,
            adapter_layers=range(self.late, stack.depth),
            train_specials=False,
            begin=texts.begin,
            end=texts.end,
            generator=generator,
        )
        self.m6 = M6Network(stack, {"retrieval": tuning}, late=self.late)
        dim = len(start.user)
        spread = _WORDS_START / dim**0.5
        # Both sides start alike: then the product of two projected rows is about the product of the rows.
        first = torch.randn(words, dim, generator=generator) * spread if words else None
        self.user = Projection(start.user, first, constant=settings.constants)
        self.item = Projection(start.item, first, constant=settings.constants)
        self.prior = Prior(stack.width, words) if settings.prior else None
        self.query = nn.Parameter(torch.zeros(stack.width)) if settings.pooling == "attention" else None
        self.register_buffer("center", torch.from_numpy(center), persistent=False)
        self.to(stack.device)
        if settings.method == "full":
            self.m6.stack.requires_grad_(True)

    def trained(self) -> dict[str, nn.Parameter]:
        """The declared parameters, by name: what training may change."""
        ordered = self.settings.user == "ordered"
        last = tuple(f"m6.stack.blocks.{layer}." for layer in range(self.late, self.m6.stack.depth))
        return {
            name: weight
            for name, weight in self.named_parameters()
            if weight.numel()
            and weight.requires_grad
            and (not name.startswith("m6.stack.") or name.startswith((*last, "m6.stack.final.")))
            and (ordered or name != "m6.segments")
        }

    def vectors(self, states: Packed, histories: Ragged | None = None) -> Tensor:
        """Pooled unit vectors around the centre, float32, shape (rows, width).

        Parameters
        ----------
        states : Packed
            Of distinct texts, after layer L'.
        histories : Ragged, optional
            Rows of texts, oldest first, each read as one; by default every text is a row, read alone. An empty row
            gives zeros.
        """
        texts = len(states)
        rows = Ragged.from_lengths(np.ones(texts, np.int64), np.arange(texts)) if histories is None else histories
        values, sizes = states.tensor().to(self.m6.stack.device), states.tokens
        running = np.concatenate([[0], np.cumsum(sizes[rows.values])])
        lengths = running[rows.offsets[1:]] - running[rows.offsets[:-1]]
        prompts = self._prompts()
        order, parts = [], []
        for batch in buckets(lengths, tokens=_BATCH_TOKENS[values.device.type]):
            order.append(batch)
            if lengths[batch].max() == 0:
                parts.append(torch.zeros(len(batch), self.m6.stack.width, device=values.device))
                continue
            laid = _laid(rows.take(batch), states.offsets, sizes, alone=histories is None)
            place, segment, kinds = (torch.from_numpy(part).to(values.device) for part in laid)
            parts.append(self._pooled(values[place], segment, kinds, prompts))
        if not parts:
            return torch.zeros(0, self.m6.stack.width, device=values.device)
        back = np.empty(len(rows), np.int64)
        back[np.concatenate(order)] = np.arange(len(rows))
        pooled = torch.cat(parts)[torch.from_numpy(back).to(values.device)]
        empty = torch.from_numpy(lengths == 0).to(values.device).unsqueeze(1)
        found = functional.normalize(functional.normalize(pooled, dim=1) - self.center, dim=1)
        return found.masked_fill(empty, 0.0)

    def _prompts(self) -> Tensor:
        """States of the soft prompts after layer L', shape (1, prompts, width)."""
        stack, tuning = self.m6.stack, self.m6.tuning("retrieval")
        vectors = tuning.prompts.to(stack.dtype).unsqueeze(0)
        if not vectors.shape[1]:
            return vectors
        places = torch.arange(vectors.shape[1], device=vectors.device).unsqueeze(0)
        return stack.run(stack.begin(vectors, places), None, places, last=self.late).hidden

    def _pooled(self, hidden: Tensor, segment: Tensor, kinds: Tensor, prompts: Tensor) -> Tensor:
        """Run the layers after L' over rows of states, shape (rows, tokens, width), and pool them."""
        m6, count = self.m6, prompts.shape[1]
        real = segment >= 0
        if self.late < m6.stack.depth:
            layout = Layout(segment, torch.zeros_like(real)).prepended(count)
            if self.settings.user == "ordered":
                hidden = hidden + m6.segments[kinds].to(hidden.dtype)
            hidden = torch.cat([prompts.expand(len(hidden), -1, -1), hidden], dim=1)
            places, visible = layout.positions(restart=False), layout.visible(blocks=False)
            adapters = m6.adapters((("retrieval", len(hidden)),))
            hidden = m6.stack.run(hidden, visible, places, first=self.late, adapters=adapters).hidden[:, count:]
        if self.settings.pooling == "last":
            return hidden[torch.arange(len(hidden)), real.sum(dim=1) - 1].float()
        hidden = hidden.float()
        logits = torch.zeros_like(segment, dtype=torch.float32)
        if self.query is not None:
            logits = hidden @ self.query / self.query.numel() ** 0.5
        weight = logits.masked_fill(~real, -torch.inf).softmax(dim=1)
        return (hidden * weight.unsqueeze(-1)).sum(dim=1)


def _laid(
    rows: Ragged, offsets: NDArray[np.int64], sizes: NDArray[np.int64], *, alone: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Where each token of each row stands, the number of its segment (-1 for padding) and its segment's kind.

    Kinds are rows of :attr:`M6Network.segments`: 1 for items (``alone``); 3 for the last of a history, 4 for the one
    before, and so on.
    """
    flat = ranges(offsets[rows.values], sizes[rows.values])
    number = np.arange(len(rows.values)) - np.repeat(rows.offsets[:-1], rows.lengths)
    ago = np.repeat(rows.lengths, rows.lengths) - 1 - number
    kind = np.ones_like(ago) if alone else np.minimum(3 + ago, SEGMENT_KINDS - 1)
    of = np.repeat(np.arange(len(rows.values)), sizes[rows.values])
    tokens = np.bincount(rows.row_of[of], minlength=len(rows))
    inside = np.arange(tokens.max()) < tokens[:, None]
    place, segment, kinds = (
        np.zeros(inside.shape, np.int64),
        np.full(inside.shape, -1),
        np.zeros(inside.shape, np.int64),
    )
    place[inside], segment[inside], kinds[inside] = flat, number[of], kind[of]
    return place, segment, kinds
