"""Asking a model the questions of a request set, block by block: counting ranks, keeping numbers and texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl

from bench.data.hashing import stable_hash64
from bench.data.ragged import Ragged
from bench.errors import ModelError
from bench.metrics import (
    DEPTH,
    Counts,
    Metric,
    PairMetric,
    RankMetric,
    Rated,
    TextMetric,
    Written,
    count_lists,
    count_scores,
)
from bench.models import Progress, Recommender, Validate
from bench.tasks import Answers, Labels, RequestSet, Texts
from bench.tasks.fresh import redrawn

__all__ = ["Measured", "cannot_serve", "measure", "validation"]

Measured = Counts | Rated | Written
"""What is kept of a set of requests: ranks, numbers or texts."""

BLOCK_CELLS = 8_000_000
"""Requests x candidates scored at once (32 MB of float32); results do not depend on it."""

BLOCK_PAIRS = 4096
"""Requests about one item put to a model at once."""


def cannot_serve(model: Recommender, asked: RequestSet) -> bool:
    """Whether the model declares that it serves none of these requests."""
    capabilities = model.capable(model.settings)
    if asked.requests.candidates is not None and capabilities.answers_with == "lists" and not capabilities.draws:
        return True
    user, item = asked.quadrant.split("-")
    return (user == "cold" and capabilities.cold_users is None) or (item == "cold" and capabilities.cold_items is None)


def measure(
    model: Recommender, asked: RequestSet, *, k: int, depth: int = DEPTH, progress: Progress | None = None
) -> Measured:
    """Put ``asked`` to ``model``; count ranks, or keep what it said or wrote of one item each.

    Parameters
    ----------
    k : int
        Length of the lists asked of models that generate.
    depth : int
        How many best items to keep per request.

    Raises
    ------
    ModelError
        When the model breaks the contract (wrong shape, infinite scores, excluded or repeated items, no texts).
    """
    if model.capable(model.settings).fresh_draws:
        asked = redrawn(asked, model.label(model.settings))
    rows, answers = len(asked), asked.answers
    items = asked.requests.catalogue.items
    if isinstance(answers, Labels):
        return _rate(model, asked, answers, progress)
    if isinstance(answers, Texts):
        return _write(model, asked, answers, progress)
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
            raise _broken(model, asked, start, str(error)) from error
        if progress is not None:
            progress(min(start + size, rows), rows)
    return Counts.concatenate(blocks)


def _rate(model: Recommender, asked: RequestSet, answers: Labels, progress: Progress | None) -> Rated:
    if cannot_serve(model, asked):
        return Rated(answers.label, np.full(len(asked), np.nan, np.float32))
    blocks = []
    for start, block in _blocks(asked):
        said = np.asarray(model.rate(block.requests), dtype=np.float32)
        if said.shape != (len(block),):
            raise _broken(model, asked, start, f"expected an array of shape {(len(block),)}, got {said.shape}")
        if np.isinf(said).any():
            raise _broken(model, asked, start, "the model gave an infinite number")
        blocks.append(said)
        if progress is not None:
            progress(start + len(block), len(asked))
    return Rated(answers.label, np.concatenate(blocks))


def _write(model: Recommender, asked: RequestSet, answers: Texts, progress: Progress | None) -> Written:
    if cannot_serve(model, asked):
        return Written(answers.text, pl.repeat(None, len(asked), dtype=pl.String, eager=True), answers.feature)
    blocks = []
    for start, block in _blocks(asked):
        said = model.write(block.requests)
        if not isinstance(said, pl.Series) or said.dtype != pl.String:
            kind = f"a series of {said.dtype}" if isinstance(said, pl.Series) else f"a {type(said).__name__}"
            raise _broken(model, asked, start, f"expected a polars Series of String, got {kind}")
        if len(said) != len(block):
            raise _broken(model, asked, start, f"expected {len(block)} texts, got {len(said)}")
        blocks.append(said)
        if progress is not None:
            progress(start + len(block), len(asked))
    return Written(answers.text, pl.concat(blocks), answers.feature)


def _blocks(asked: RequestSet) -> Iterator[tuple[int, RequestSet]]:
    """Parts of a set with the positions that they begin at."""
    for start in range(0, len(asked), BLOCK_PAIRS):
        yield start, asked.take(np.arange(start, min(start + BLOCK_PAIRS, len(asked))))


def _broken(model: Recommender, asked: RequestSet, start: int, problem: str) -> ModelError:
    return ModelError(f"{type(model).__name__} on {asked.name}, requests from {start}: {problem}")


def _count(model: Recommender, block: RequestSet, k: int, depth: int) -> Counts:
    items, answers, sampled = block.requests.catalogue.items, block.answers, block.requests.candidates
    assert isinstance(answers, Answers)
    if model.capable(model.settings).answers_with == "lists":
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
    replaced by a draw that depends only on its identity. Of numbers and texts about one item all quadrants of a task
    are taken together, since errors, areas and corpus measures are not means of parts, and tasks count alike; where
    lower is better, the number is the metric's negative.
    """
    asked = [_draw(one, limit) for one in sets if one.part == "valid"]

    def validate(model: Recommender, /) -> float:
        tasks = model.capable(model.settings).tasks
        mine = [one for one in asked if one.task in tasks]
        found = [measure(model, one, k=k, depth=0) for one in mine]
        return _rank_number(metric, mine, found) if isinstance(metric, RankMetric) else _number(metric, mine, found)

    return validate


def _rank_number(metric: RankMetric, asked: list[RequestSet], found: list[Measured]) -> float:
    by_quadrant: dict[tuple[str, str], list[float]] = {}
    for one, counts in zip(asked, found, strict=True):
        if isinstance(counts, Counts):
            value = metric.per_request(counts.above, counts.tied, counts.served).mean()
            by_quadrant.setdefault((one.task, one.quadrant), []).append(float(value))
    return float(np.mean([np.mean(values) for values in by_quadrant.values()])) if by_quadrant else 0.0


def _number(metric: PairMetric | TextMetric, asked: list[RequestSet], found: list[Measured]) -> float:
    by_task: dict[str, list[Measured]] = {}
    for one, measured in zip(asked, found, strict=True):
        by_task.setdefault(one.task, []).append(measured)
    values = [value for parts in by_task.values() if (value := _value(metric, parts)) is not None]
    mean = float(np.mean(values)) if values else 0.0
    return mean if metric.higher_is_better else -mean


def _value(metric: PairMetric | TextMetric, parts: list[Measured]) -> float | None:
    """The metric of one task over all quadrants; ``None`` where it measures something else."""
    if isinstance(metric, PairMetric):
        rated = [part for part in parts if isinstance(part, Rated)]
        if not rated:
            return None
        pairs = Rated.concatenate(rated)
        return float(metric.per_request(pairs.label, pairs.predicted, pairs.served).mean())
    written = [part for part in parts if isinstance(part, Written)]
    return float(metric.per_request(Written.concatenate(written)).mean()) if written else None


def _draw(asked: RequestSet, limit: int | None) -> RequestSet:
    if limit is None or len(asked) <= limit:
        return asked
    seed = int(stable_hash64([asked.identity])[0])
    rows = np.random.default_rng(seed).choice(len(asked), size=limit, replace=False)
    return asked.take(np.sort(rows))
