"""Rows that have been read and are kept: keys and values that texts, or candidates, follow.

Imports torch: import this module inside a method.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from llm_models.backbones.blocks import KeysValues
from llm_models.backbones.layout import Layout
from llm_models.m6.language.model import LanguageModel
from llm_models.m6.language.rows import Row
from llm_models.m6.network import Embedded

__all__ = ["Memory", "TextStepper", "read"]


class Memory:
    """Rows that have been read, soft prompts included.

    Attributes
    ----------
    cache : tuple of KeysValues
        One a layer, all rows of one length: what is shorter is filled up before its beginning.
    real : Tensor of bool, shape (rows, tokens)
        Which tokens are no filling.
    position : Tensor of int64, shape (rows,)
        Of the next token.
    tasks : tuple of (str, int)
    logits : Tensor of float32, shape (rows, vocabulary)
        Of the next token.
    """

    def __init__(
        self,
        cache: tuple[KeysValues, ...],
        real: Tensor,
        position: Tensor,
        tasks: tuple[tuple[str, int], ...],
        logits: Tensor,
    ) -> None:
        self.cache, self.real, self.position, self.tasks, self.logits = cache, real, position, tasks, logits

    def after(self, model: LanguageModel, tokens: Tensor, *, keep: bool) -> tuple[Tensor, tuple[KeysValues, ...]]:
        """Hidden states of tokens that follow, shape (rows, tokens, width), and if asked their keys and values.

        Parameters
        ----------
        tokens : Tensor of int64, shape (rows, tokens)
            Where one row has been read, any number of rows may follow it, each for itself.
        """
        stack, (rows, count) = model.stack, tokens.shape
        positions = self.position[:, None] + torch.arange(count, device=tokens.device)
        causal = torch.ones(count, count, dtype=torch.bool, device=tokens.device).tril()
        before = self.real[:, None].expand(-1, count, -1)
        visible = torch.cat([before, causal.expand(len(before), -1, -1)], dim=2)
        hidden = stack.begin(stack.words(tokens), positions)
        tasks = self.tasks if len(self.real) == rows else ((self.tasks[0][0], rows),)
        adapters = model.network.adapters(tasks)
        run = stack.run(hidden, visible, positions, past=self.cache, keep=keep, adapters=adapters)
        return run.hidden, run.cache

    def grow(self, new: Sequence[KeysValues]) -> None:
        """Take one more token of every row in."""
        self.cache = tuple(
            KeysValues(torch.cat([old.keys, own.keys], 2), torch.cat([old.values, own.values], 2))
            for old, own in zip(self.cache, new, strict=True)
        )
        self.real = torch.cat([self.real, self.real.new_ones(len(self.real), 1)], dim=1)
        self.position = self.position + 1

    def take(self, rows: Tensor, tasks: tuple[tuple[str, int], ...]) -> None:
        """Go on with these rows, in this order, of these tasks."""
        self.cache = tuple(KeysValues(own.keys[rows], own.values[rows]) for own in self.cache)
        self.real, self.position, self.tasks = self.real[rows], self.position[rows], tasks


def read(model: LanguageModel, rows: Sequence[Row]) -> Memory:
    """Read rows that are to be gone on from, those of a task together, in one pass."""
    network, stack = model.network, model.stack
    packed = model.rows.pack(rows, closed=False)
    vectors, layout = _at_the_end(network.embed(packed.batch))
    positions = layout.positions(restart=False)
    hidden = stack.begin(vectors, positions)
    visible, adapters = layout.visible(blocks=False), network.adapters(packed.batch.tasks)
    run = stack.run(hidden, visible, positions, keep=True, adapters=adapters)
    return Memory(run.cache, layout.real, positions[:, -1] + 1, packed.batch.tasks, model.head(run.hidden[:, -1]))


def _at_the_end(embedded: Embedded) -> tuple[Tensor, Layout]:
    """Move all filling before the rows, so that what follows stands right behind them."""
    layout = embedded.layout
    order = layout.real.long().argsort(dim=1, stable=True)
    vectors = embedded.vectors.gather(1, order.unsqueeze(-1).expand_as(embedded.vectors))
    return vectors, Layout(layout.segment.gather(1, order), layout.target.gather(1, order))


class TextStepper:
    """Log-probabilities of the next token, a step at a time: see :class:`llm_models.decoding.Stepper`.

    Parameters
    ----------
    model : LanguageModel
    memory : Memory
    barred : Tensor of int64
        Tokens that are never written.
    no_repeat : int
        So many tokens in a row are not written twice in a text; 0: they may be.
    """

    def __init__(self, model: LanguageModel, memory: Memory, barred: Tensor, *, no_repeat: int = 0) -> None:
        self.model, self.memory, self.barred, self.no_repeat = model, memory, barred, no_repeat
        self._tasks = memory.tasks
        self._written = barred.new_empty(len(memory.real), 0)

    def __call__(self, tokens: Tensor | None, parents: Tensor | None) -> Tensor:
        """See :meth:`llm_models.decoding.Stepper.__call__`."""
        memory = self.memory
        if tokens is None:
            return self._log_probabilities(memory.logits).unsqueeze(1)
        assert parents is not None
        prompts, beams = tokens.shape
        before = len(memory.real) // prompts
        rows = (torch.arange(prompts, device=tokens.device)[:, None] * before + parents).flatten()
        if before != beams or not torch.equal(rows, torch.arange(len(rows), device=rows.device)):
            memory.take(rows, tuple((task, count * beams) for task, count in self._tasks))
        self._written = torch.cat([self._written[rows], tokens.view(-1, 1)], dim=1)
        hidden, new = memory.after(self.model, tokens.view(-1, 1), keep=True)
        memory.grow(new)
        return self._log_probabilities(self.model.head(hidden[:, -1])).view(prompts, beams, -1)

    def _log_probabilities(self, logits: Tensor) -> Tensor:
        found = logits.log_softmax(-1)
        found[:, self.barred] = -torch.inf
        if self.no_repeat:
            for row, text in enumerate(self._written.tolist()):
                found[row, _continuations(text, self.no_repeat)] = -torch.inf
        return found


def _continuations(text: list[int], size: int) -> list[int]:
    """Tokens that followed the last ``size - 1`` tokens of a text wherever these stood in it before."""
    last = text[len(text) - size + 1 :]
    return [text[end] for end in range(size - 1, len(text)) if text[end - size + 1 : end] == last]
