"""M6-Rec's network: one frozen stack, a tuning for each task, rows of several tasks in one batch, and late interaction.

A row is segments of a user (sources) and one or more candidates (targets), see :mod:`llm_models.backbones.layout`; the
task's soft prompts are one more source before them. With ``late`` = L' > 0 the first L' layers read each segment alone,
positions restarting at 0, so that their outputs can be kept; then a learned segment embedding is added and the other
layers read everything. ``late`` = 0 is the plain prefix language model.

With ``reading="end"`` only the last token of a candidate, [EOS], reads the user in the late layers; its other tokens
go on reading their own segment. Then all that a candidate's other tokens ever are can be kept too, and in serving a
candidate costs one token. This is a variant of this project's, not M6-Rec's.

Source: Cui et al., "M6-Rec", 2022 (multi-segment late interaction). Imports torch: import this module inside a method.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from llm_models.backbones.blocks import Extra
from llm_models.backbones.layout import Layout
from llm_models.backbones.stack import Adapters, Stack
from llm_models.m6.tuning import Tuning

__all__ = ["SEGMENT_KINDS", "Batch", "Embedded", "M6Network", "Reading", "last_of", "segment_kinds"]

Reading = Literal["all", "end"]
"""Which tokens of a candidate read the user in the late layers."""

SEGMENT_KINDS = 32
"""Rows of the table of segment embeddings: soft prompts, candidate, first source, and the other sources counted from
the last one back."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of segments as tokens.

    Attributes
    ----------
    tokens : Tensor of int64, shape (rows, tokens)
    special : Tensor of int64, shape (rows, tokens)
        Number of the special token that stands there (see ``tuning.SPECIALS``), or -1.
    layout : Layout
        Without soft prompts.
    tasks : tuple of (str, int)
        Which task's rows stand there, in order: name and how many rows. They sum up to ``rows``.
    """

    tokens: Tensor
    special: Tensor
    layout: Layout
    tasks: tuple[tuple[str, int], ...]


class Embedded(NamedTuple):
    """Word vectors, shape (rows, prompts + tokens, width), and their layout; ``prompts`` places come first."""

    vectors: Tensor
    layout: Layout
    prompts: int


def segment_kinds(layout: Layout, prompts: int) -> Tensor:
    """Which row of the segment embeddings belongs to each token, int64, shape (rows, tokens).

    0: soft prompts (the first ``prompts`` places). 1: targets. 2: the first source of the row (a profile). Then 3 for
    the last source, 4 for the one before it, and so on: the latest click always has the same number.
    """
    segment, target = layout.segment, layout.target
    place = torch.arange(segment.shape[1], device=segment.device)
    text = layout.real & (place >= prompts)
    source = text & ~target
    low, high = torch.iinfo(torch.int64).max, -1
    first = segment.masked_fill(~source, low).min(dim=1, keepdim=True).values
    last = segment.masked_fill(~source, high).max(dim=1, keepdim=True).values
    kinds = (3 + last - segment).clamp(max=SEGMENT_KINDS - 1)
    kinds = torch.where(segment == first, 2, kinds)
    kinds = torch.where(target, 1, kinds)
    return torch.where(text, kinds, 0)


class M6Network(nn.Module):
    """A stack with the tunings of its tasks.

    Parameters
    ----------
    stack : Stack
    tunings : mapping of str to Tuning
        By name of the task.
    late : int
        L', layers that read each segment alone; 0 to ``stack.depth``.
    reading : str
        ``"end"`` needs ``late`` of at least 1: positions of a candidate must not depend on the user.
    """

    def __init__(self, stack: Stack, tunings: Mapping[str, Tuning], *, late: int = 0, reading: Reading = "all") -> None:
        super().__init__()
        if not 0 <= late <= stack.depth:
            raise ValueError(f"late must lie between 0 and {stack.depth}, the backbone's layers, not {late}")
        self.stack = stack
        self.tunings = nn.ModuleDict(tunings)
        if reading == "end" and not late:
            raise ValueError("reading by [EOS] alone needs late of at least 1")
        self.late = late
        self.reading: Reading = reading
        # At 0 the late layers start as they were pre-trained.
        self.segments = nn.Parameter(torch.zeros(SEGMENT_KINDS if late else 0, stack.width))

    def tuning(self, task: str) -> Tuning:
        """The tuning of a task."""
        found = self.tunings[task]
        assert isinstance(found, Tuning)
        return found

    def embed(self, batch: Batch) -> Embedded:
        """Look words up, put each task's special tokens in their places and its soft prompts before its rows.

        Tasks with fewer soft prompts than others in the batch are padded before the prompts.
        """
        kind = self.stack.dtype
        vectors = self.stack.words(batch.tokens)
        prompts = max((self.tuning(task).prompt_count for task, _ in batch.tasks), default=0)
        layout = batch.layout.prepended(prompts)
        heads, bodies, segment = [], [], layout.segment.clone()
        start = 0
        for task, rows in batch.tasks:
            tuning, part = self.tuning(task), slice(start, start + rows)
            special = batch.special[part]
            put = tuning.specials.to(kind)[special.clamp(min=0)]
            bodies.append(torch.where((special >= 0).unsqueeze(-1), put, vectors[part]))
            missing = prompts - tuning.prompt_count
            head = torch.cat([tuning.prompts.new_zeros(missing, self.stack.width), tuning.prompts]).to(kind)
            heads.append(head.expand(rows, -1, -1))
            segment[part, :missing] = -1
            start += rows
        embedded = torch.cat([torch.cat(heads), torch.cat(bodies)], dim=1)
        return Embedded(embedded, Layout(segment, layout.target), prompts)

    def lower(self, embedded: Embedded, tasks: tuple[tuple[str, int], ...]) -> Tensor:
        """Layers 1 to L', each segment alone: hidden states, shape (rows, prompts + tokens, width)."""
        positions = embedded.layout.positions(restart=bool(self.late))
        hidden = self.stack.begin(embedded.vectors, positions)
        if not self.late:
            return hidden
        visible = embedded.layout.visible(blocks=True)
        return self.stack.run(hidden, visible, positions, last=self.late, adapters=self.adapters(tasks)).hidden

    def upper(
        self,
        hidden: Tensor,
        layout: Layout,
        prompts: int,
        tasks: tuple[tuple[str, int], ...],
        *,
        at: Tensor | None = None,
    ) -> Tensor:
        """Layers L' + 1 to L over whole rows: hidden states of the same shape; of the places ``at`` alone, if given.

        ``at`` : int64, shape (rows, wanted), counts soft prompts; the states then have shape (rows, wanted, width).
        """
        if self.late:
            hidden = hidden + self.segments[segment_kinds(layout, prompts)].to(hidden.dtype)
        if self.late == self.stack.depth:
            # lower() has done the final normalisation
            return hidden if at is None else hidden.take_along_dim(at.unsqueeze(-1), dim=1)
        positions = layout.positions(restart=False)
        visible = layout.visible(blocks=False, only_ends=self.reading == "end")
        return self.stack.run(hidden, visible, positions, first=self.late, adapters=self.adapters(tasks), at=at).hidden

    def forward(self, batch: Batch) -> tuple[Tensor, Layout]:
        """Compute all layers in one pass.

        Returns
        -------
        Tensor, shape (rows, prompts + tokens, width)
        Layout
            With the soft prompts.
        """
        embedded = self.embed(batch)
        hidden = self.lower(embedded, batch.tasks)
        return self.upper(hidden, embedded.layout, embedded.prompts, batch.tasks), embedded.layout

    def adapters(self, tasks: tuple[tuple[str, int], ...]) -> Adapters | None:
        """What each layer's feed-forward network gains, every row by the tuning of its task."""
        if not any(len(self.tuning(task).adapters) for task, _ in tasks):
            return None

        def of(layer: int) -> Extra | None:
            parts = [(self.tuning(task).adapter(layer), rows) for task, rows in tasks]
            if all(part is None for part, _ in parts):
                return None
            if len(parts) == 1:
                return parts[0][0]
            return lambda z: torch.cat(
                [
                    torch.zeros_like(piece) if part is None else part(piece)
                    for (part, _), piece in zip(parts, z.split([rows for _, rows in parts]), strict=True)
                ]
            )

        return of

    def trained(self) -> dict[str, nn.Parameter]:
        """The declared parameters, by name: what training may change. The segment embeddings are among them."""
        full = any(self.tuning(task).method == "full" for task in self.tunings)
        return {
            name: weight
            for name, weight in self.named_parameters()
            if weight.numel() and (weight.requires_grad if not name.startswith("stack.") else full)
        }


def last_of(hidden: Tensor, layout: Layout, *, target: bool) -> Tensor:
    """Hidden states at the last target token ([EOS]), or at the last source token ([EOS']), of each row.

    Returns
    -------
    Tensor, shape (rows, width)
    """
    wanted = layout.real & (layout.target if target else ~layout.target)
    place = torch.arange(wanted.shape[1], device=wanted.device)
    last = torch.where(wanted, place, -1).max(dim=1).values
    return hidden[torch.arange(len(hidden), device=hidden.device), last]
