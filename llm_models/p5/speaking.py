"""A network at work on prompts: batches by length, and the three ways of reading an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from llm_models.decoding import Trie, exact, search, write
from llm_models.indexing.tokenizer import END, PAD, UNKNOWN
from llm_models.p5.network import Memory, P5Network, TrieStepper
from llm_models.p5.settings import P5Settings
from llm_models.p5.writer import Writer

__all__ = ["Speaker"]

#: Logits held at a time: a processor's cache is small, a graphics card wants much to do at once.
LOGITS = {"cpu": 2**22, "cuda": 2**27}
#: Characters of prompts read at a time.
CHARACTERS = {"cpu": 2**16, "cuda": 2**20}


class Speaker:
    """A network with a writer's way of splitting texts.

    Every answer depends on its own prompt alone; the order of the prompts and the size of batches are chosen for speed.
    """

    def __init__(self, network: P5Network, writer: Writer, settings: P5Settings) -> None:
        self.network = network
        self.writer = writer
        self.settings = settings

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self.network.whole_word.weight.device

    def rank(
        self,
        prompts: Sequence[str],
        trie: Trie,
        remaining: Callable[[NDArray[np.int64]], NDArray[np.int32]],
        *,
        beams: int | None,
        k: int,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Find the likeliest ``k`` sequences after each prompt.

        Parameters
        ----------
        remaining : callable
            Given positions of prompts, what may be answered to each: shape (prompts, nodes) as of
            :meth:`Trie.remaining`.
        beams : int or None
            ``None``: the exact answer.

        Returns
        -------
        entries : ndarray of int64, shape (prompts, k)
        scores : ndarray of float32, shape (prompts, k)
            As of :func:`llm_models.decoding.search`.
        """
        entries = np.full((len(prompts), k), -1, np.int64)
        scores = np.full((len(prompts), k), -np.inf, np.float32)
        with self._at_work():
            for rows, memory in self._batches(prompts, beams or min(trie.width, 10 * k)):
                start, left = partial(TrieStepper, self.network, memory), remaining(rows)
                if beams is None:
                    entries[rows], scores[rows] = exact(start, trie, left, k=k)
                else:
                    entries[rows], scores[rows] = search(start(), trie, left, beams=beams, k=k)
        return entries, scores

    def likelihoods(self, prompts: Sequence[str], trie: Trie, *, late: bool = False) -> NDArray[np.float32]:
        """Log-probability of each of a few answers after each prompt, shape (prompts, entries).

        Parameters
        ----------
        late : bool
            Compare first tokens where the second is due: after the likeliest first one.
        """
        scores = np.empty((len(prompts), len(trie)), np.float32)
        first = torch.from_numpy(trie.token[trie.path[:, 0]]).to(self.device)
        with self._at_work():
            for rows, memory in self._batches(prompts, len(trie)):
                step = TrieStepper(self.network, memory)
                if late:
                    begun = step(None, None).argmax(-1)
                    scores[rows] = step(begun, torch.zeros_like(begun))[:, 0, first].cpu().numpy()
                    continue
                every = np.ones((len(rows), trie.nodes), np.int32)
                entries, found = search(step, trie, every, beams=len(trie), k=len(trie))
                scores[rows[:, None], entries] = found
        return scores

    def texts(self, prompts: Sequence[str], *, beams: int, shortest: int, longest: int) -> list[str]:
        """Write a text after each prompt."""
        written = [""] * len(prompts)
        with self._at_work():
            for rows, memory in self._batches(prompts, beams):
                step = TrieStepper(self.network, memory)
                found = write(step, end=END, pad=PAD, beams=beams, shortest=shortest, longest=longest)
                for row, tokens in zip(rows.tolist(), found.tolist(), strict=True):
                    written[row] = self._text(tokens)
        return written

    def _text(self, tokens: list[int]) -> str:
        """Put pieces together up to the end mark; unknown ones, and what is no piece of the tokenizer, are left out."""
        tokenizer = self.writer.tokenizer
        kept = tokens[: tokens.index(END)] if END in tokens else tokens
        pieces = tokenizer.pieces(token for token in kept if UNKNOWN < token < len(tokenizer))
        return " ".join("".join(pieces).replace("▁", " ").split())

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """No dropout, no gradients, the settings' precision; afterwards the network is as it was."""
        network = self.network
        training, whole_words = network.training, network.whole_words
        network.eval()
        if "no-whole-words" in self.settings.quirks:
            network.whole_words = "training"
        half = self.settings.dtype == "bfloat16"
        try:
            with torch.inference_mode(), torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half):
                yield
        finally:
            network.train(training)
            network.whole_words = whole_words

    def _batches(self, prompts: Sequence[str], rows_each: int) -> Iterator[tuple[NDArray[np.int64], Memory]]:
        """Encode prompts of about one length together.

        Parameters
        ----------
        rows_each : int
            Rows of the decoder that a prompt will need.
        """
        device = self.device
        most = max(1, LOGITS[device.type] // (rows_each * self.network.t5.config.vocab_size))
        lengths = np.array([len(prompt) for prompt in prompts], np.int64)
        order = np.argsort(lengths, kind="stable")
        while len(order):
            size = np.arange(1, min(most, len(order)) + 1)
            fitting = int((lengths[order[: len(size)]] * size <= CHARACTERS[device.type]).sum())
            rows, order = np.split(order, [max(1, fitting)])
            ids, words = (torch.from_numpy(a).to(device) for a in self.writer.encode([prompts[row] for row in rows]))
            yield rows, self.network.encode(ids, words)
