"""Asking a model the questions of a request set and counting ranks, block by block."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bench.data.hashing import stable_hash64
from bench.data.ragged import Ragged
from bench.errors import ModelError
from bench.metrics import DEPTH, Counts, Metric, PairMetric, RankMetric, Rated, count_lists, count_scores
from bench.models import Progress, Recommender, Validate
from bench.tasks import Answers, Labels, RequestSet

__all__ = ["cannot_serve", "measure", "validation"]

BLOCK_CELLS = 8_000_000
"""Requests x candidates scored at once (32 MB of float32); results do not depend on it."""

BLOCK_PAIRS = 4096
"""Labelled pairs asked about at once."""


def cannot_serve(model: type[Recommender] | Recommender, asked: RequestSet) -> bool:
    """Whether the model declares that it serves none of these requests."""
    capabilities = model.capabilities
    if asked.requests.candidates is not None and capabilities.answers_with == "lists" and not capabilities.draws:
        return True
    user, item = asked.quadrant.split("-")
    return (user == "cold" and capabilities.cold_users is None) or (item == "cold" and capabilities.cold_items is None)


def measure(
    model: Recommender, asked: RequestSet, *, k: int, depth: int = DEPTH, progress: Progress | None = None
) -> Counts | Rated:
    """Put ``asked`` to ``model``; count ranks, or keep what it said of labelled pairs.

    Parameters
    ----------
    k : int
        Length of the lists asked of models that generate.
    depth : int
        How many best items to keep per request.

    Raises
    ------
    ModelError
        When the model breaks the contract (wrong shape, infinite scores, excluded or repeated items).
    """
    rows, answers = len(asked), asked.answers
    items = asked.requests.catalogue.items
    if isinstance(answers, Labels):
        return _rate(model, asked, answers, progress)
    if cannot_serve(model, asked):
        nothing = np.full((0, len(items)), np.nan, np.float32)
        empty = count_scores(nothing, items, answers.item[:0], answers.exclude.take(np.arange(0)))
        return _unserved(empty, rows, asked)
    size = max(1, min(4096, BLOCK_CELLS // max(len(items), 1)))
    blocks = []
    for start in range(0, rows, size):
        block = asked.take(np.arange(start, min(start + size, rows)))
        try:
            blocks.append(_count(model, block, k, depth))
        except ValueError as error:
            raise ModelError(f"{type(model).__name__} on {asked.name}, requests from {start}: {error}") from error
        if progress is not None:
            progress(min(start + size, rows), rows)
    return Counts.concatenate(blocks)


def _rate(model: Recommender, asked: RequestSet, answers: Labels, progress: Progress | None) -> Rated:
    rows = len(asked)
    if cannot_serve(model, asked):
        return Rated(answers.label, np.full(rows, np.nan, np.float32))
    blocks = []
    for start in range(0, rows, BLOCK_PAIRS):
        block = asked.take(np.arange(start, min(start + BLOCK_PAIRS, rows)))
        said = np.asarray(model.rate(block.requests), dtype=np.float32)
        if said.shape != (len(block),):
            problem = f"expected an array of shape {(len(block),)}, got {said.shape}"
        elif np.isinf(said).any():
            problem = "the model gave an infinite number"
        else:
            blocks.append(Rated(answers.label[start : start + BLOCK_PAIRS], said))
            if progress is not None:
                progress(min(start + BLOCK_PAIRS, rows), rows)
            continue
        raise ModelError(f"{type(model).__name__} on {asked.name}, requests from {start}: {problem}")
    return Rated.concatenate(blocks)


def _count(model: Recommender, block: RequestSet, k: int, depth: int) -> Counts:
    items, answers, sampled = block.requests.catalogue.items, block.answers, block.requests.candidates
    assert isinstance(answers, Answers)
    if model.capabilities.answers_with == "lists":
        lists = model.rank(block.requests, k, exclude=answers.exclude)
        return count_lists(
            lists.items, lists.scores, lists.served, items, answers.item, answers.exclude, sampled=sampled
        )
    scores = np.array(model.score(block.requests), dtype=np.float32)  # a copy: masking happens in place
    return count_scores(scores, items, answers.item, answers.exclude, depth=depth, sampled=sampled)


def _unserved(empty: Counts, rows: int, asked: RequestSet) -> Counts:
    assert isinstance(asked.answers, Answers)
    zeros, items, exclude = np.zeros(rows, np.int32), asked.requests.catalogue.items, asked.answers.exclude
    masked = np.bincount(exclude.row_of[np.isin(exclude.values, items)], minlength=rows).astype(np.int32)
    drawn = asked.requests.candidates
    candidates = len(items) - masked if drawn is None else drawn.lengths.astype(np.int32)
    return Counts(zeros, zeros, candidates, np.zeros(rows, bool), Ragged.empty(rows), empty.top_scores)


def validation(sets: Iterable[RequestSet], metric: Metric, *, k: int, limit: int | None = None) -> Validate:
    """Make the function that models are selected by while they train; it alone holds the validation answers.

    The number is the mean over quadrants of a rank metric. Within a quadrant the validation sets (shots, pools) count
    alike; a request that is not served counts 0, the same rule for every model. A set larger than ``limit`` is
    replaced by a draw that depends only on its identity. Labelled pairs of all quadrants are taken together, since
    errors and areas are not means of parts; where lower is better, the number is the metric's negative.
    """
    asked = [_draw(one, limit) for one in sets if one.part == "valid"]

    def validate(model: Recommender, /) -> float:
        mine = [one for one in asked if one.task in model.capabilities.tasks]
        found = [measure(model, one, k=k, depth=0) for one in mine]
        return _pairs_number(metric, found) if isinstance(metric, PairMetric) else _rank_number(metric, mine, found)

    return validate


def _rank_number(metric: RankMetric, asked: list[RequestSet], found: list[Counts | Rated]) -> float:
    by_quadrant: dict[tuple[str, str], list[float]] = {}
    for one, counts in zip(asked, found, strict=True):
        if isinstance(counts, Counts):
            value = metric.per_request(counts.above, counts.tied, counts.served).mean()
            by_quadrant.setdefault((one.task, one.quadrant), []).append(float(value))
    return float(np.mean([np.mean(values) for values in by_quadrant.values()])) if by_quadrant else 0.0


def _pairs_number(metric: PairMetric, found: list[Counts | Rated]) -> float:
    rated = [one for one in found if isinstance(one, Rated)]
    if not rated:
        return 0.0
    pairs = Rated.concatenate(rated)
    value = float(metric.per_request(pairs.label, pairs.predicted, pairs.served).mean())
    return value if metric.higher_is_better else -value


def _draw(asked: RequestSet, limit: int | None) -> RequestSet:
    if limit is None or len(asked) <= limit:
        return asked
    seed = int(stable_hash64([asked.identity])[0])
    rows = np.random.default_rng(seed).choice(len(asked), size=limit, replace=False)
    return asked.take(np.sort(rows))
