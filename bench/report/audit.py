"""The leak audit of a suite: what numbers of items could give away, test rows among training rows, fingerprints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.audit import (
    HIT_RATE,
    NUMBERINGS,
    RATIO,
    Fingerprint,
    fingerprint,
    next_number,
    number_items,
    number_words,
    pair_overlap,
    read_index,
)
from bench.metrics import parse
from bench.report import wording
from bench.report.collect import stored_models
from bench.report.grid import NOTHING, Block, Cell, Grid, number
from bench.report.markdown import markdown
from bench.report.values import Model
from bench.runs.plan import Plan
from bench.runs.store import Store
from bench.tasks import RequestSet, request_sets

__all__ = ["AUDIT", "SHUFFLES", "audit_grids", "has_text_ids", "write_audit"]

AUDIT = "audit.md"
SHUFFLES = 5
"""Numberings drawn of each kind."""

_METRICS = ("HR@1", "HR@5", "NDCG@5", "HR@10", "NDCG@10")
_DEPTH = 20
_SAID = {
    "original": "in order of first appearance, held-out events included (P5's own)",
    "training-only": "in order of first appearance in training, the rest at random",
    "random": "at random",
}


def has_text_ids(plan: Plan, store: Store) -> bool:
    """Whether a stored model of the suite writes items as ids in a text."""
    return any(_index(model) is not None for model in stored_models(plan, store))


def write_audit(plan: Plan, store: Store, folder: Path) -> list[Grid]:
    """Write ``audit.md`` into ``folder``; equal stores give equal bytes."""
    grids = audit_grids(plan, store)
    folder.mkdir(parents=True, exist_ok=True)
    page = [markdown(grid, level=min(place, 2)) for place, grid in enumerate(grids, 1)]
    (folder / AUDIT).write_text("\n".join(page), encoding="utf-8")
    return grids


def audit_grids(plan: Plan, store: Store) -> list[Grid]:
    """The tables of the audit."""
    models = stored_models(plan, store)
    return [_probe(plan, store, models), _overlap(plan), _fingerprints(plan, store, models)]


def _index(model: Model) -> str | None:
    """The kind of ids a model writes items as; ``None`` where it writes none."""
    said = model.fits[0].get("notes", {}).get("item_index")
    return str(said.get("kind", "ids")) if isinstance(said, dict) else None if said is None else "ids"


def _probe(plan: Plan, store: Store, models: Sequence[Model]) -> Grid:
    split = plan.split
    ranked = any(held.sampled is None for held in split.held_out)
    sets = request_sets(split, ["sequential"]) if ranked else []
    asked = [one for one in sets if one.part == "test" and _shows(one)]
    # Entries that only ask in different ways share a fit, and so an index.
    fits = {tuple(cell.key for cell in model.cells): model for model in reversed(models) if _index(model)}
    own = [(f"{model.title}: its own index", _own(store, model, len(split.items))) for model in reversed(fits.values())]
    numberings = [
        (_SAID[kind], [number_items(split, kind, seed=seed) for seed in range(SHUFFLES)]) for kind in NUMBERINGS
    ]
    every = [*numberings, *((name, found) for name, found in own if found)]
    return Grid(
        title=f"Leak audit of {plan.suite.name} on {split.dataset}: what a rule finds that knows only numbers of items",
        header=("Numbers given", *_METRICS),
        blocks=tuple(
            Block(
                wording.title(one) if len(asked) > 1 else "",
                tuple((Cell(name), *_values(found, one)) for name, found in every),
            )
            for one in asked
        ),
        notes=(
            "The rule (id+1 probe): max(history) + 1 first, then each number of the history plus one from the latest "
            "back, then max + 2, max + 3...; what the user had met is masked. It learns nothing: whatever it finds, "
            "the numbers say.",
            f"Mean and standard deviation over {SHUFFLES} draws of the numbers; a model's own index over its seeds, in "
            "the order of its words.",
            f"Split: {split.protocol}. The first row is what a model could owe to P5's own numbers without having "
            "learned a thing. An honest index is made from training rows alone.",
            "A user's whole sequence is what the split says of it: all of it where it leaves one out, else training "
            "rows, and what is shown and asked.",
            *split.notes,
        ),
    )


def _shows(asked: RequestSet) -> bool:
    history = asked.requests.history
    return history is not None and bool(history.lengths.any())


def _own(store: Store, model: Model, items: int) -> list[NDArray[np.int64]]:
    tables = [read_index(store.cell(cell.key) / "model") for cell in model.cells]
    return [number_words(table, items) for table in tables if table is not None]


def _values(numberings: Sequence[NDArray[np.int64]], asked: RequestSet) -> Iterator[Cell]:
    counts = [next_number(numbers, asked, depth=_DEPTH) for numbers in numberings]
    for metric in map(parse, _METRICS):
        means = [metric.values(pl.DataFrame(one.columns())).mean() for one in counts]
        spread = f" ± {number(float(np.std(means, ddof=1)))}" if len(means) > 1 else ""
        yield Cell(number(float(np.mean(means))) + spread)


def _overlap(plan: Plan) -> Grid:
    rows = [
        (Cell(one.name), Cell(f"{one.pairs:,}"), Cell(f"{one.found:,}"), Cell(f"{one.found / max(one.pairs, 1):.2%}"))
        for one in pair_overlap(plan.split)
    ]
    return Grid(
        title="Held-out pairs among training rows",
        header=("Held out", "Pairs", "Found in training", "Share"),
        blocks=(Block("", tuple(rows)),),
        notes=(
            "A pair of user and item counts as found where it is a training event or a labelled training pair of any "
            "task. P5's own split of reviews puts about 80% of its sequential test pairs there.",
        ),
    )


def _fingerprints(plan: Plan, store: Store, models: Sequence[Model]) -> Grid:
    ranking = [one for one in plan.sets if one.part == "test" and one.task in {"sequential", "direct"}]
    blocks = [
        Block(wording.title(asked), tuple(_rows(asked, store, models)))
        for asked in ranking
        if asked.requests.candidates is None
    ]
    notes = (
        "NDCG@5 / HR@5 is 1 where every hit is the first item of its list. Rankers that guess stand near 0.65; P5 on "
        "its own numbers was published with 0.74 to 0.88. For a model that reads ids as text the leak check is due "
        f"above {RATIO:g} with an HR@5 above {HIT_RATE:g}: a reason to look at its index, no proof, since strong "
        "rankers that see no id may stand there too.",
    )
    blocks = [block for block in blocks if block.rows]
    if not blocks:
        blocks = [Block("", ((Cell("none yet"), *[Cell(NOTHING)] * 5),))]
        notes = ("No ranking model of this suite is stored: run the suite first.",)
    return Grid(
        title="Fingerprints of the stored rankers",
        header=("Model", "Ids in its text", "HR@5", "NDCG@5", "NDCG@5 / HR@5", "Leak check"),
        blocks=tuple(blocks),
        notes=notes,
    )


def _rows(asked: RequestSet, store: Store, models: Sequence[Model]) -> Iterator[tuple[Cell, ...]]:
    for model in models:
        frames = [
            store.measurements(cell.key, prediction.key)
            for cell in model.cells
            for prediction in cell.predictions
            if prediction.name == asked.name and store.has_prediction(cell.key, prediction.key)
        ]
        if frames and any(frame["served"].any() for frame in frames):
            kind, taken = _index(model), fingerprint(pl.concat(frames))
            yield (Cell(model.label), Cell(kind or NOTHING), *map(Cell, _read(kind, taken)))


def _read(kind: str | None, taken: Fingerprint) -> Iterator[str]:
    yield number(taken.hit_rate)
    yield number(taken.ndcg)
    yield NOTHING if taken.ratio is None else f"{taken.ratio:.3f}"
    yield NOTHING if kind is None else "DUE" if taken.flagged else "passed"
