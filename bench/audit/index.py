"""Whether an index of ids knows what was held out: it must stay the same when nothing but held-out rows change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from bench.data.ragged import Ragged
from bench.errors import ModelError
from bench.splits.training import Training

__all__ = ["moves_with_held_out", "refuse_moving"]

DigestOf = Callable[[Training], str]
"""Makes an index from training data and says its digest."""


def moves_with_held_out(made: str, digest_of: DigestOf, training: Training) -> bool:
    """Make an index again in a world that differs in held-out rows alone, and compare with the one that was ``made``.

    Where a suite allows no leaking index, held-out rows are out of every model's reach, and so of the index's.
    """
    if training.leak is None:
        return False
    return made != digest_of(replace(training, leak=_redealt(training.leak, training.sequences)))


def refuse_moving(name: str, made: str, digest_of: DigestOf, training: Training) -> None:
    """Fail the run of a model whose index knows what was held out.

    Parameters
    ----------
    name : str
        Of the index, for the message.
    made : str
        Its digest.
    digest_of : callable
        Makes it again from other training data.
    training : Training
        What it was made from.

    Raises
    ------
    ModelError
    """
    if moves_with_held_out(made, digest_of, training):
        raise ModelError(
            f"the index {name!r} changes when held-out rows change: its ids tell what the test asks for. Make it from "
            "training rows (Training.sequences, Training.items) alone."
        )


def _redealt(leak: Ragged, sequences: Ragged) -> Ragged:
    """The same walks with what follows the training events dealt anew among users."""
    within = np.arange(len(leak.values)) - np.repeat(leak.offsets[:-1], leak.lengths)
    held = np.flatnonzero(within >= sequences.lengths[leak.row_of])
    values = leak.values.copy()
    # Turned by one: no draw that could leave all as it was, unless all held-out rows are one item.
    values[held] = np.roll(values[held], 1)
    return Ragged(leak.offsets, values)
