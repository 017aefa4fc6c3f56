"""How much of the order of events is known: the share of events that happened in the same second."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

__all__ = ["TieStatistics", "tie_statistics"]


@dataclass(frozen=True)
class TieStatistics:
    """Shares, from 0 to 1, of what is tied in time within a user.

    Attributes
    ----------
    users_last_two : float
        Of the users with two events or more, those whose last two carry the same time: which of the two is the test
        event of leave-one-out is then a matter of chance.
    events : float
        Of all events, those that share their time with another event of the same user.
    """

    users_last_two: float
    events: float


def tie_statistics(interactions: pl.DataFrame) -> TieStatistics | None:
    """Measure the ties of an interaction table (columns ``user_id`` and ``time``); None when it has no times."""
    if interactions["time"].null_count() == interactions.height:
        return None
    at = interactions.group_by("user_id", "time").len()
    # The last two events of a user are tied when two or more fall on the user's last time.
    latest = at.filter(pl.col("time") == pl.col("time").max().over("user_id"))
    several = interactions.group_by("user_id").len().filter(pl.col("len") > 1).height
    tied_users = latest.filter(pl.col("len") > 1).height
    tied_events = int(at.filter(pl.col("len") > 1)["len"].sum())
    return TieStatistics(tied_users / several if several else 0.0, tied_events / interactions.height)
