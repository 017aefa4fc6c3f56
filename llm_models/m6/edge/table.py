"""The table of the edge steps: quality on the harness's requests, size, and time a request.

Imports torch: import this module inside a method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from torch import Tensor

from bench.errors import UsageError
from bench.metrics import PairMetric, Rated, parse
from bench.models import Requests
from bench.runs.predict import measure
from bench.stats import Comparison, Units, compare_all
from bench.tasks import RequestSet
from llm_models.m6.edge.latency import Latency, latencies
from llm_models.m6.edge.storage import held, nonzero, stored_bytes
from llm_models.m6.edge.variants import Variant

__all__ = ["BASE", "Quality", "Row", "Size", "measured", "write_table"]

BASE = "fitted"
"""Name of the variant that the others are compared with."""

METRICS = ("AUC", "LogLoss")
_UNSEEN = "unseen items"


@dataclass(frozen=True)
class Size:
    """What a variant is made of.

    Attributes
    ----------
    parameters, nonzero : int
        Numbers that are stored, and those that are not 0; a layer that is shared counts once. Scales of 8-bit weights
        are among them, a head for the next word is not.
    bytes : int
        Of the file; tensors with many zeros are stored sparse.
    layers : float
        That a candidate goes through, mean over the requests.
    """

    parameters: int
    nonzero: int
    bytes: int
    layers: float


@dataclass(frozen=True)
class Quality:
    """Metrics of a variant on some of the requests: each with its interval and its difference from the fitted model."""

    requests: int
    metrics: Mapping[str, Comparison]


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes
    ----------
    name : str
    size : Size
    latency : Latency
    quality : mapping of str to Quality
        By which requests: ``"all"``, ``"unseen items"`` and each quadrant, as far as both labels are there.
    """

    name: str
    size: Size
    latency: Latency
    quality: Mapping[str, Quality]


def measured(
    variants: Mapping[str, Variant],
    sets: Sequence[RequestSet],
    *,
    timed: int = 64,
    rounds: int = 7,
    told: Callable[[str], None] = lambda name: None,
) -> list[Row]:
    """Measure variants, the one named :data:`BASE` among them.

    Parameters
    ----------
    variants : mapping of str to Variant
    sets : sequence of RequestSet
        Clicks, of one part of the split.
    timed, rounds : int
        Requests that are timed, and how often.
    told : callable
        Called with the name of what is measured next.
    """
    answers: dict[str, list[Rated]] = {}
    sizes: dict[str, Size] = {}
    known: dict[int, dict[bytes, Tensor]] = {}
    for name, variant in variants.items():
        told(name)
        variant.scorer.known = known.setdefault(id(variant.network), {})
        found = [measure(variant, one, k=1) for one in sets]
        variant.scorer.known = None
        answers[name] = [rated for rated in found if isinstance(rated, Rated)]
        sizes[name] = _size(variant)
    told("latency")
    times = latencies(variants, _some(sets, timed), rounds=rounds)
    parts = {
        "all": list(range(len(sets))),
        _UNSEEN: [k for k, one in enumerate(sets) if one.quadrant.endswith("-cold")],
    }
    parts |= {quadrant: [k for k, one in enumerate(sets) if one.quadrant == quadrant] for quadrant in _quadrants(sets)}
    quality = {part: _quality(answers, sets, chosen) for part, chosen in parts.items() if chosen}
    return [
        Row(name, sizes[name], times[name], {part: of[name] for part, of in quality.items() if name in of})
        for name in variants
    ]


def _quadrants(sets: Sequence[RequestSet]) -> list[str]:
    return list(dict.fromkeys(one.quadrant for one in sets))


def _size(variant: Variant) -> Size:
    network = variant.network
    head, network.stack.head = network.stack.head, None  # clicks are not read from it
    try:
        numbers = sum(values.numel() for values in held(network).values())
        return Size(numbers, nonzero(network), stored_bytes(network), variant.scorer.layers_run)
    finally:
        network.stack.head = head


def _some(sets: Sequence[RequestSet], count: int) -> Requests:
    """Requests of the largest set: all those of users drawn, until there are enough."""
    largest = max(sets, key=len)
    user = largest.requests.user
    drawn = np.random.default_rng(0).permutation(np.unique(user))
    place = np.argsort(drawn)[np.searchsorted(np.sort(drawn), user)]
    return largest.requests.take(np.argsort(place, kind="stable")[:count])


def _quality(
    answers: Mapping[str, Sequence[Rated]], sets: Sequence[RequestSet], chosen: Sequence[int]
) -> dict[str, Quality]:
    """Quality by variant on the chosen sets together; empty where a metric is not defined (clicks alone)."""
    requests = [sets[place].requests for place in chosen]
    user, item = (np.concatenate([getattr(one, name) for one in requests]) for name in ("user", "item"))
    rated = {name: Rated.concatenate([found[place] for place in chosen]) for name, found in answers.items()}
    if len(np.unique(rated[BASE].label)) < 2:
        return {}
    units = Units.of(sets[0].unit, user, item)
    by_metric = {}
    for name in METRICS:
        metric = parse(name)
        assert isinstance(metric, PairMetric)
        values = {each: metric.per_request(one.label, one.predicted, one.served) for each, one in rated.items()}
        compared = compare_all(values, units, reference=BASE, higher_is_better=metric.higher_is_better)
        by_metric[name] = {one.model: one for one in compared}
    return {name: Quality(len(user), {metric: found[name] for metric, found in by_metric.items()}) for name in rated}


_HEAD = (
    "model", "AUC", "AUC: 95%", "difference: 95%", "LogLoss", "LogLoss: 95%", "AUC, unseen items", "layers",
    "parameters, M", "not 0, M", "MB stored", "ms alone", "ms in a batch", "CPU ms alone", "CPU ms in a batch",
)  # fmt: skip


def write_table(rows: Sequence[Row], folder: Path, *, title: str, notes: Sequence[str]) -> str:
    """Write ``table.md`` and ``table.csv`` into a folder, made if it is not there; returns the Markdown.

    Raises
    ------
    UsageError
        When there are no rows.
    """
    from tabulate import tabulate

    if not rows:
        raise UsageError("no step was asked for: name some with --steps")
    folder.mkdir(parents=True, exist_ok=True)
    table = tabulate([_cells(row) for row in rows], headers=_HEAD, tablefmt="pipe", disable_numparse=True)
    text = f"# {title}\n\n{table}\n\n" + "".join(f"- {note}\n" for note in notes)
    (folder / "table.md").write_text(text, encoding="utf-8")
    pl.DataFrame([line for row in rows for line in _lines(row)]).write_csv(folder / "table.csv")
    return text


def _cells(row: Row) -> list[str]:
    area, loss = (row.quality["all"].metrics[name] for name in METRICS)
    size, latency = row.size, row.latency
    is_base = row.name == BASE
    return [
        row.name.replace("|", "\\|").replace("<", "\\<"),
        f"{area.mean:.4f}",
        f"[{area.low:.4f}, {area.high:.4f}]",
        "reference" if is_base else f"{area.difference:+.4f} [{area.diff_low:+.4f}, {area.diff_high:+.4f}]",
        f"{loss.mean:.4f}",
        f"[{loss.low:.4f}, {loss.high:.4f}]",
        f"{row.quality[_UNSEEN].metrics['AUC'].mean:.4f}" if _UNSEEN in row.quality else "-",
        f"{size.layers:.2f}",
        f"{size.parameters / 1e6:.3f}",
        f"{size.nonzero / 1e6:.3f}",
        f"{size.bytes / 1e6:.3f}",
        f"{latency.alone:.2f}",
        f"{latency.together:.2f}",
        f"{latency.alone_cpu:.2f}",
        f"{latency.together_cpu:.2f}",
    ]


def _lines(row: Row) -> list[dict[str, Any]]:
    """Rows of the CSV: one for all requests and one a quadrant, with every digit."""
    same = {**asdict(row.size), **{f"ms_{name}": value for name, value in asdict(row.latency).items()}}
    return [
        {
            "model": row.name,
            "requests": part,
            "count": quality.requests,
            **{
                f"{metric}_{name}": getattr(found, name)
                for metric, found in quality.metrics.items()
                for name in ("mean", "low", "high", "difference", "diff_low", "diff_high", "p", "p_corrected")
            },
            **same,
        }
        for part, quality in row.quality.items()
    ]
