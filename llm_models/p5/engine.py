"""A trained P5 at work: requests to prompts, prompts to lists of items."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from bench.models import Ragged, RankedLists, Requests
from llm_models.decoding import Trie, search
from llm_models.p5.network import P5Network, TrieStepper
from llm_models.p5.prompting import Writer, id_sequences
from llm_models.p5.settings import P5Settings
from llm_models.prompts import PromptCollection, Template

__all__ = ["Engine"]

#: Beams in one call of the decoder, all requests together.
BEAM_ROWS = 5120


class Engine:
    """A network with the words and the trie it speaks in."""

    def __init__(self, network: P5Network, writer: Writer, prompts: PromptCollection, settings: P5Settings) -> None:
        self.network = network
        self.writer = writer
        self.prompts = prompts
        self.settings = settings
        self.sequences = id_sequences(writer.items, writer.tokenizer)

    @cached_property
    def trie(self) -> Trie:
        """The ids that can be written."""
        return Trie.build(self.sequences)

    def write(self, requests: Requests) -> list[str | None]:
        """Write the prompt of every request; ``None`` for one that cannot be asked.

        A known user is asked for by id, with the history in a sequential request; a user never seen by the sequential
        prompt that names nobody. Items never seen have no id and are not shown. Without either there is no prompt.
        """
        users = self.writer.users.rows(requests.user)
        history = Ragged.empty(len(requests)) if requests.history is None else requests.history
        items = self.writer.items.rows(history.values)
        known = Ragged(history.offsets, items.astype(np.int32)).keep(items >= 0).last(self.settings.max_history)
        prompts: list[str | None] = []
        for user, shown in zip(users.tolist(), known, strict=True):
            template = self._template(user >= 0, len(shown) > 0)
            prompts.append(self.writer.write(template, user, shown) if template else None)
        return prompts

    def _template(self, user: bool, history: bool) -> Template | None:
        if user:
            return self.prompts.answering("sequential" if history else "direct", self.settings.prompt)
        return self.prompts.nameless if history else None

    def rank(self, requests: Requests, k: int, exclude: Ragged) -> RankedLists:
        """Search the best ``k`` items of every request."""
        prompts = self.write(requests)
        served = np.array([prompt is not None for prompt in prompts], bool)
        allowed = np.isin(self.writer.items.code, requests.catalogue.items)
        barred = self.writer.items.rows(exclude.values)
        barred = Ragged(exclude.offsets, barred.astype(np.int32)).keep(barred >= 0)
        beams = self.trie.width if self.settings.decode == "exhaustive" else max(self.settings.beams, k)
        entries = np.full((len(requests), k), -1, np.int64)
        scores = np.full((len(requests), k), -np.inf, np.float32)
        order = sorted(np.flatnonzero(served).tolist(), key=lambda row: len(prompts[row]))
        size = max(1, BEAM_ROWS // beams)
        for start in range(0, len(order), size):
            rows = np.array(order[start : start + size])
            remaining = self.trie.remaining(allowed, barred.take(rows))
            entries[rows], scores[rows] = self._search([prompts[row] for row in rows], remaining, beams, k)
        found = entries >= 0
        items = Ragged.from_lengths(found.sum(1), self.writer.items.code[entries[found]])
        return RankedLists(items, scores[found], served)

    @torch.inference_mode()
    def _search(
        self, prompts: list[str], remaining: NDArray[np.int32], beams: int, k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        training = self.network.training
        self.network.eval()
        device = self.network.whole_word.weight.device
        batch = self.writer.pad(prompts, np.empty((len(prompts), 0), np.int64))
        ids, words = torch.from_numpy(batch.ids).to(device), torch.from_numpy(batch.words).to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.settings.dtype == "bfloat16"):
            memory = self.network.encode(ids, words)
            found = search(TrieStepper(self.network, memory), self.trie, remaining, beams=beams, k=k)
        self.network.train(training)
        return found
