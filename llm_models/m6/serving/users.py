"""The user's side of a request: keys and values of the layers that candidates read, computed once.

Sources never see targets, so they hold for any candidate. The last layer's states of the user are read by nobody: its
keys and values are all that is computed there.

Imports torch: import this module inside a method.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from bench.data.ragged import Ragged
from llm_models.backbones.blocks import Block, KeysValues
from llm_models.m6.network import M6Network, segment_kinds
from llm_models.m6.packing import Packer, buckets
from llm_models.m6.serving.segments import LowerStates

__all__ = ["User", "read_users_once"]


class User(NamedTuple):
    """What candidates read of a user.

    Attributes
    ----------
    layers : tuple of KeysValues
        Of one row each, from layer L' + 1 to the last.
    tokens : int
        Of the user, soft prompts among them.
    """

    layers: tuple[KeysValues, ...]
    tokens: int

    @property
    def bytes(self) -> int:
        """Memory of keys and values."""
        return sum(part.nbytes for layer in self.layers for part in layer)


def read_users_once(
    network: M6Network,
    task: str,
    packer: Packer,
    lower: LowerStates | None,
    prompts: Tensor | None,
    users: Ragged,
    *,
    tokens: int,
) -> list[User]:
    """Compute the user's side of every row.

    Rotary positions count back from the candidate, whose first token is at 0: attention depends on differences alone,
    and so what is kept of candidates holds for users of any length.

    Parameters
    ----------
    lower : LowerStates or None
    prompts : Tensor or None, shape (prompts, width)
        For networks with late interaction: where states of segments after L' are looked up, and those of the task's
        soft prompts.
    users : Ragged
        Numbers of texts.
    tokens : int
        Padded tokens computed at a time.
    """
    stack = network.stack
    if network.late == stack.depth:
        return [User((), 0)] * len(users)
    before = network.tuning(task).prompt_count
    none = Ragged.empty(len(users))
    found: list[User | None] = [None] * len(users)
    for rows in buckets(packer.lengths(users, none) + before, tokens=tokens):
        part, tasks = users.take(rows), ((task, len(rows)),)
        batch = packer.pack(part, none.take(rows), tasks)
        layout = batch.layout.prepended(before)
        positions = layout.positions(restart=False)
        if lower is None or prompts is None:
            hidden = stack.begin(network.embed(batch).vectors, positions)
        else:
            hidden = prompts.new_zeros(*layout.segment.shape, stack.width)
            hidden[:, :before] = prompts
            hidden[:, before:][batch.layout.real] = lower.of(part.values, target=False).values
            hidden = hidden + network.segments[segment_kinds(layout, before)].to(hidden.dtype)
        lengths = layout.real.sum(dim=1)
        place = positions - lengths.unsqueeze(1)
        visible = None if bool(layout.real.all()) else layout.visible(blocks=False)
        adapters = network.adapters(tasks)
        layers = _layers(network, hidden, visible, place, adapters) if hidden.shape[1] else _nothing(network, len(rows))
        for row, number, size in zip(range(len(rows)), rows, lengths.tolist(), strict=True):
            # Copies: a view would hold the whole batch, padding included.
            kept = (KeysValues(*(kv[row : row + 1, :, :size].contiguous() for kv in layer)) for layer in layers)
            found[number] = User(tuple(kept), size)
    return [user for user in found if user is not None]


def _layers(
    network: M6Network, hidden: Tensor, visible: Tensor | None, place: Tensor, adapters: object
) -> tuple[KeysValues, ...]:
    stack = network.stack
    run = stack.run(
        hidden,
        visible,
        place,
        first=network.late,
        last=stack.depth - 1,
        adapters=adapters,  # type: ignore[arg-type]
        keep=True,
    )
    last = stack.blocks[-1]
    assert isinstance(last, Block)
    return (*run.cache, last.keys_values(run.hidden, stack.rotation(place, last)))


def _nothing(network: M6Network, rows: int) -> tuple[KeysValues, ...]:
    """Keys and values of no token."""
    stack = network.stack
    one = torch.zeros(1, 1, stack.width, dtype=stack.dtype, device=stack.device)
    place = torch.zeros(1, 1, dtype=torch.int64, device=stack.device)
    layers = []
    for block in list(stack.blocks)[network.late :]:
        assert isinstance(block, Block)
        own = block.keys_values(one, stack.rotation(place, block))
        layers.append(KeysValues(*(part[:, :, :0].expand(rows, -1, -1, -1) for part in own)))
    return tuple(layers)
