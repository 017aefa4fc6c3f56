"""TREC files: judgements that trec_eval and its kin evaluate run files with.

Per held-out set, say ``test-cold-warm-k3-warm``:

===================  =====================================================================================
``.qrels``           ``query 0 item 1``, one line a request
``.topics.tsv``      what a query is: ``query``, ``user_id``, ``history`` (items shown, oldest first), ``exclude``
                     (items masked: a run must not list them) and, where only a draw is ranked, ``sampled``; lists
                     are separated by spaces
``.candidates.txt``  the items a run may list, one a line
===================  =====================================================================================

A query is named after its set and its user; where users of the set have several, all its queries carry a running number
after ``#``.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from bench.data.ragged import Ragged
from bench.splits.exchange.ids import id_lists
from bench.splits.exchange.made import Made, name_of, slug_of
from bench.splits.exchange.refusals import refuse_ids
from bench.splits.split import HeldOut

__all__ = ["check_trec", "queries", "write_trec"]


def check_trec(made: Made) -> None:
    """Refuse ids with white space, which separates the columns of the format.

    Raises
    ------
    DataError
    """
    refuse_ids(made, pl.col("id").str.contains(r"\s") | (pl.col("id") == ""), "TREC files", "spaces separate columns")


def queries(made: Made, held: HeldOut) -> pl.Series:
    """Ids of the queries of a set, String, shape (events,)."""
    name = f"{held.part}-{slug_of(held)}"
    named = pl.DataFrame({"user_id": made.user_ids.gather(held.user)}).select(
        pl.format(f"{name}/{{}}", "user_id").alias("query"),
        (pl.int_range(pl.len()).over("user_id") + 1).alias("number"),
    )
    if named["number"].max() == 1:
        return named["query"]
    return named.select(pl.format("{}#{}", "query", "number"))["query"]


def write_trec(made: Made, folder: Path) -> list[str]:
    """Write the files of every set.

    Returns
    -------
    list of str
        What the format cannot carry.
    """
    for held in made.split.held_out:
        stem = f"{held.part}-{slug_of(held)}"
        table = pl.DataFrame({"query": queries(made, held), "item": made.item_ids.gather(held.item)})
        table.select("query", zero=pl.lit(0), item="item", relevant=pl.lit(1)).write_csv(
            folder / f"{stem}.qrels", include_header=False, separator=" ", quote_style="never"
        )
        topics = table.select("query").with_columns(
            made.user_ids.gather(held.user).alias("user_id"),
            _joined(made, held.history).alias("history"),
            _joined(made, held.exclude).alias("exclude"),
        )
        if held.sampled is not None:
            topics = topics.with_columns(_joined(made, held.sampled).alias("sampled"))
        topics.write_csv(folder / f"{stem}.topics.tsv", separator="\t", quote_style="never")
        made.item_ids.gather(held.candidates).alias("item").to_frame().write_csv(
            folder / f"{stem}.candidates.txt", include_header=False, quote_style="never"
        )
    lost = [
        "TREC files hold what is asked, not what is learned from: training events, ratings and texts are not in them",
    ]
    lost += [
        f"no judgements for labelled pairs ({name_of(pairs)}): a label is no ranking" for pairs in made.split.pairs
    ]
    return lost


def _joined(made: Made, rows: Ragged) -> pl.Series:
    return id_lists(rows, made.item_ids).list.join(" ")
