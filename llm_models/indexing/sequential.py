"""Numbers in order of first appearance, as P5 gave them: from training rows, or from everything as P5 did."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.audit import first_appearance
from bench.data.ragged import Ragged
from bench.errors import UsageError
from bench.models import Training
from llm_models.indexing.ids import IdIndex
from llm_models.indexing.newcomers import RandomPlaces

__all__ = ["leaky_sequential_ids", "sequential_ids", "sequential_user_ids"]

#: The smallest number where numbers are not filled up with zeros: with four digits, ids are of nearly one length.
FIRST_PLAIN = 1001


def sequential_ids(training: Training, *, seed: int, digits: int | None = None) -> IdIndex:
    """Number training items in order of first appearance over shuffled users.

    Items that one user met first become neighbours. An item met after training gets a random free number, so that its
    place says nothing about when, or by whom, it was met.

    Parameters
    ----------
    seed : int
        Of the shuffle of users, and of the places of newcomers.
    digits : int or None
        Numbers are filled up with zeros to whole groups of so many digits (two groups at least); ``None``: plain
        numbers from 1001, as OpenP5 writes them.
    """
    rest = np.setdiff1d(training.item, training.sequences.values)
    # Items that only a labelled pair holds were met in no sequence: behind, at random.
    order = np.concatenate(
        [first_appearance(training.sequences, seed=seed), np.random.default_rng([seed, 1]).permutation(rest)]
    )
    code, words, places = _words(order, seed, digits, FIRST_PLAIN)
    return IdIndex(code, words, kind="sequential", newcomers=places)


def leaky_sequential_ids(sequences: Ragged | None, *, seed: int, digits: int | None = None) -> IdIndex:
    """Number items as P5 did: over each shuffled user's *whole* sequence, held-out events included.

    What a user meets next is then often the largest number they met plus one. For the study of that leak only.

    Parameters
    ----------
    sequences : Ragged or None
        ``Training.leak``.
    seed : int
        Of the shuffle of users.
    digits : int or None
        As in :func:`sequential_ids`; ``None``: plain numbers from 1, as P5 writes them.

    Raises
    ------
    UsageError
        When the suite does not allow it.
    """
    if sequences is None:
        raise UsageError(
            "sequential-original ids are made from held-out events too, so that they give away what the test asks for; "
            "for a study of that leak set `allow_leaky_index: true` in the suite (tables will say so), else use "
            "sequential ids"
        )
    code, words, _ = _words(first_appearance(sequences, seed=seed), seed, digits, 1)
    return IdIndex(code, words, kind="sequential-original")


def sequential_user_ids(user: NDArray[np.integer], *, seed: int, digits: int | None = None, prefix: str) -> IdIndex:
    """Number users in the order of the shuffle that sequential items of the same seed come from.

    Parameters
    ----------
    user : ndarray of int, shape (users,)
        Distinct codes.
    prefix : str
        Put before each number.
    """
    ordered = np.unique(np.asarray(user, np.int32))
    order = ordered[np.random.default_rng([seed, len(ordered)]).permutation(len(ordered))]
    code, words, _ = _words(order, seed, digits, 1)
    return IdIndex(code, tuple(prefix + word for word in words), kind="sequential")


def _words(
    order: NDArray[np.int32], seed: int, digits: int | None, first_plain: int
) -> tuple[NDArray[np.int32], tuple[str, ...], RandomPlaces]:
    """Sorted codes, the word of each, and how numbers are written."""
    first = first_plain if digits is None else 1
    width = len(str(first + max(len(order), 1) - 1))
    if digits is not None:
        width = digits * max(2, -(-width // digits))
    places = RandomPlaces(seed, first, width, padded=digits is not None)
    by_code = np.argsort(order, kind="stable")
    return order[by_code].astype(np.int32), tuple(map(places.write, (first + by_code).tolist())), places
