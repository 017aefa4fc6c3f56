"""Ids that a text format cannot carry, found before anything is written."""

from __future__ import annotations

import polars as pl

from bench.errors import DataError
from bench.splits.exchange.made import Made

__all__ = ["refuse_ids"]


def refuse_ids(made: Made, wrong: pl.Expr, form: str, because: str) -> None:
    """Refuse users and items whose ids fulfil ``wrong``.

    Parameters
    ----------
    wrong : polars.Expr
        Of the column ``id`` (String), Boolean.
    form, because : str
        The format, and why it cannot carry them, for the message.

    Raises
    ------
    DataError
        With their number and an example.
    """
    for kind, ids in (("user", made.user_ids), ("item", made.item_ids)):
        bad = ids.alias("id").to_frame().filter(wrong)["id"].sort()
        if len(bad):
            raise DataError(
                f"{made.split.dataset}: {len(bad):,} {kind} ids cannot be written as {form}, for example {bad[0]!r}: "
                f"{because}; --format parquet carries every id"
            )
