"""The complete format: Parquet tables of ids, from which the same split can be made again.

==================  ======================================================================================
training            what is learned from: ``user_id``, ``item_id``, ``rating``, ``time`` (Unix seconds), ``place``
                    (of the event among all the user's events, from 0, oldest first)
validation          what validation alone holds out, same columns; learned from in a refit
rest                all other events, same columns
held_out            one row a request: ``set``, ``part``, ``quadrant``, ``shots``, ``pool``, ``unit``, ``user_id``,
                    ``item_id`` (the answer), ``history`` (ids shown, oldest first), ``exclude`` (ids masked) and
                    ``sampled`` (ids ranked, the answer among them; null: the whole catalogue)
candidates          ``catalogue``, ``item_id``: the items a set ranks (``split.json`` says which set has which)
pairs               labelled pairs: ``set``, ``part``, ``quadrant``, ``unit``, ``kind``, ``user_id``, ``item_id``,
                    ``label``, ``time``, ``history``, and ``place`` (of the event a text came with)
users, items        all users and items, with what is known of them
==================  ======================================================================================

The same split gives the same bytes (with one version of polars).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.hashing import file_sha256
from bench.data.reviews import Reviews
from bench.splits.events import Events
from bench.splits.exchange.ids import id_lists
from bench.splits.exchange.made import Made, texts_of
from bench.splits.exchange.manifest import FILES, EventsKind, Exported, HeldOutSet, PairPart, PairSet, Unit, origin_of
from bench.splits.training import Pairs

__all__ = ["write_parquet"]

_HELD_OUT: Mapping[str, Any] = {
    "set": pl.Int32,
    "part": pl.String,
    "quadrant": pl.String,
    "shots": pl.Int32,
    "pool": pl.String,
    "unit": pl.String,
    "user_id": pl.String,
    "item_id": pl.String,
    "history": pl.List(pl.String),
    "exclude": pl.List(pl.String),
    "sampled": pl.List(pl.String),
}
_PAIRS: Mapping[str, Any] = {
    "set": pl.Int32,
    "part": pl.String,
    "quadrant": pl.String,
    "unit": pl.String,
    "kind": pl.String,
    "user_id": pl.String,
    "item_id": pl.String,
    "label": pl.Float32,
    "time": pl.Int64,
    "history": pl.List(pl.String),
    "place": pl.Int64,
}
_CANDIDATES: Mapping[str, Any] = {"catalogue": pl.Int32, "item_id": pl.String}


def write_parquet(made: Made, folder: Path) -> Exported:
    """Write the tables and ``split.json`` into ``folder``, which exists."""
    cut, events = made.cut, made.cut.events
    places = _places(events)
    held_out, held_sets, candidates = _held_out(made)
    pairs, pair_sets = _pairs(made, places)
    tables = {
        "training.parquet": _events(made, cut.training, places),
        "validation.parquet": _events(made, cut.validation, places),
        "rest.parquet": _events(made, ~(cut.training | cut.validation), places),
        "held_out.parquet": held_out,
        "candidates.parquet": candidates,
        "pairs.parquet": pairs,
        "users.parquet": made.split.users.drop("user"),
        "items.parquet": made.split.items.drop("item"),
    }
    for name in FILES:
        tables[name].rechunk().write_parquet(folder / name, compression="zstd", row_group_size=1 << 18)
    exported = Exported(
        dataset=origin_of(made.dataset),
        protocol=made.split.protocol,
        settings=made.protocol.identity(),
        split_seed=made.seed,
        identity=made.split.identity,
        notes=list(cut.notes),
        dataset_notes=[*made.dataset.notes, *made.dataset.warnings],
        also_read=list(cut.also_read),
        events=EventsKind(
            timed=events.time is not None,
            rated=events.rating is not None,
            reviewed=events.reviews is not None,
            repeats=events.repeats,
        ),
        held_out=held_sets,
        pairs=pair_sets,
        files={name: file_sha256(folder / name) for name in FILES},
    )
    exported.write(folder)
    return exported


def _places(events: Events) -> NDArray[np.int64]:
    """Place of each event among its user's, from 0."""
    first = np.searchsorted(events.user, events.user)
    return np.arange(len(events)) - first


def _events(made: Made, mask: NDArray[np.bool_], places: NDArray[np.int64]) -> pl.DataFrame:
    events, where = made.cut.events, np.flatnonzero(mask)
    return pl.DataFrame(
        {
            "user_id": made.user_ids.gather(events.user[where]),
            "item_id": made.item_ids.gather(events.item[where]),
            "rating": _or_nulls(None if events.rating is None else events.rating[where], pl.Float32, len(where)),
            "time": _or_nulls(None if events.time is None else events.time[where], pl.Int64, len(where)),
            "place": places[where],
        }
    )


def _held_out(made: Made) -> tuple[pl.DataFrame, list[HeldOutSet], pl.DataFrame]:
    frames, sets, catalogues = [pl.DataFrame(schema=_HELD_OUT)], [], list[NDArray[np.int32]]()
    for number, held in enumerate(made.split.held_out):
        known = (at for at, items in enumerate(catalogues) if np.array_equal(items, held.candidates))
        catalogue = next(known, len(catalogues))
        if catalogue == len(catalogues):
            catalogues.append(held.candidates)
        sets.append(
            HeldOutSet(
                set=number,
                part=held.part,
                quadrant=held.quadrant,
                shots=held.shots,
                pool=held.pool,
                unit=held.unit,
                catalogue=catalogue,
                sampled=held.sampled is not None,
                events=len(held.user),
            )
        )
        rows = pl.DataFrame(
            {
                "user_id": made.user_ids.gather(held.user),
                "item_id": made.item_ids.gather(held.item),
                "history": id_lists(held.history, made.item_ids),
                "exclude": id_lists(held.exclude, made.item_ids),
            }
        )
        whole = pl.lit(None, pl.List(pl.String))
        frames.append(
            rows.select(
                pl.lit(number, pl.Int32).alias("set"),
                pl.lit(held.part).alias("part"),
                pl.lit(held.quadrant).alias("quadrant"),
                pl.lit(held.shots, pl.Int32).alias("shots"),
                pl.lit(held.pool).alias("pool"),
                pl.lit(held.unit).alias("unit"),
                pl.all(),
                (whole if held.sampled is None else id_lists(held.sampled, made.item_ids)).alias("sampled"),
            )
        )
    candidates = [pl.DataFrame(schema=_CANDIDATES)]
    candidates += [
        pl.DataFrame({"catalogue": np.full(len(items), at, np.int32), "item_id": made.item_ids.gather(items)})
        for at, items in enumerate(catalogues)
    ]
    return pl.concat(frames), sets, pl.concat(candidates)


def _pairs(made: Made, places: NDArray[np.int64]) -> tuple[pl.DataFrame, list[PairSet]]:
    """Pairs learned from come first, where the protocol makes them."""
    parts: list[tuple[PairPart, str, Unit, Pairs]] = []
    if made.cut.training_pairs is not None:
        parts.append(("training", "warm-warm", "user", made.cut.training_pairs))
    parts += [(held.part, held.quadrant, held.unit, held.pairs) for held in made.split.pairs]
    texts = texts_of(made.dataset, made.seed, made.cut.events)
    frames, sets = [pl.DataFrame(schema=_PAIRS)], []
    for number, (part, quadrant, unit, pairs) in enumerate(parts):
        sets.append(
            PairSet(
                set=number,
                part=part,
                quadrant=quadrant,
                unit=unit,
                kind=pairs.kind,
                timed=pairs.time is not None,
                reviewed=pairs.reviews is not None,
                pairs=len(pairs),
            )
        )
        place = None if texts is None or pairs.reviews is None else places[_positions(texts, pairs.reviews)]
        frames.append(
            pl.DataFrame(
                {
                    "user_id": made.user_ids.gather(pairs.user),
                    "item_id": made.item_ids.gather(pairs.item),
                    "label": pairs.label,
                    "time": _or_nulls(pairs.time, pl.Int64, len(pairs)),
                    "history": id_lists(pairs.history, made.item_ids),
                    "place": _or_nulls(place, pl.Int64, len(pairs)),
                }
            ).select(
                pl.lit(number, pl.Int32).alias("set"),
                pl.lit(part).alias("part"),
                pl.lit(quadrant).alias("quadrant"),
                pl.lit(unit).alias("unit"),
                pl.lit(pairs.kind).alias("kind"),
                pl.all(),
            )
        )
    return pl.concat(frames), sets


def _or_nulls(values: NDArray[Any] | None, dtype: Any, length: int) -> pl.Series:
    return pl.repeat(None, length, dtype=dtype, eager=True) if values is None else pl.Series(values, dtype=dtype)


def _positions(texts: Reviews, wanted: Reviews) -> NDArray[np.int64]:
    """Positions of the events that the wanted texts came with."""
    order = np.argsort(texts.rows)
    return order[np.searchsorted(texts.rows[order], wanted.rows)]
