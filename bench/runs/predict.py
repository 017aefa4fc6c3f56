"""Asking a model the questions of a request set and counting ranks, block by block."""

from __future__ import annotations

import numpy as np

from bench.data.hashing import stable_hash64
from bench.data.ragged import Ragged
from bench.errors import ModelError
from bench.metrics import DEPTH, Counts, Metric, PairMetric, RankMetric, Rated, count_lists, count_scores
from bench.models import Progress, Recommender
from bench.tasks import Answers, Labels, RequestSet

__all__ = ["Validation", "cannot_serve", "measure"]

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


class Validation:
    """The number models are selected by while they train: the mean over quadrants of a rank metric.

    Within a quadrant the validation sets (shots, pools) count alike; a request that is not served counts 0, the same
    rule for every model. A set larger than ``limit`` is replaced by a draw that depends only on its identity. Labelled
    pairs of all quadrants are taken together, since errors and areas are not means of parts; where lower is better,
    the number is the metric's negative.
    """

    def __init__(self, sets: list[RequestSet], metric: Metric, *, k: int, limit: int | None = None) -> None:
        self.metric, self.k = metric, k
        self.sets = [_draw(asked, limit) for asked in sets if asked.part == "valid"]

    def __call__(self, model: Recommender) -> float:
        """Score ``model``; higher is better."""
        by_quadrant: dict[tuple[str, str], list[float]] = {}
        rated: list[Rated] = []
        for asked in self.sets:
            if asked.task in model.capabilities.tasks:
                found = measure(model, asked, k=self.k, depth=0)
                if isinstance(found, Rated):
                    rated.append(found)
                elif isinstance(self.metric, RankMetric):
                    value = self.metric.per_request(found.above, found.tied, found.served).mean()
                    by_quadrant.setdefault((asked.task, asked.quadrant), []).append(float(value))
        if rated and isinstance(self.metric, PairMetric):
            pairs = Rated.concatenate(rated)
            value = self.metric.per_request(pairs.label, pairs.predicted, pairs.served).mean()
            return float(value if self.metric.higher_is_better else -value)
        return float(np.mean([np.mean(values) for values in by_quadrant.values()])) if by_quadrant else 0.0


def _draw(asked: RequestSet, limit: int | None) -> RequestSet:
    if limit is None or len(asked) <= limit:
        return asked
    seed = int(stable_hash64([asked.identity])[0])
    rows = np.random.default_rng(seed).choice(len(asked), size=limit, replace=False)
    return asked.take(np.sort(rows))
