"""Candidates drawn anew, for reproductions of code that does not keep its draw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bench.data.hashing import mix64, stable_hash64
from bench.data.ragged import Ragged
from bench.splits.draws import draw_unmet
from bench.splits.split import exclude_union
from bench.tasks.requests import Answers, RequestSet

__all__ = ["redrawn"]


def redrawn(asked: RequestSet, salt: str) -> RequestSet:
    """Replace the stored draw of every request by another one of the same size, its answer kept.

    The others are drawn uniformly from the catalogue, without the answer and what is masked for the user.

    Parameters
    ----------
    asked : RequestSet
        Where no draw is ranked, it is returned as it is.
    salt : str
        Decides the draw, together with the identity of the set.
    """
    drawn, answers = asked.requests.candidates, asked.answers
    if drawn is None or not isinstance(answers, Answers):
        return asked
    items = asked.requests.catalogue.items
    target = Ragged.from_lengths(np.ones(len(asked), np.int64), answers.item)
    met = exclude_union(answers.exclude.keep(np.isin(answers.exclude.values, items)), target)
    places = Ragged(met.offsets, np.searchsorted(items, met.values).astype(np.int32))
    rows, everything = np.arange(len(asked)), np.full(len(asked), len(items))
    seed = int(stable_hash64([f"{asked.identity} {salt}"])[0])
    key = mix64(np.uint64(seed), rows)
    others = draw_unmet(key, rows, places, everything, int(drawn.lengths.max(initial=1)) - 1)
    candidates = exclude_union(Ragged(others.offsets, items[others.values]), target)
    return replace(asked, requests=replace(asked.requests, candidates=candidates))
