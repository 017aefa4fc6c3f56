"""Rows of text for a language model: what is read, how the text begins, and what is to be written.

A row can be read in two ways. ``"prefix"``, as M6-Rec does: ``[BOS'] source [EOS']`` is seen in both directions, then
``[BOS] prefix target [EOS]`` follows from left to right; the four special tokens are the task's own and may be trained.
``"causal"``: source, prefix and target are one text, read from left to right with no tokens between, which is how
decoders were pre-trained.

Imports torch: import this module inside a method.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llm_models.backbones.layout import Layout
from llm_models.m6.network import Batch

__all__ = ["Reading", "Row", "Rows", "TextBatch", "marks"]

Reading = Literal["prefix", "causal"]


class Row(NamedTuple):
    """One text as tokens, special ones left out.

    Attributes
    ----------
    task : str
        Whose tuning reads it.
    source, prefix, target : list of int
        What is read, how the text begins, what follows. The last is empty where it is to be written.
    """

    task: str
    source: list[int]
    prefix: list[int]
    target: list[int]


@dataclass(frozen=True, eq=False)
class TextBatch:
    """Rows as a network takes them.

    Attributes
    ----------
    batch : Batch
    labels : Tensor of int64, shape (rows, tokens)
        The token to foretell at each place; -1 where none is.
    """

    batch: Batch
    labels: Tensor


def marks(tokenizer: Any) -> tuple[int, int]:
    """The tokens that begin and end a text for a tokenizer: [CLS] and [SEP], or those of a decoder."""
    end = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
    begin = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
    return (end if begin is None else begin), end


class Rows:
    """Makes rows, and batches of them.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerFast
    reading : {"prefix", "causal"}
    max_source, max_target : int
        Tokens of a source, and of prefix and target together. A long source loses its beginning (the oldest of a
        history stands there), a long target its end.
    device : str
    """

    def __init__(
        self, tokenizer: Any, *, reading: Reading, max_source: int, max_target: int, device: str = "cpu"
    ) -> None:
        self.tokenizer, self.reading, self.device = tokenizer, reading, device
        self.max_source, self.max_target = max_source, max_target
        self.begin, self.end = marks(tokenizer)
        # A causal text begins as the backbone's own did, where it has a token for that alone.
        self.opening = [] if reading == "prefix" or self.begin == self.end else [self.begin]

    def rows(self, task: str, sources: Sequence[str], prefixes: Sequence[str], targets: Sequence[str]) -> list[Row]:
        """Make rows of one task; a target is empty where it is to be written.

        Texts are split into tokens as they stand together, so that a word has the same tokens wherever it is written.
        """
        led = [_joined(prefix, target) for prefix, target in zip(prefixes, targets, strict=True)]
        if self.reading == "prefix":
            read, whole = [ids for ids, _ in self._split(list(sources))], led
        else:
            read, whole = [[]] * len(led), [_joined(source, rest) for source, rest in zip(sources, led, strict=True)]
        made = []
        for own, (ids, ends), text, rest, target in zip(read, self._split(whole), whole, led, targets, strict=True):
            first, second = (bisect_right(ends, len(text) - len(part)) if part else len(ids) for part in (rest, target))
            room = max(self.max_target - (second - first), 1)
            source = [*own, *ids[:first]][-self.max_source :]
            made.append(Row(task, source, ids[first:second], ids[second:][:room]))
        return made

    def _split(self, texts: list[str]) -> list[tuple[list[int], list[int]]]:
        """Per text its tokens, and where in the text each ends."""
        if not texts:
            return []
        found = self.tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
        return [
            (ids, [end for _, end in offsets])
            for ids, offsets in zip(found["input_ids"], found["offset_mapping"], strict=True)
        ]

    def length(self, row: Row) -> int:
        """Tokens of a row with its special ones, soft prompts left out."""
        return sum(map(len, row[1:])) + (4 if self.reading == "prefix" else 1 + len(self.opening))

    def pack(self, rows: Sequence[Row], *, closed: bool = True) -> TextBatch:
        """Put rows together; rows of a task must stand together.

        Parameters
        ----------
        closed : bool
            Whether the end mark follows (and is to be foretold).
        """
        parts = [self._laid(row, closed) for row in rows]
        width = max(len(tokens) for tokens, *_ in parts)
        fills = (self.end, -1, -1, False, -1)
        columns = [
            torch.from_numpy(np.stack([_filled(part[number], width, fill) for part in parts])).to(self.device)
            for number, fill in enumerate(fills)
        ]
        tokens, special, segment, target, labels = columns
        tasks = tuple((task, len(list(own))) for task, own in groupby(row.task for row in rows))
        return TextBatch(Batch(tokens, special, Layout(segment, target), tasks), labels)

    def _laid(self, row: Row, closed: bool) -> tuple[NDArray[Any], ...]:
        """Tokens, special tokens, segments, whether a target, and labels of one row."""
        written = [*row.prefix, *row.target]
        end = [self.end] if closed else []
        if self.reading == "prefix":
            tokens = [self.begin, *row.source, self.end, self.begin, *written, *end]
            split = len(row.source) + 2
            special = np.full(len(tokens), -1)
            special[[0, split - 1, split]] = 0, 1, 2
            if closed:
                special[-1] = 3
        else:
            tokens = [*self.opening, *row.source, *written, *end]
            split, special = 0, np.full(len(tokens), -1)
        place = np.arange(len(tokens))
        segment = (place >= split).astype(np.int64) * (self.reading == "prefix")
        scored = len(row.target) + len(end)
        labels = np.full(len(tokens), -1)
        # Without anything before it, the first token of a text is foretold by nothing.
        first = max(len(tokens) - scored - 1, 0)
        labels[first : len(tokens) - 1] = tokens[first + 1 :]
        return np.array(tokens, np.int64), special, segment, place >= split, labels


def _joined(before: str, after: str) -> str:
    return f"{before} {after}" if before and after else before or after


def _filled(values: NDArray[Any], width: int, fill: Any) -> NDArray[Any]:
    filled = np.full(width, fill, values.dtype)
    filled[: len(values)] = values
    return filled
